"""``compare``: runs side by side."""

from pathlib import Path

from tests.cli.toys import fail, succeed
from tests.evaluation.test_compare_runs import metrics, run


def test_runs_stand_side_by_side(tmp_path: Path) -> None:
    runs = [run(tmp_path / name, metrics(mcc)) for name, mcc in (("one", 0.25), ("two", 0.75))]

    result = succeed("compare", *runs)

    header, *lines = result.stdout.splitlines()
    assert header == f"metric\t{runs[0]}\t{runs[1]}\tmean\tsd"
    assert "mcc\t0.2500\t0.7500\t0.5000\t0.3536" in lines
    assert result.stderr == ""


def test_what_is_no_run_is_told_in_one_line(tmp_path: Path) -> None:
    assert "there is no such file, but a finished run" in fail("compare", tmp_path)
