"""A bar on a terminal, with what is known of the end; nothing anywhere else."""

import gzip
import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from rmt_genomics.prediction.progress import ShownProgress, bp_in_files, shown_progress
from tests.prediction.toys import write_fasta


def shown(total: int | None) -> ShownProgress:
    return ShownProgress(Progress(console=Console(file=io.StringIO())), total)


def test_nothing_is_shown_where_no_one_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(lambda: pytest.fail("is not asked for")) as watch:
        watch.read(100)
        watch.skipped(100)

    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_and_one_line_that_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda _: True))

    with shown_progress(lambda: 3_000_000) as watch:
        watch.read(2_500_000)

    out, err = capsys.readouterr()
    assert out == ""
    assert "2.5 Mb in " in err.splitlines()[-1]
    assert err.rstrip().endswith("b/s)")


def test_the_bar_moves_by_bp_and_expects_less_when_some_are_left_out() -> None:
    watch = shown(1000)

    watch.read(100)
    watch.skipped(400)

    (task,) = watch.bar.tasks
    assert (task.completed, task.total) == (100, 600)
    assert watch.summary().startswith("100 bp in ")


def test_without_a_total_bp_and_speed_are_shown() -> None:
    watch = shown(None)

    watch.read(1500)
    watch.skipped(10)

    (task,) = watch.bar.tasks
    assert (task.total, task.fields["done"]) == (None, "1.5 kb")
    assert task.fields["speed"].endswith("/s")


def test_the_size_of_plain_files_tells_about_how_many_bp_there_are(tmp_path: Path) -> None:
    plain = write_fasta(tmp_path / "a.fa", {"r": "ACGT" * 100})
    packed = tmp_path / "b.fa.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert 400 <= (bp_in_files([plain, plain]) or 0) / 2 < 410
    assert bp_in_files([plain, packed]) is None
    assert bp_in_files([Path("-")]) is None
