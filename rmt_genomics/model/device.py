"""Where a model runs."""

import torch

from rmt_genomics.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``mps`` into a device that is there.

    Args:
        name: ``auto`` takes a CUDA GPU if there is one, then Apple's mps, then the CPU.

    Raises:
        ConfigError: If the name is unknown, or this machine has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(each for each, is_there in available.items() if is_there))
    if name not in available:
        raise ConfigError(f"device {name!r} is unknown, but must be one of {', '.join(DEVICES)}")
    if not available[name]:
        raise ConfigError(
            f"device {name!r}: PyTorch sees none on this machine, but the model was to run on it. "
            "Use --device auto or cpu."
        )
    return torch.device(name)
