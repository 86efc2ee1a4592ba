"""``compare``: runs side by side."""

from pathlib import Path

from tests.cli.toys import fail, succeed
from tests.evaluation.toys import toy_metrics, write_metrics


def test_each_run_is_a_column(tmp_path: Path) -> None:
    values = {"one": 0.25, "two": 0.75}
    runs = [write_metrics(tmp_path / name, toy_metrics(mcc)) for name, mcc in values.items()]

    result = succeed("compare", *runs)

    header, *lines = result.stdout.splitlines()
    assert header == f"metric\t{runs[0]}\t{runs[1]}\tmean\tsd"
    assert "mcc\t0.2500\t0.7500\t0.5000\t0.3536" in lines
    assert result.stderr == ""


def test_a_folder_without_a_run_is_one_line_of_error(tmp_path: Path) -> None:
    assert "there is no such file, but a finished run" in fail("compare", tmp_path)
