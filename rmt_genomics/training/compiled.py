"""The layers of a segment's step as fused kernels: fewer passes over memory, fewer launches.

Off by default, since on a CPU it needs a C++ compiler, and everywhere a minute at the start. It
changes speed, and values only by rounding.
"""

import os
import shutil

from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier

_COMPILERS = ("g++", "clang++", "cl")


def check_compiler(*, wanted: bool, device: str) -> None:
    """Raise ConfigError if compiling is wanted where it cannot work.

    Args:
        wanted: The setting ``training.compile``.
        device: cpu, cuda or mps.
    """
    if not wanted or device == "cuda":  # there PyTorch brings a compiler along
        return
    names = [name for name in (os.environ.get("CXX"), *_COMPILERS) if name]
    if device == "cpu" and any(map(shutil.which, names)):
        return
    missing = f"a C++ compiler: one of {', '.join(names)}" if device == "cpu" else "a GPU by NVIDIA"
    raise ConfigError(
        f"training.compile is true, but on {device} that needs {missing}. Install one, or leave "
        "training.compile out: the answer is the same."
    )


def compile_layers(model: RMTClassifier) -> None:
    """Compile in place: weights keep their names, and a copy of the model is a plain one.

    Only the transformer layers are, whose shapes hardly change from segment to segment.
    """
    model.encoder.step.layers.compile()
