"""Several runs side by side."""

import json
from pathlib import Path
from typing import Any

import pytest

from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.evaluation.compare_runs import compare_lines, read_runs, summarise


def metrics(mcc: float | None, **changes: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "auroc", "auprc"), 0.5)
    about = {"n": 9, "classes": ["a", "b"], "task": "binary", "split": "test"}
    return {**about, **numbers, "mcc": mcc, **changes}


def run(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def test_mean_and_standard_deviation_by_hand() -> None:
    found = summarise([metrics(0.1), metrics(0.3), metrics(None), metrics(0.2)])

    assert found["mcc"] == {"mean": pytest.approx(0.2), "sd": pytest.approx(0.1), "n": 3}
    assert found["auroc"] == {"mean": 0.5, "sd": 0.0, "n": 4}


def test_one_run_has_no_deviation() -> None:
    found = summarise([metrics(0.1)])

    assert found["mcc"] == {"mean": 0.1, "sd": None, "n": 1}
    assert summarise([metrics(None)])["mcc"] == {"mean": None, "sd": None, "n": 0}
    with pytest.raises(DataError, match="there is no run to summarise"):
        summarise([])


def test_numbers_have_metrics_of_their_own() -> None:
    one = {"task": "regression", **dict.fromkeys(("pearson", "spearman", "r2", "mae", "rmse"), 1.0)}

    assert list(summarise([one])) == ["pearson", "spearman", "r2", "mae", "rmse"]


def test_the_table_has_a_column_a_run() -> None:
    difference = {"metric": "mcc", "difference": 0.05}
    runs = {
        "one": metrics(0.1, differences={"majority": difference, "kmer_logistic": difference}),
        "two": metrics(0.3, differences={"majority": difference}),
    }

    lines = [line.split("\t") for line in compare_lines(runs)]

    assert lines[0] == ["metric", "one", "two", "mean", "sd"]
    assert ["mcc", "0.1000", "0.3000", "0.2000", "0.1414"] in lines
    assert lines[-1] == ["mcc minus majority", "0.0500", "0.0500", "0.0500", "0.0000"]
    assert [line.split("\t") for line in compare_lines({"one": metrics(None)})][3] == ["mcc", ""]


def test_runs_are_read_by_folder_or_file(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", metrics(0.1)), run(tmp_path / "two", metrics(0.2))

    found = read_runs([one, two / "metrics.json"])

    assert list(found) == [str(one), str(two / "metrics.json")]
    assert found[str(one)]["mcc"] == 0.1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"metrics\.json: there is no such file, but a finished run .* has one\. Give"),
        ("{", r"metrics\.json: is no metrics\.json of this program"),
        ('{"n": 3}', "it lacks classes, task, split"),
        (
            json.dumps(metrics(0.1, classes=["a", "c"])),
            r"two: has the classes a, c \(binary\), but",
        ),
    ],
)
def test_what_cannot_be_compared_is_named(tmp_path: Path, content: str, words: str) -> None:
    one = run(tmp_path / "one", metrics(0.1))
    (tmp_path / "two").mkdir()
    if content is not None:
        (tmp_path / "two/metrics.json").write_text(content)

    with pytest.raises(DataError, match=words):
        read_runs([one, tmp_path / "two"])


def test_a_run_counts_once(tmp_path: Path) -> None:
    one = run(tmp_path / "one", metrics(0.1))

    with pytest.raises(DataError, match="is named twice"):
        read_runs([one, one])


def test_other_examples_are_told(tmp_path: Path) -> None:
    runs = [run(tmp_path / "one", metrics(0.1)), run(tmp_path / "two", metrics(0.1, n=8))]

    with pytest.warns(RMTGenomicsWarning, match=r"two: was judged on 8 examples \(test\), but"):
        read_runs(runs)
