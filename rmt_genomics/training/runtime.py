"""What Lightning does to the process around it, and how we would rather have it."""

import logging
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier

_COMPILERS = {"cpu": ("CXX", ("g++", "clang++", "cl")), "cuda": ("CC", ("gcc", "clang", "cl"))}
"""What generated code needs: on a GPU, a C compiler for the stub that starts it."""

GRAPHS = 32
"""Variants of the layers that are compiled, at most: first or later segment, with a gradient or
without, padded or full, one row or several. Beyond PyTorch's 8 new ones would run uncompiled."""


def check_compiler(*, wanted: bool, device: str) -> None:
    """Raise ConfigError if compiling is wanted where it cannot work.

    Args:
        wanted: The setting ``training.compile``.
        device: cpu, cuda or mps.
    """
    if not wanted:
        return
    if device not in _COMPILERS:
        raise ConfigError(
            f"training.compile is true, but the device is {device}, and must be cpu or cuda. Start "
            "a run without it: only the time differs."
        )
    variable, known = _COMPILERS[device]
    names = [name for name in (os.environ.get(variable), *known) if name]
    if not any(map(shutil.which, names)):
        raise ConfigError(
            f"training.compile is true, but on {device} that needs a compiler: one of "
            f"{', '.join(names)}, or the one that {variable} names. Install one, or start a run "
            "without training.compile: only the time differs."
        )


def compile_layers(model: RMTClassifier, backend: str = "inductor") -> None:
    """Compile in place: weights keep their names, and a copy of the model is a plain one.

    Only the transformer layers are, whose shapes hardly change from segment to segment.

    Args:
        model: What is about to be trained.
        backend: What ``torch.compile`` makes code with.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    model.encoder.step.layers.compile(backend=backend)


_ADVICE = (  # to people who write training loops
    ".*does not have many workers",
    "GPU available but not used",
    "MPS available but not used",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # its own use of torch >= 2.10
)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice off the terminal, and nothing else."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def fast_matrix_products(device: str) -> Iterator[None]:
    """Let a GPU round the factors of float32 products (TF32), for the time of the training."""
    before = torch.get_float32_matmul_precision()
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Turn Lightning's exits back into what Python programs expect.

    On Ctrl-C Lightning ends the process with status 1 and leaves the key disabled; here it is a
    ``KeyboardInterrupt``. On SIGTERM it ends it with status 0; here with 143.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error
