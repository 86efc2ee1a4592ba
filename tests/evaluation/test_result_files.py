"""A damaged file of results is an error that names the entry, the value and the rule."""

import json
from pathlib import Path
from typing import Any

import pytest

from rmt_genomics.errors import DataError
from rmt_genomics.evaluation.result_files import read_epochs, read_leakage, read_metrics
from tests.evaluation.toys import toy_metrics

DIFFERENCE = {"metric": "mcc", "difference": 0.1, "low": 0.0, "high": 0.2, "level": 0.95}
DIFFERENCE |= {"sentence": "The model and it show no significant difference."}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auroc": ""}, "has '' as auroc, but must have a number or null"),
        ({"accuracy": True}, "has True as accuracy, but must have a number or null"),
        ({"per_class": [{"class": ["a"]}]}, r"has \['a'\] as class, but must have a name"),
        ({"classes": {}}, "classes is {}, but must be a valid list"),
        ({"n": 1.5}, "n is 1.5, but must be a valid integer"),
        ({"baselines": {"majority": "x"}}, "baselines.majority is 'x', but must be a valid object"),
        ({"baselines": {"majority": {"mcc": [1]}}}, r"baselines.majority has \[1\] as mcc, but"),
        ({"differences": 0}, "differences is 0, but must be a valid object"),
        ({"differences": {"majority": {}}}, "differences.majority.metric is missing, but must be"),
        (
            {"differences": {"majority": DIFFERENCE | {"metric": "x"}}},
            "differences.majority.metric is 'x', but must match",
        ),
        ({"intervals": {"mcc": ["x"]}}, "intervals.mcc.0 is 'x', but must be a valid number"),
        ({"confusion": [[10**17]]}, "confusion.* is 100000000000000000, but must be"),
        ({"classes": [], "confusion": [[2, 0], [0, 2]]}, "has a confusion matrix that is not of"),
        ({"classes": ["a", "b"], "confusion": [[2, 0], [0]]}, "has a confusion matrix that is not"),
        ({"length_bins": ["x"]}, "length_bins.0 is 'x', but must be a valid object"),
        ({"context": {"metric": "mcc"}}, "context.visible is missing, but must be there"),
        (
            {"calibration": {"fitted_on": "x", "reliability": [{}]}},
            "calibration.reliability.0.low is missing, but must be there",
        ),
        ({"calibration": {"log_loss_before": []}}, r"has \[\] as log_loss_before, but"),
        ({"task": "regression", "classes": []}, "has 0 classes, but a regression must have one"),
        ({"notes": [3]}, "notes.0 is 3, but must be a valid string"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(toy_metrics(0.5, **changes)))

    with pytest.raises(DataError, match=rf"metrics\.json: .*{words}.*Train or evaluate again\."):
        read_metrics(path)


def test_what_is_right_is_returned_unchanged(tmp_path: Path) -> None:
    metrics = toy_metrics(None, differences={"majority": DIFFERENCE}, intervals={"mcc": None})
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"other": [1, {"a": None}]}))

    assert read_metrics(tmp_path / "metrics.json") == metrics | {"other": [1, {"a": None}]}


@pytest.mark.parametrize("content", [b"\xf5\x00", b"[" * 5000, b"[]", b'{"n": 1e999}', b""])
def test_a_file_of_anything_is_an_error(tmp_path: Path, content: bytes) -> None:
    for name, read in (("metrics.json", read_metrics), ("leakage.json", read_leakage)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"epoch": 1, "val_mcc": ["x"]}', "val_mcc is"),
        ('{"val_mcc": 0.5}', "epoch is missing"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_wrong_epoch_is_named_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1, "val_mcc": null}\n' + line + "\n")

    with pytest.raises(DataError, match=rf"metrics\.jsonl:2: {words}"):
        read_epochs(path)
