"""What makes figures doubtful is said; what hides in a mean is shown by length."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.evaluation.metrics_report import collapse_of, length_bins, notes_on
from tests.evaluation.toys import judged_of

COLLAPSED = "The model has collapsed: it gives every one of 24 examples the label 'gc'."


def test_a_collapsed_model_is_called_so(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [10] * 24)
    rows = np.linspace(0.1, 0.4, 24)
    constant = replace(judged, probabilities=np.stack([rows, 1 - rows], axis=1))
    differs = constant.probabilities.copy()
    differs[5] = 0.9, 0.1

    with pytest.warns(RMTGenomicsWarning, match=COLLAPSED):
        found = list(notes_on(constant))

    assert found[0].startswith(COLLAPSED)
    assert collapse_of(replace(judged, probabilities=differs)) is None


def test_one_answer_is_right_where_there_is_one_class(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [10] * 24)

    same = replace(
        judged, targets=np.ones(24, dtype=int), probabilities=np.tile([0.2, 0.8], (24, 1))
    )

    assert collapse_of(same) is None


def test_few_examples_prove_no_collapse(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [10] * 19)

    assert collapse_of(replace(judged, probabilities=np.tile([0.2, 0.8], (19, 1)))) is None


def test_several_labels_and_numbers_collapse_too(tmp_path: Path) -> None:
    several = judged_of(tmp_path, [10] * 24, task="multilabel")
    none_named = replace(several, probabilities=np.full((24, 2), 0.1))
    numbers = judged_of(tmp_path, [10] * 24, task="regression", classes=("label",))
    about_the_same = replace(numbers, probabilities=np.full((24, 1), 2.5))

    assert "gives every one of 24 examples no label." in str(collapse_of(none_named))
    assert "every example about the same value (2.5)" in str(collapse_of(about_the_same))
    spread = replace(numbers, probabilities=numbers.targets[:, None])
    assert collapse_of(spread) is None


def test_few_examples_and_rare_classes_are_told(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [10, 11, 12])

    assert list(notes_on(judged)) == [
        "Only 3 examples were judged: figures from so few move a lot by chance.",
        "Classes with fewer than 10 judged examples: at (2), gc (1).",
    ]


def test_bins_are_powers_of_4_and_hold_every_example(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [1, 3, 4, 15, 16, 17, 63, 64, 70])

    found = length_bins(judged)

    assert [(each["low_bp"], each["high_bp"], each["n"]) for each in found] == [
        *((1, 4, 2), (4, 16, 2), (16, 64, 3), (64, 256, 2))
    ]
    third = judged.some(np.array([4, 5, 6])).metrics()
    assert found[2]["accuracy"] == third["accuracy"]
    assert found[2]["auroc"] == third["auroc"]
    assert "confusion" not in found[2]
