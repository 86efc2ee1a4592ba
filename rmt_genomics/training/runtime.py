"""Process-wide state during a training: compilation, TF32, signals, messages of Lightning."""

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
"""Environment variable and programs by device; on a GPU, Triton compiles its launcher in C."""

MAX_COMPILED_GRAPHS = 32
"""Most compiled variants of the layers: first or later segment, with or without gradient, padded or
full, one example or several. PyTorch's default is 8; further variants would run uncompiled."""

_IGNORED_WARNINGS = (  # of Lightning, addressed to people who write training loops
    ".*does not have many workers",
    "GPU available but not used",
    "MPS available but not used",
    "The `srun` command is available",  # on a login node, or for one process of a job
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # its own use of torch >= 2.10
)


def check_compiler(*, wanted: bool, device: str) -> None:
    """Raise ConfigError if ``torch.compile`` is wanted where it cannot work."""
    if not wanted:
        return
    if device not in _COMPILERS:
        raise ConfigError(
            f"training.compile is true, but the device is {device}, and must be cpu or cuda. Start "
            "a run without it: only the time differs."
        )
    variable, programs = _COMPILERS[device]
    names = [name for name in (os.environ.get(variable), *programs) if name]
    if not any(map(shutil.which, names)):
        raise ConfigError(
            f"training.compile is true, but on {device} that needs a compiler: one of "
            f"{', '.join(names)}, or the one that {variable} names. Install one, or start a run "
            "without training.compile: only the time differs."
        )


def compile_layers(model: RMTClassifier, backend: str = "inductor") -> None:
    """Compile the transformer layers in place; names of weights stay, and a copy is not compiled.

    Only the layers: their input shapes hardly change from segment to segment.
    """
    limit = max(torch._dynamo.config.recompile_limit, MAX_COMPILED_GRAPHS)
    torch._dynamo.config.recompile_limit = limit
    model.encoder.transformer.layers.compile(backend=backend)


@contextmanager
def lightning_silenced() -> Iterator[None]:
    """Hide Lightning's log messages and its advice to developers, and nothing else."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def log_to_stderr_by_default() -> Iterator[None]:
    """Show INFO messages of this package on stderr, unless the program has configured logging.

    Otherwise ``train`` would be silent in a notebook: Python drops INFO messages by default.
    """
    logger = logging.getLogger("rmt_genomics")
    if logger.hasHandlers():  # its own, or one of the root logger
        yield
        return
    handler, level = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def tf32_matmul(device: str) -> Iterator[None]:
    """Allow TF32 in float32 matrix products on a GPU, for the time of the training."""
    precision = torch.get_float32_matmul_precision()
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


@contextmanager
def standard_exits() -> Iterator[None]:
    """Turn Lightning's exits on signals into those of ordinary Python programs.

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


@contextmanager
def engine(device: str) -> Iterator[None]:
    """Set everything that is process-wide while Lightning trains."""
    with lightning_silenced(), tf32_matmul(device), standard_exits():
        yield
