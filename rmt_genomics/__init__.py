"""Classify long DNA sequences with a bidirectional Recurrent Memory Transformer.

Names are loaded when they are first asked for: torch alone takes longer to import than
``rmt-genomics --help`` may take.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING

# OpenMP threads that wait for work spin by default. On cores that other programs use, that stops
# a training almost completely (docs/benchmarks/scaling.md). The variable is read once, when torch
# is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    # GNU OpenMP may spin for about a microsecond first: on idle cores that saves most wake-ups.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if "torch" in sys.modules:
        logging.getLogger(__name__).debug(
            "OMP_WAIT_POLICY=PASSIVE has no effect in this process: torch was imported first."
        )

if TYPE_CHECKING:
    from rmt_genomics.estimator import RMTEstimator, RMTTransformer
    from rmt_genomics.model import RMTClassifier

    __version__: str

__all__ = ["RMTClassifier", "RMTEstimator", "RMTTransformer", "__version__"]


def __getattr__(name: str) -> object:
    if name == "RMTClassifier":
        from rmt_genomics.model import RMTClassifier

        return RMTClassifier
    if name in ("RMTEstimator", "RMTTransformer"):
        from rmt_genomics import estimator

        return getattr(estimator, name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Ask the installed package, or the pyproject.toml of a clone that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rmt-genomics")
    except PackageNotFoundError:
        import tomllib
        from pathlib import Path

        text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])
