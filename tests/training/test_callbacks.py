import csv
import io
import json

from rmt_genomics.training.callbacks import COLUMNS, Row, as_csv, as_jsonl

ROW: Row = {
    "epoch": 2,
    "step": 8,
    "train_loss": 0.5,
    "val_loss": 0.25,
    "val_mcc": None,
    "val_accuracy": 1.0,
    "val_auroc": None,
    "learning_rate": 1e-4,
    "bp_per_second": 12_345,
    "seconds": 1.26,
    "stage": None,
}


def test_both_files_hold_the_same_numbers() -> None:
    (from_json,) = map(json.loads, as_jsonl([ROW]).splitlines())
    (from_csv,) = csv.DictReader(io.StringIO(as_csv([ROW])))

    assert from_json == ROW
    assert tuple(from_csv) == tuple(ROW) == COLUMNS
    numbers = {name: float(text) for name, text in from_csv.items() if text}
    assert numbers == {name: value for name, value in ROW.items() if value is not None}


def test_without_rows_there_is_only_a_header() -> None:
    assert (as_jsonl([]), as_csv([])) == ("", ",".join(COLUMNS) + "\n")
