"""A progress bar on a terminal, nothing anywhere else."""

import gzip
import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from rmt_genomics.prediction.inputs import PredictionInput
from rmt_genomics.prediction.progress import ProgressBar, progress_bar
from tests.prediction.toys import write_fasta


def shown(total: int | None) -> ProgressBar:
    return ProgressBar(Progress(console=Console(file=io.StringIO())), total)


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(lambda: pytest.fail("must not be called")) as progress:
        progress.update(100)
        progress.skip(100)

    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_and_one_line_that_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda _: True))

    with progress_bar(lambda: 3_000_000) as progress:
        progress.update(2_500_000)

    out, err = capsys.readouterr()
    assert out == ""
    assert "2.5 Mb in " in err.splitlines()[-1]
    assert err.rstrip().endswith("b/s)")


def test_the_bar_advances_by_bp_and_its_total_is_reduced_by_skipped_ones() -> None:
    progress = shown(1000)

    progress.update(100)
    progress.skip(400)

    (task,) = progress.bar.tasks
    assert (task.completed, task.total) == (100, 600)
    assert progress.summary().startswith("100 bp in ")


def test_without_a_total_bp_and_speed_are_shown() -> None:
    progress = shown(None)

    progress.update(1500)
    progress.skip(10)

    (task,) = progress.bar.tasks
    assert (task.total, task.fields["done"]) == (None, "1.5 kb")
    assert task.fields["speed"].endswith("/s")


def test_the_size_of_plain_files_tells_about_how_many_bp_there_are(tmp_path: Path) -> None:
    plain = write_fasta(tmp_path / "a.fa", {"r": "ACGT" * 100})
    packed = tmp_path / "b.fa.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    def total_bp(*files: Path) -> int | None:
        return PredictionInput(fasta=files).total_bp()

    assert 400 <= (total_bp(plain, plain) or 0) / 2 < 410
    assert total_bp(plain, packed) is None
    assert total_bp(Path("-")) is None
