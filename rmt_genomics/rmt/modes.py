"""Training or evaluation mode, module by module: put back as it was, frozen parts included."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

Modes = dict[nn.Module, bool]


def modes_of(module: nn.Module) -> Modes:
    """Return which modules are in training mode."""
    return {each: each.training for each in module.modules()}


@contextmanager
def in_modes(modes: Modes) -> Iterator[None]:
    """Set modules to these modes for a while."""
    before = {module: module.training for module in modes}
    _set(modes)
    try:
        yield
    finally:
        _set(before)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set a module and all its parts to evaluation mode for a while."""
    with in_modes(dict.fromkeys(module.modules(), False)):
        yield


def _set(modes: Modes) -> None:
    for module, is_training in modes.items():
        module.training = is_training
