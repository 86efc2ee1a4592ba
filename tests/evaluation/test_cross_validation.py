"""The mean and the spread of metrics over folds, by hand."""

import pytest

from rmt_genomics.evaluation.cross_validation import _of_folds, fold_sentence


def test_mean_and_sample_standard_deviation_are_those_of_the_folds_that_have_a_value() -> None:
    rows = [
        {"n": 5, "mcc": 0.2, "auroc": None, "validation_mcc": 0.1},
        {"n": 4, "mcc": 0.6, "auroc": 0.5, "validation_mcc": 0.3},
        {"n": 4, "mcc": None, "auroc": None, "validation_mcc": 0.2},
    ]

    found = _of_folds(rows, "binary")

    assert [fold["mcc"] for fold in found["folds"]] == [0.2, 0.6, None]
    assert [fold["fold"] for fold in found["folds"]] == [1, 2, 3]
    assert found["mean"]["mcc"] == pytest.approx(0.4)
    assert found["sd"]["mcc"] == pytest.approx(0.08**0.5)  # 2 * 0.2 squared, over 2 - 1
    assert [found[part]["auroc"] for part in ("mean", "sd")] == [0.5, None]
    assert [found[part]["accuracy"] for part in ("mean", "sd")] == [None, None]
    assert found["validation_mcc"] == pytest.approx(0.2)
    assert "validation_mcc" not in _of_folds([*rows, {"mcc": 0.1}], "binary")
    sentence = fold_sentence({"task": "binary", **found})
    assert sentence == (
        "Over 3 folds MCC is 0.400 on average, with a standard deviation of 0.283 "
        "(0.200, 0.600, -)."
    )
