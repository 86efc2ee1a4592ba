"""Where a model runs is chosen, or refused with the reason."""

import pytest
import torch

from rmt_genomics.errors import ConfigError
from rmt_genomics.model.pretrained import choose_device


def pretend(patch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: cuda)
    patch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_there_is(
    monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool, expected: str
) -> None:
    pretend(monkeypatch, cuda=cuda, mps=mps)

    assert choose_device("auto") == torch.device(expected)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False, mps=False)

    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"'cuda': PyTorch finds none.*--device auto or cpu"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match="'gpu' is unknown, but must be one of auto, cpu"):
        choose_device("gpu")
