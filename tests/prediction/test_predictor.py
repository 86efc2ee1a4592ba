"""Prediction in a stream: the same as from strings, whatever the batch (laws 3 and 5)."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import EncodedRecord, encode
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning
from rmt_genomics.model import classifier
from rmt_genomics.prediction import predictor
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.inputs import InputReader, PredictionInput
from rmt_genomics.prediction.predictor import DecisionRule, Shard, predict_records
from rmt_genomics.prediction.progress import ProgressCallback
from tests.model.toys import toy
from tests.prediction.toys import dna, write_fasta

known = st.text("ACGTN", min_size=1, max_size=40).filter(lambda letters: set(letters) != {"N"})
sequences = st.lists(known, min_size=1, max_size=9)


def records(letters: list[str]) -> Iterator[EncodedRecord]:
    return (EncodedRecord(f"r{index}", "", encode(one)) for index, one in enumerate(letters))


def reader(*paths: Path) -> InputReader:
    return InputReader(PredictionInput(fasta=paths))


def probabilities(letters: list[str]) -> np.ndarray:
    predictions = predict_records(toy(), records(letters))
    return np.stack([prediction.probabilities for prediction in predictions])


@given(sequences)
def test_a_stream_gives_the_predictions_of_strings_in_the_same_order(letters: list[str]) -> None:
    model = toy()

    streamed = list(predict_records(model, records(letters)))

    assert [each.record for each in streamed] == [f"r{place}" for place in range(len(letters))]
    assert [each.length for each in streamed] == [len(one) for one in letters]
    assert [each.label for each in streamed] == model.predict(letters)
    np.testing.assert_allclose(
        np.stack([each.probabilities for each in streamed]),
        model.predict_proba(letters),
        atol=1e-12,
    )


@given(sequences)
def test_the_batch_changes_nothing(letters: list[str]) -> None:
    alone = np.concatenate([probabilities([one]) for one in letters])

    np.testing.assert_allclose(probabilities(letters), alone, atol=1e-12)


def test_a_difference_would_be_seen_if_padding_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_all(
        codes: list[np.ndarray], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        batch, _ = true_pad(codes, device)
        return batch, torch.full((len(batch),), batch.shape[1])

    true_pad, letters = classifier.pad, ["ACG", "ACGTACGTACGT"]
    alone = probabilities(letters[:1])
    monkeypatch.setattr(classifier, "pad", read_all)

    assert abs(probabilities(letters)[0] - alone[0]).max() > 1e-4


@given(lengths=st.lists(st.integers(1, 30), max_size=30), rows=st.integers(1, 5))
def test_batches_are_small_and_of_similar_length_and_lose_nothing(
    lengths: list[int], rows: int
) -> None:
    batches: list[list[int]] = []

    def compute(codes: list[np.ndarray], **_: object) -> np.ndarray:
        batches.append([len(each) for each in codes])
        return np.array(batches[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "MAX_ROWS", rows)
        patch.setattr(predictor, "MAX_BP", 40)
        patch.setattr(predictor, "WINDOW_RECORDS", 12)
        patch.setattr(predictor, "WINDOW_BP", 120)
        found = list(predictor.compute_rows(records(["A" * n for n in lengths]), compute))

    assert [row for row, *_ in found] == list(range(len(lengths)))
    assert [(record.length, result) for _, record, result in found] == [(n, n) for n in lengths]
    assert all(len(each) <= rows for each in batches)
    assert all(len(each) == 1 or len(each) * max(each) <= 40 for each in batches)


def test_short_and_long_reads_are_not_in_one_batch() -> None:
    lengths = [30, 300] * 200
    computed_bp = 0

    def compute(codes: list[np.ndarray], **_: object) -> np.ndarray:
        nonlocal computed_bp
        computed_bp += len(codes) * max(map(len, codes))
        return np.zeros(len(codes))

    list(predictor.compute_rows(records(["A" * length for length in lengths]), compute))

    assert computed_bp < 1.3 * sum(lengths)


def test_records_are_read_one_window_ahead_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "WINDOW_RECORDS", 2)
    source = records(["ACGT"] * 10)

    next(predict_records(toy(), source))

    assert next(source).name == "r2"


def test_nothing_is_read_ahead_of_a_long_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "WINDOW_BP", 8)
    source = records(["ACGTACGT", "ACGT", "ACGT"])

    next(predict_records(toy(), source))

    assert next(source).name == "r1"


@given(letters=sequences, of=st.integers(1, 4), first_row=st.integers(0, 9))
def test_shards_are_disjoint_cover_all_and_give_the_same_bytes(
    letters: list[str], of: int, first_row: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "MAX_ROWS", 2)
        patch.setattr(predictor, "WINDOW_RECORDS", 5)
        whole = list(predict_records(toy(), records(letters)))
        shards = [
            list(predict_records(toy(), records(letters), shard=Shard(number, of, first_row)))
            for number in range(1, of + 1)
        ]

    found = sorted(chain(*shards), key=lambda prediction: prediction.row)
    assert [each.row for each in whole] == list(range(len(letters)))
    assert [each.row for each in found] == list(range(len(letters)))[first_row:]
    for one, other in zip(found, whole[first_row:], strict=True):
        assert one.probabilities.tobytes() == other.probabilities.tobytes()


@pytest.mark.parametrize("shard", [(0, 4), (5, 4), (1, 0)])
def test_a_shard_out_of_range_is_refused(shard: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"the shard is .* but must be one of"):
        Shard(*shard)


class Counter(ProgressCallback):
    def __init__(self) -> None:
        self.done_bp, self.skipped_bp = 0, 0

    def update(self, bp: int) -> None:
        self.done_bp += bp

    def skip(self, bp: int) -> None:
        self.skipped_bp += bp


def test_all_bp_are_reported_as_done_or_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "MAX_BP", 30)
    counter, letters = Counter(), ["ACGT" * 2, "ACG" * 20, "AC", "A" * 31]

    list(predict_records(toy(), records(letters), shard=Shard(1, 2), progress=counter))

    assert (counter.done_bp, counter.skipped_bp) == (60 + 8 + 2, 31)


def test_long_and_short_records_have_the_same_probabilities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letters = ["ACGTTGCANNCGTATTACGGACT", "ACGT"]
    short = probabilities(letters)
    monkeypatch.setattr(predictor, "MAX_BP", 5)

    np.testing.assert_allclose(probabilities(letters), short, atol=1e-12)


def test_a_long_record_is_the_same_from_file_and_from_string(tmp_path: Path) -> None:
    model, letters = toy(segment_length=1024, depth=1).float(), dna(300_000)
    path = write_fasta(tmp_path / "long.fa", {"short": "ACGT", "long": letters})

    short, long = predict_records(model, reader(path))

    assert (short.record, long.record, long.length) == ("short", "long", 300_000)
    np.testing.assert_allclose(long.probabilities, model.predict_proba([letters])[0], atol=1e-5)
    assert abs(long.probabilities - model.predict_proba([letters[:299_000]])[0]).max() > 1e-5


def test_the_score_is_the_probability_of_the_label() -> None:
    (prediction,) = predict_records(toy(), records(["ACGTAC"]))

    assert prediction.label == toy().classes_[int(prediction.probabilities.argmax())]
    assert prediction.score == prediction.probabilities.max()


@pytest.mark.parametrize(
    ("row", "label", "score"),
    [([0.9, 0.2, 0.6], "a;c", 0.6), ([0.1, 0.5, 0.2], "b", 0.5), ([0.1, 0.2, 0.3], "", None)],
)
def test_several_labels_score_by_the_least_sure_one(
    row: list[float], label: str, score: float | None
) -> None:
    prediction = predictor.make_prediction(toy(task="multilabel"), "r", 4, np.array(row))

    assert (prediction.label, prediction.score) == (label, score)


def test_a_missing_file_is_noticed_before_the_first_is_read(tmp_path: Path) -> None:
    there = write_fasta(tmp_path / "there.fa", {"r": "ACGT"})

    with pytest.raises(DataError, match=r"gone\.fa: there is no such file"):
        reader(there, tmp_path / "gone.fa")


def test_records_unlike_those_of_the_training_have_a_note_and_are_counted_once() -> None:
    letters = ["A" * 3, "A" * 4, "A" * 8, "A" * 9, "NNNNN", "NN", "A" * 99]
    model = toy(min_train_bp=4, max_train_bp=8)

    with pytest.warns(RMTGenomicsWarning) as caught:
        found = list(predict_records(model, records(letters), shard=Shard(1, 1, first_row=1)))

    shorter, longer = "shorter than any training example", "longer than any training example"
    assert [each.note for each in found] == [
        "",
        "",
        longer,
        "no known base",
        f"no known base; {shorter}",
        longer,
    ]
    assert [str(each.message) for each in caught] == [
        f"Notes on 6 sequences: no known base: 2, {shorter}: 1, {longer}: 2. The training "
        "examples have 4 to 8 bp: predictions for other sequences may mean nothing."
    ]


@pytest.mark.parametrize("rule", [DecisionRule(), DecisionRule(abstain_below=0.9)])
def test_a_record_without_a_known_base_has_no_prediction(rule: DecisionRule) -> None:
    with pytest.warns(RMTGenomicsWarning, match=r"Notes on 2 sequences: no known base: 1\.$"):
        known, unknown = predict_records(toy(), records(["ACGT", "NNN"]), decision_rule=rule)

    assert (known.note, unknown.note) == ("", "no known base")
    assert unknown.label == "NA"
    assert unknown.score is not None
    assert np.isnan([unknown.score, *unknown.probabilities]).all()
    assert np.isfinite(known.probabilities).all()


def test_a_record_without_a_known_base_has_no_set_of_labels() -> None:
    model = toy()
    scores = np.array([0.1, 0.2, 0.3])
    calibration = Calibration(model.config.task, model.classes_, 1.0, scores)
    rule = DecisionRule(coverage=0.5, calibration=calibration)

    with pytest.warns(RMTGenomicsWarning, match="no known base: 1"):
        (unknown,) = predict_records(model, records(["NNN"]), decision_rule=rule)

    assert unknown.labels == ("NA",)


def test_a_model_whose_training_lengths_are_not_known_warns_of_none() -> None:
    (found,) = predict_records(toy(), records(["A"]))

    assert found.note == ""
