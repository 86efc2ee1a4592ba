"""The layers of a segment's step as fused kernels: fewer passes over memory, fewer launches.

Off by default, since on a CPU it needs a C++ compiler, and everywhere a minute at the start. It
changes speed, and values only by rounding.
"""

import os
import shutil

import torch

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
