"""Several runs side by side."""

import json
from pathlib import Path

import pytest

from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.evaluation.compare_runs import compare_lines, read_runs
from tests.evaluation.toys import toy_metrics, write_metrics


def test_mean_and_standard_deviation_are_of_the_runs_that_have_the_metric() -> None:
    runs = {str(index): toy_metrics(mcc) for index, mcc in enumerate([0.1, 0.3, None, 0.2])}

    rows = [line.split("\t") for line in compare_lines(runs)]

    assert ["mcc", "0.1000", "0.3000", "", "0.2000", "0.2000", "0.1000"] in rows
    undefined = {"one": toy_metrics(None), "two": toy_metrics(None)}
    assert ["mcc", "", "", "", ""] in [line.split("\t") for line in compare_lines(undefined)]
    one = {"one": toy_metrics(0.1), "two": toy_metrics(None)}
    assert ["mcc", "0.1000", "", "0.1000", ""] in [line.split("\t") for line in compare_lines(one)]


def test_a_regression_has_its_own_metrics() -> None:
    keys = ("pearson", "spearman", "r2", "mae", "rmse")
    one = {"task": "regression", **dict.fromkeys(keys, 1.0)}

    _, *rows = compare_lines({"one": one})

    assert [row.split("\t")[0] for row in rows] == list(keys)


def test_the_table_has_one_column_per_run() -> None:
    difference = {"metric": "mcc", "difference": 0.05}
    runs = {
        "one": toy_metrics(0.1, differences={"majority": difference, "kmer_logistic": difference}),
        "two": toy_metrics(0.3, differences={"majority": difference}),
    }

    lines = [line.split("\t") for line in compare_lines(runs)]

    assert lines[0] == ["metric", "one", "two", "mean", "sd"]
    assert ["mcc", "0.1000", "0.3000", "0.2000", "0.1414"] in lines
    assert lines[-1] == ["mcc minus majority", "0.0500", "0.0500", "0.0500", "0.0000"]
    assert [line.split("\t") for line in compare_lines({"one": toy_metrics(None)})][3] == [
        "mcc",
        "",
    ]


def test_runs_are_read_by_folder_or_file(tmp_path: Path) -> None:
    one, two = (
        write_metrics(tmp_path / "one", toy_metrics(0.1)),
        write_metrics(tmp_path / "two", toy_metrics(0.2)),
    )

    runs = read_runs([one, two / "metrics.json"])

    assert list(runs) == [str(one), str(two / "metrics.json")]
    assert runs[str(one)]["mcc"] == 0.1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"metrics\.json: there is no such file, but a finished run .* has one\. Give"),
        ("{", r"metrics\.json: is not valid JSON"),
        ('{"n": 3}', "lacks classes, task, split, but"),
        (
            json.dumps(toy_metrics(0.1, classes=["a", "c"])),
            r"two: has the classes a, c \(binary\), but",
        ),
    ],
)
def test_files_that_cannot_be_compared_are_named_in_the_error(
    tmp_path: Path, content: str, words: str
) -> None:
    one = write_metrics(tmp_path / "one", toy_metrics(0.1))
    (tmp_path / "two").mkdir()
    if content is not None:
        (tmp_path / "two/metrics.json").write_text(content)

    with pytest.raises(DataError, match=words):
        read_runs([one, tmp_path / "two"])


def test_a_run_named_twice_is_refused(tmp_path: Path) -> None:
    one = write_metrics(tmp_path / "one", toy_metrics(0.1))

    with pytest.raises(DataError, match="is named twice"):
        read_runs([one, one])


def test_a_comparison_on_different_examples_warns(tmp_path: Path) -> None:
    runs = [
        write_metrics(tmp_path / "one", toy_metrics(0.1)),
        write_metrics(tmp_path / "two", toy_metrics(0.1, n=8)),
    ]

    with pytest.warns(RMTGenomicsWarning, match=r"two: was evaluated on 8 examples \(test\), but"):
        read_runs(runs)
