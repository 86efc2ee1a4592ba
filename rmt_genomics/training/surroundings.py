"""What Lightning does to the process around it, and how we would rather have it."""

import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

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
