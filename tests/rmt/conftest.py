"""What the tests of the core share."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn the type checker of the tests off: users do not have it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
