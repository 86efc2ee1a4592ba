"""Notes say what limits the metrics; length bins show what a mean hides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.evaluation.metrics_report import collapse_of, length_bins, notes_on_predictions
from tests.evaluation.toys import make_eval_set

COLLAPSED = "The model has collapsed: it predicts the label 'gc' for all 24 examples."


def test_a_collapsed_model_warns(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [10] * 24)
    rows = np.linspace(0.1, 0.4, 24)
    constant = replace(eval_set, probabilities=np.stack([rows, 1 - rows], axis=1))
    differs = constant.probabilities.copy()
    differs[5] = 0.9, 0.1

    with pytest.warns(RMTGenomicsWarning, match=COLLAPSED):
        notes = list(notes_on_predictions(constant))

    assert notes[0].startswith(COLLAPSED)
    assert collapse_of(replace(eval_set, probabilities=differs)) is None


def test_one_predicted_label_is_no_collapse_if_there_is_one_class(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [10] * 24)

    same = replace(
        eval_set, targets=np.ones(24, dtype=int), probabilities=np.tile([0.2, 0.8], (24, 1))
    )

    assert collapse_of(same) is None


def test_few_examples_do_not_show_a_collapse(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [10] * 19)

    assert collapse_of(replace(eval_set, probabilities=np.tile([0.2, 0.8], (19, 1)))) is None


def test_multilabel_models_and_regressions_collapse_too(tmp_path: Path) -> None:
    several = make_eval_set(tmp_path, [10] * 24, task="multilabel")
    none_named = replace(several, probabilities=np.full((24, 2), 0.1))
    numbers = make_eval_set(tmp_path, [10] * 24, task="regression", classes=("label",))
    about_the_same = replace(numbers, probabilities=np.full((24, 1), 2.5))

    assert "predicts no label for all 24 examples." in str(collapse_of(none_named))
    assert "predicts about the same value for every example (2.5)" in str(
        collapse_of(about_the_same)
    )
    spread = replace(numbers, probabilities=numbers.targets[:, None])
    assert collapse_of(spread) is None


def test_few_examples_and_rare_classes_get_notes(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [10, 11, 12])

    assert list(notes_on_predictions(eval_set)) == [
        "Only 3 examples were evaluated: metrics from so few vary widely by chance.",
        "Classes with fewer than 10 evaluated examples: at (2), gc (1).",
    ]


def test_bins_are_powers_of_4_and_contain_every_example(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [1, 3, 4, 15, 16, 17, 63, 64, 70])

    bins = length_bins(eval_set)

    assert [(row["low_bp"], row["high_bp"], row["n"]) for row in bins] == [
        *((1, 4, 2), (4, 16, 2), (16, 64, 3), (64, 256, 2))
    ]
    third = eval_set.subset(np.array([4, 5, 6])).metrics()
    assert bins[2]["accuracy"] == third["accuracy"]
    assert bins[2]["auroc"] == third["auroc"]
    assert "confusion" not in bins[2]
