"""Who hears of progress: several, and a process that is not to outlive its parent."""

import os

import pytest

from rmt_genomics.prediction.progress import (
    PARENT,
    ProgressCallback,
    ProgressToParent,
    ShardProgress,
)


def test_a_process_ends_when_the_one_that_started_it_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PARENT, str(os.getppid()))
    ShardProgress(ProgressCallback(), ProgressToParent()).read(1)
    monkeypatch.setenv(PARENT, "1" if os.getppid() != 1 else "2")

    with pytest.raises(KeyboardInterrupt, match="The process that started this one has gone"):
        ShardProgress(ProgressCallback(), ProgressToParent()).read(1)


def test_a_process_that_nobody_asked_to_follow_another_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PARENT, raising=False)

    ProgressToParent().read(1)
    ProgressToParent().skipped(1)
