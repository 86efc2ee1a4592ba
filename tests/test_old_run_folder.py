"""Run folders of an earlier version are loaded, evaluated and resumed with the same results.

``golden/old_run/README.md`` says what the folders hold. Results are compared to 1e-5, since they
were computed on another machine.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rmt_genomics import RMTClassifier
from tests.cli.toys import succeed

OLD_RUN = Path(__file__).parent / "golden/old_run"
TOLERANCE = 1e-5


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """Copy the files: an index is written beside the FASTA file, and a run is resumed in place."""
    return Path(shutil.copytree(OLD_RUN, tmp_path / "old_run"))


def read_table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def assert_same_rows(table: str, expected: str) -> None:
    """Compare two tables of predictions: numbers to 1e-5, all else as text."""
    rows, expected_rows = read_table(table), read_table(expected)
    assert len(rows) == len(expected_rows) > 0
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row.pop("note", "") == ""  # a newer column; the model does not know its lengths
        assert list(row) == list(expected_row)
        for column, cell in expected_row.items():
            if column == "score" or column.startswith("prob_"):
                assert float(row[column]) == pytest.approx(float(cell), abs=TOLERANCE)
            else:
                assert row[column] == cell


def numbers(value: Any, key: str = "") -> dict[str, float]:
    """Return the numbers in nested dictionaries and lists by their dotted keys."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: n for name, inner in pairs for k, n in numbers(inner, f"{key}.{name}").items()}
    return {key: value} if isinstance(value, int | float) else {}


def read_losses(folder: Path) -> list[dict[str, float]]:
    """Read ``metrics.jsonl`` without the times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: row[key] for key in row.keys() - {"seconds", "bp_per_second", "stage"}}
        for row in rows
    ]


def test_an_old_model_is_loaded_and_predicts_the_same(old_run: Path) -> None:
    model = RMTClassifier.from_pretrained(str(old_run / "run"))
    lines = (old_run / "records.fasta").read_text().splitlines()
    expected = read_table((old_run / "predictions.tsv").read_text())

    probabilities = model.predict_proba(lines[1::2])

    assert model.classes_ == ("poor", "rich")
    assert [row["record"] for row in expected] == [line[1:] for line in lines[::2]]
    np.testing.assert_allclose(
        probabilities,
        [[float(row["prob_poor"]), float(row["prob_rich"])] for row in expected],
        atol=TOLERANCE,
    )
    assert np.ptp(probabilities[:, 1]) > 0.1  # the records can be told apart


def test_the_command_line_predicts_the_same_with_an_old_model(old_run: Path) -> None:
    result = succeed("predict", old_run / "run", old_run / "records.fasta", "--device", "cpu")

    assert_same_rows(result.stdout, (old_run / "predictions.tsv").read_text())


@pytest.mark.slow
def test_an_old_model_is_evaluated_with_the_same_metrics(old_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    labels = old_run / "labels.tsv"

    succeed(
        *("evaluate", old_run / "run", old_run / "records.fasta", "--labels", labels),
        *("--out", out, "--device", "cpu"),
    )

    assert_same_rows(
        (out / "predictions.tsv").read_text(), (old_run / "run/predictions.tsv").read_text()
    )
    expected = json.loads((old_run / "run/metrics.json").read_text())
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["split"] == expected["split"] == "test"
    for row in metrics["per_class"]:
        del row["intervals"]  # the old run has none
    for part in ("mcc", "auroc", "confusion", "per_class", "length_bins", "context"):
        assert numbers(metrics[part]) == pytest.approx(numbers(expected[part]), abs=TOLERANCE)
    for name, compared in expected["differences"].items():
        # The intervals differ: these draws are all the same, and said so with low equal to high.
        assert compared["low"] == compared["high"] == compared["difference"] in (0, -1)
        found = metrics["differences"][name]
        assert found["difference"] == pytest.approx(compared["difference"], abs=TOLERANCE)
        assert found["low"] <= found["difference"] <= found["high"]
    old = {"majority", "kmer_logistic", "chunk_average"}
    new = {"stranded_kmer_logistic", "composition_logistic"}  # fitted: the old run has none
    assert metrics["differences"].keys() == metrics["baselines"].keys() == old | new
    for name in old:
        old_baseline = numbers(expected["baselines"][name])
        assert numbers(metrics["baselines"][name]) == pytest.approx(old_baseline, abs=TOLERANCE)


@pytest.mark.slow
def test_an_old_run_that_was_interrupted_is_resumed_with_the_same_result(old_run: Path) -> None:
    stopped, finished = old_run / "stopped", old_run / "run"
    labels = old_run / "labels.tsv"
    assert len(read_losses(stopped)) == 1

    succeed(
        *("train", old_run / "records.fasta", "--labels", labels, "--out", stopped),
        *("--seed", 5, "--device", "cpu", "--resume"),
    )

    losses, expected_losses = read_losses(stopped), read_losses(finished)
    assert [row["epoch"] for row in losses] == [1, 2]
    for row, expected_row in zip(losses, expected_losses, strict=True):
        assert row == pytest.approx(expected_row, abs=TOLERANCE)
    weights = load_file(stopped / "model.safetensors")
    expected = load_file(finished / "model.safetensors")
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_allclose(weights[name], tensor, atol=TOLERANCE, err_msg=name)
    assert_same_rows(
        (stopped / "predictions.tsv").read_text(), (finished / "predictions.tsv").read_text()
    )
