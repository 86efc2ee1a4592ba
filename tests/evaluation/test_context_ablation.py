"""What context is worth is what the model says of less of it, at a bounded cost."""

from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.evaluation import context_ablation as context
from rmt_genomics.evaluation.context_ablation import context_of, forgetful, visible_lengths
from rmt_genomics.model import RMTClassifier
from tests.evaluation.toys import judged_of, sequences_of


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys have tens of base pairs, six a segment."""
    monkeypatch.setattr(context, "_FIRST", 8)
    monkeypatch.setattr(context, "_FEWEST", 2)


def count_bp(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the base pairs of each sequence that is predicted from now on."""
    read: list[int] = []
    predict = RMTClassifier.predict_codes

    def counting(model: RMTClassifier, codes: list[np.ndarray]) -> np.ndarray:
        read.extend(len(each) for each in codes)
        return predict(model, codes)

    monkeypatch.setattr(RMTClassifier, "predict_codes", counting)
    return read


def test_lengths_are_those_below_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_FIRST", 1024)

    assert visible_lengths(1024) == []
    assert visible_lengths(1025) == [1024]
    assert visible_lengths(70_000) == [1024, 4096, 16_384, 65_536]


def test_each_figure_is_that_of_shortened_sequences(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [40, 7, 30, 9, 33, 50])

    found = context_of(judged).found

    assert found is not None
    assert [each["bp"] for each in found["visible"]] == [8, 32, None]
    assert [each["share_shortened"] for each in found["visible"]] == [5 / 6, 0.5, 0]
    codes = sequences_of(judged)
    for each in found["visible"]:
        short = judged.model.predict_proba(
            ["".join("ACGTN"[code] for code in one[: each["bp"]]) for one in codes]
        )
        expected = judged.metrics(short)
        assert {name: each[name] for name in ("mcc", "auroc", "n")} == {
            name: expected[name] for name in ("mcc", "auroc", "n")
        }
    twin = forgetful(judged.model)
    without = np.concatenate([twin.predict_codes([one]) for one in codes])
    assert found["memory_reset"]["auroc"] == judged.metrics(without)["auroc"]
    assert found["metric"] == "mcc"
    assert "On the first 8 bp alone MCC is" in found["sentence"]


def test_only_what_changes_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judged_of(tmp_path, [40, 6, 30, 9])
    read = count_bp(monkeypatch)

    context_of(judged)

    at_8, at_32, without_memory = [8] * 3, [32], [40, 30, 9]  # r1 is one segment
    assert sorted(read) == sorted([*at_8, *at_32, *without_memory])


def test_no_more_is_read_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judged_of(tmp_path, [40, 30] * 10)
    read = count_bp(monkeypatch)

    found = context_of(judged, most_bp=500)

    assert found.found is not None
    assert 400 < sum(read) <= 500
    count = found.found["visible"][-1]["n"]
    assert found.notes[0].startswith(
        f"What context is worth was measured on {count} of the 20 examples, drawn at random (seed 0"
    )
    assert found.found["memory_reset"]["n"] == found.found["visible"][0]["n"] == count
    assert context_of(judged, most_bp=500) == found


def test_too_much_to_read_is_told(tmp_path: Path) -> None:
    found = context_of(judged_of(tmp_path, [40] * 4), most_bp=50)

    assert found.found is None
    assert "was not measured: 2 examples of this length are more than the 50 bp" in found.notes[0]


def test_one_segment_has_no_context(tmp_path: Path) -> None:
    found = context_of(judged_of(tmp_path, [6, 5, 4]))

    assert found.found is None
    assert found.notes == ("No example is longer than one segment (6 bp): memory has no part.",)


def test_numbers_have_context_too(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [40, 30, 20, 10], task="regression", classes=("label",))

    found = context_of(judged).found

    assert found is not None
    assert found["metric"] == "r2"
    assert found["visible"][-1]["r2"] == judged.metrics()["r2"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "(Emptied, the model hears the last segment of each strand only.)"),
        (
            {"composition_k": 2},
            "(Emptied, it hears the last segment of each strand, and the k-mer composition of the",
        ),
        (
            {"composition_k": 2, "pooling": "mean"},
            "(Emptied, it hears every segment, and the k-mer composition of the whole.)",
        ),
        (
            {"composition_k": 2, "protein_k": 1, "pooling": "mean"},
            "(Emptied, it hears every segment, and the k-mer and protein composition of the",
        ),
        ({"pooling": "mean"}, None),
    ],
)
def test_what_is_left_without_memory_is_told(
    tmp_path: Path, changes: dict[str, object], words: str | None
) -> None:
    found = context_of(judged_of(tmp_path, [40, 7, 30, 9, 33, 50], **changes)).found

    assert found is not None
    assert ("Emptied" in found["sentence"]) == (words is not None)
    assert (words or "") in found["sentence"]
