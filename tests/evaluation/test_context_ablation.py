"""Context is ablated as a slow plain loop would do it, at a bounded cost."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rmt_genomics.evaluation import context_ablation
from rmt_genomics.evaluation.context_ablation import (
    ablate_context,
    average_of_segments,
    segment_bp,
    visible_lengths,
    with_memory_reset,
)
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.classifier import Encoding
from tests.evaluation.toys import codes_of, make_eval_set
from tests.model.toys import toy

POOLINGS = ["last", "mean", "max", "attention"]
KMERS = {"tokenizer_kind": "kmer", "k": 3, "stride": 2}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys have tens of base pairs, six a segment."""
    monkeypatch.setattr(context_ablation, "_SHORTEST_BP", 8)
    monkeypatch.setattr(context_ablation, "_MIN_EXAMPLES", 2)


def count_bp(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the base pairs of each sequence that is predicted from now on."""
    read: list[int] = []
    predict = RMTClassifier.predict_codes

    def counting(model: RMTClassifier, codes: list[np.ndarray]) -> np.ndarray:
        read.extend(len(sequence) for sequence in codes)
        return predict(model, codes)

    monkeypatch.setattr(RMTClassifier, "predict_codes", counting)
    return read


def test_lengths_are_those_below_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_ablation, "_SHORTEST_BP", 1024)

    assert visible_lengths(1024) == []
    assert visible_lengths(1025) == [1024]
    assert visible_lengths(70_000) == [1024, 4096, 16_384, 65_536]


def test_metrics_at_each_visible_length_are_those_of_shortened_sequences(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [40, 7, 30, 9, 33, 50])

    results = ablate_context(eval_set).results

    assert results is not None
    assert [row["bp"] for row in results["visible"]] == [8, 32, None]
    assert [row["share_shortened"] for row in results["visible"]] == [5 / 6, 0.5, 0]
    codes = codes_of(eval_set)
    for row in results["visible"]:
        short = eval_set.model.predict_proba(
            ["".join("ACGTN"[code] for code in one[: row["bp"]]) for one in codes]
        )
        expected = eval_set.metrics(short)
        assert {name: row[name] for name in ("mcc", "auroc", "n")} == {
            name: expected[name] for name in ("mcc", "auroc", "n")
        }
    twin = with_memory_reset(eval_set.model)
    without = np.concatenate([twin.predict_codes([one]) for one in codes])
    assert results["memory_reset"]["auroc"] == eval_set.metrics(without)["auroc"]
    assert results["metric"] == "mcc"
    assert "On the first 8 bp alone MCC is" in results["sentence"]


def test_only_predictions_that_change_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eval_set = make_eval_set(tmp_path, [40, 6, 30, 9])
    read = count_bp(monkeypatch)

    ablate_context(eval_set)

    at_8, at_32, with_reset = [8] * 3, [32], [40, 30, 9]  # r1 is one segment
    assert sorted(read) == sorted([*at_8, *at_32, *with_reset])


def test_no_more_base_pairs_are_read_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eval_set = make_eval_set(tmp_path, [40, 30] * 10)
    read = count_bp(monkeypatch)

    ablation = ablate_context(eval_set, max_bp=500)

    assert ablation.results is not None
    assert 400 < sum(read) <= 500
    count = ablation.results["visible"][-1]["n"]
    assert ablation.notes[0].startswith(
        f"The effect of context was measured on {count} of the 20 examples, drawn at random (seed 0"
    )
    assert ablation.results["memory_reset"]["n"] == ablation.results["visible"][0]["n"] == count
    assert ablate_context(eval_set, max_bp=500) == ablation


def test_a_set_that_is_too_large_gets_a_note(tmp_path: Path) -> None:
    ablation = ablate_context(make_eval_set(tmp_path, [40] * 4), max_bp=50)

    assert ablation.results is None
    assert (
        "was not measured: 2 examples of this length exceed the limit of 50 bp" in ablation.notes[0]
    )


def test_examples_of_one_segment_have_no_context(tmp_path: Path) -> None:
    ablation = ablate_context(make_eval_set(tmp_path, [6, 5, 4]))

    assert ablation.results is None
    assert ablation.notes == (
        "No example is longer than one segment (6 bp): memory has no effect.",
    )


def test_a_regression_has_context_too(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [40, 30, 20, 10], task="regression", classes=("label",))

    results = ablate_context(eval_set).results

    assert results is not None
    assert results["metric"] == "r2"
    assert results["visible"][-1]["r2"] == eval_set.metrics()["r2"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "memory reset at prediction, the model uses the last segment of each strand only.)",
        ),
        (
            {"features": ("kmer:2",)},
            "memory reset at prediction, the model uses the last segment of each strand, and the ",
        ),
        (
            {"features": ("kmer:2",), "pooling": "mean"},
            "uses every segment, and the k-mer composition of the whole sequence.)",
        ),
        (
            {"features": ("kmer:2", "protein:1"), "pooling": "mean"},
            "uses every segment, and the k-mer and protein composition of the",
        ),
        ({"pooling": "mean"}, None),
    ],
)
def test_the_sentence_says_what_a_model_with_memory_reset_uses(
    tmp_path: Path, changes: dict[str, object], words: str | None
) -> None:
    results = ablate_context(make_eval_set(tmp_path, [40, 7, 30, 9, 33, 50], **changes)).results

    assert results is not None
    assert ("With memory reset" in results["sentence"]) == (words is not None)
    assert (words or "") in results["sentence"]


def random_codes(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 5, length).astype(np.uint8) for length in lengths]


def plain_average(model: RMTClassifier, codes: np.ndarray, *, alone: bool) -> np.ndarray:
    """The same by a loop: each segment is a sequence of its own, with a new memory."""
    step, shared = segment_bp(model), model.config.k - model.config.stride
    starts = list(range(0, max(1, len(codes) - shared), step))
    total, weight = torch.zeros(len(model.classes_), dtype=torch.float64), 0
    for start in starts:
        piece = codes[start : start + step + shared]
        adds = len(codes) - start if start == starts[-1] else step
        with torch.no_grad():
            lengths = torch.tensor([len(piece)])
            encoding = model.eval().encode(torch.from_numpy(piece)[None], lengths)
            if not alone:  # the composition stays that of the whole sequence
                whole = model.sequence_features(torch.from_numpy(codes)[None])
                encoding = Encoding(encoding.strands, *whole)
            logits = model.logits(encoding)
        total, weight = total + adds * logits[0], weight + adds
    assert weight == len(codes)
    return model.outputs(total[None] / weight).numpy()[0]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        KMERS,
        {"stem_pool": 2},
        {"strand_head": "symmetric"},
        {"features": ("kmer:2",), "strand_head": "symmetric"},
        {"features": ("stranded-kmer:2",)},
        {"features": ("protein:1",), "orf_codons": 2},
        {"features": ("wide:1,3",)},
    ],
)
def test_the_average_is_that_of_a_loop_over_segments(pooling: str, changes: dict) -> None:
    model = toy(pooling=pooling, **changes)
    sequences = random_codes(40, 1, 6, 7, 13, 24, 25)

    averages = average_of_segments(model, sequences)

    for rows, alone in ((averages.with_whole, False), (averages.alone, True)):
        expected = np.stack([plain_average(model, codes, alone=alone) for codes in sequences])
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)


def test_a_sequence_of_one_segment_has_the_prediction_of_the_model() -> None:
    model = toy()
    sequences = random_codes(6, 3, 1)

    np.testing.assert_allclose(
        average_of_segments(model, sequences).alone, model.predict_codes(sequences), atol=1e-12
    )
    assert segment_bp(model) == 6
    assert segment_bp(toy(**KMERS)) == 12


def test_segments_do_not_depend_on_each_other() -> None:
    model, (first, second) = toy(), random_codes(60, 6)

    together = average_of_segments(model, [np.concatenate([second, second])]).alone

    np.testing.assert_allclose(together, average_of_segments(model, [second]).alone, atol=1e-12)
    assert (
        np.abs(model.predict_codes([first]) - average_of_segments(model, [first]).alone).max()
        > 1e-6
    )


def test_with_memory_reset_last_pooling_uses_only_the_end_of_each_strand() -> None:
    model = toy(stem_width=0)  # a stem would see a neighbouring base
    start, middle, middle_too, end = random_codes(6, 6, 6, 6)
    long, other = np.concatenate([start, middle, end]), np.concatenate([start, middle_too, end])

    twin = with_memory_reset(model)

    np.testing.assert_allclose(twin.predict_codes([long]), twin.predict_codes([other]), atol=1e-12)
    assert np.abs(model.predict_codes([long]) - model.predict_codes([other])).max() > 1e-9


def test_memory_reset_does_not_change_one_segment() -> None:
    model, sequences = toy(), random_codes(6, 4)

    np.testing.assert_allclose(
        with_memory_reset(model).predict_codes(sequences),
        model.predict_codes(sequences),
        atol=1e-12,
    )


def test_the_twin_shares_the_weights_and_draws_no_random_numbers() -> None:
    model = toy()
    before = torch.get_rng_state()

    twin = with_memory_reset(model)

    assert torch.equal(before, torch.get_rng_state())
    ours, theirs = dict(model.named_parameters()), dict(twin.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in ours)


def test_a_model_without_memory_has_none_to_reset(tmp_path: Path) -> None:
    results = ablate_context(
        make_eval_set(tmp_path, [40, 7, 30, 9], memory_reset="segment")
    ).results

    assert results is not None
    assert results["memory_reset"] == {
        key: value
        for key, value in results["visible"][-1].items()
        if key not in ("bp", "share_shortened")
    }
    assert "difference" not in results
    assert results["sentence"].endswith(
        ". (Trained without memory, the model uses the last segment of each strand only.)"
    )
