"""Prediction in a stream: the same answers as from strings, whatever the company (laws 3 and 5)."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import EncodedRecord, encode
from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.model import classifier
from rmt_genomics.prediction import predictor as encoding
from rmt_genomics.prediction import predictor as predict
from rmt_genomics.prediction.inputs import read_fastas
from rmt_genomics.prediction.predictor import Shard, predict_records
from rmt_genomics.prediction.progress import ProgressCallback, ShardProgress
from tests.model.toys import toy
from tests.prediction.toys import dna, write_fasta

sequences = st.lists(st.text("ACGTN", min_size=1, max_size=40), min_size=1, max_size=9)


def records(letters: list[str]) -> Iterator[EncodedRecord]:
    return (EncodedRecord(f"r{place}", "", encode(one)) for place, one in enumerate(letters))


def probabilities(letters: list[str]) -> np.ndarray:
    return np.stack([each.probabilities for each in predict_records(toy(), records(letters))])


@given(sequences)
def test_a_stream_gives_the_answers_of_strings_in_the_same_order(letters: list[str]) -> None:
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
def test_company_changes_nothing(letters: list[str]) -> None:
    alone = np.concatenate([probabilities([one]) for one in letters])

    np.testing.assert_allclose(probabilities(letters), alone, atol=1e-12)


def test_company_would_be_seen_if_padding_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_all(codes: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        batch, _ = true_pad(codes)
        return batch, torch.full((len(batch),), batch.shape[1])

    true_pad, letters = classifier.pad, ["ACG", "ACGTACGTACGT"]
    alone = probabilities(letters[:1])
    monkeypatch.setattr(classifier, "pad", read_all)

    assert abs(probabilities(letters)[0] - alone[0]).max() > 1e-4


@given(lengths=st.lists(st.integers(1, 30), max_size=30), rows=st.integers(1, 5))
def test_batches_are_small_and_lose_nothing(lengths: list[int], rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "MAX_ROWS", rows)
        patch.setattr(encoding, "MAX_BP", 40)
        batches = list(encoding.batches(records(["A" * length for length in lengths])))

    widths = [[record.length for record in batch.records] for batch in batches]
    assert [batch.number for batch in batches] == list(range(len(batches)))
    assert [batch.first for batch in batches] == [
        sum(map(len, widths[:n])) for n in range(len(widths))
    ]
    assert list(chain(*widths)) == lengths
    assert all(len(each) <= rows for each in widths)
    assert all(len(each) == 1 or len(each) * max(each) <= 40 for each in widths)


def test_records_are_read_one_batch_ahead_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_ROWS", 2)
    source = records(["ACGT"] * 10)

    next(predict_records(toy(), source))

    assert next(source).name == "r2"


def test_nothing_is_read_ahead_of_a_long_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_BP", 10)
    source = records(["ACGTACGT", "ACGT", "ACGT"])

    next(predict_records(toy(), source))

    assert next(source).name == "r1"


@given(letters=sequences, of=st.integers(1, 4), after=st.integers(0, 9))
def test_shares_are_disjoint_cover_all_and_give_the_same_bytes(
    letters: list[str], of: int, after: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "MAX_ROWS", 2)
        whole = list(predict_records(toy(), records(letters)))
        shares = [
            list(predict_records(toy(), records(letters), share=Shard(number, of, after)))
            for number in range(1, of + 1)
        ]

    found = sorted(chain(*shares), key=lambda each: each.row)
    assert [each.row for each in whole] == list(range(len(letters)))
    assert [each.row for each in found] == list(range(len(letters)))[after:]
    for one, other in zip(found, whole[after:], strict=True):
        assert one.probabilities.tobytes() == other.probabilities.tobytes()


@pytest.mark.parametrize("share", [(0, 4), (5, 4), (1, 0)])
def test_a_share_that_is_none_is_refused(share: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"the shard is .* but must be one of"):
        Shard(*share)


class Heard(ProgressCallback):
    def __init__(self) -> None:
        self.bp, self.left_out = 0, 0

    def read(self, bp: int) -> None:
        self.bp += bp

    def skipped(self, bp: int) -> None:
        self.left_out += bp


def test_all_bp_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_BP", 30)
    heard, letters = Heard(), ["ACGT" * 2, "ACG" * 20, "AC", "A" * 31]

    list(predict_records(toy(), records(letters), share=Shard(1, 2), watch=ShardProgress(heard)))

    assert (heard.bp, heard.left_out) == (8 + 2, 60 + 31)


def test_long_records_and_short_ones_are_answered_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = ["ACGTTGCANNCGTATTACGGACT", "ACGT"]
    short = probabilities(letters)
    monkeypatch.setattr(encoding, "MAX_BP", 5)

    np.testing.assert_allclose(probabilities(letters), short, atol=1e-12)


def test_a_long_record_is_the_same_from_file_and_from_string(tmp_path: Path) -> None:
    model, letters = toy(segment_length=1024, depth=1).float(), dna(300_000)
    path = write_fasta(tmp_path / "long.fa", {"short": "ACGT", "long": letters})

    short, long = predict_records(model, read_fastas([path]))

    assert (short.record, long.record, long.length) == ("short", "long", 300_000)
    np.testing.assert_allclose(long.probabilities, model.predict_proba([letters])[0], atol=1e-5)
    assert abs(long.probabilities - model.predict_proba([letters[:299_000]])[0]).max() > 1e-5


def test_the_score_is_the_probability_of_the_label() -> None:
    (answer,) = predict_records(toy(), records(["ACGTAC"]))

    assert answer.label == toy().classes_[int(answer.probabilities.argmax())]
    assert answer.score == answer.probabilities.max()


@pytest.mark.parametrize(
    ("row", "label", "score"),
    [([0.9, 0.2, 0.6], "a;c", 0.6), ([0.1, 0.5, 0.2], "b", 0.5), ([0.1, 0.2, 0.3], "", None)],
)
def test_several_labels_score_by_the_least_sure_one(
    row: list[float], label: str, score: float | None
) -> None:
    answer = predict.make_prediction(toy(task="multilabel"), "r", 4, np.array(row))

    assert (answer.label, answer.score) == (label, score)


def test_a_missing_file_is_noticed_before_the_first_is_read(tmp_path: Path) -> None:
    there = write_fasta(tmp_path / "there.fa", {"r": "ACGT"})

    with pytest.raises(DataError, match=r"gone\.fa: there is no such file"):
        read_fastas([there, tmp_path / "gone.fa"])
