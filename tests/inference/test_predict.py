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
from rmt_genomics.errors import DataError
from rmt_genomics.inference import predict
from rmt_genomics.inference.predict import predict_records, read_fastas
from rmt_genomics.model import classifier
from tests.inference.toys import dna, write_fasta
from tests.model.toys import toy

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
        patch.setattr(predict, "MAX_ROWS", rows)
        patch.setattr(predict, "MAX_BP", 40)
        batches = list(predict._batches(records(["A" * length for length in lengths])))

    widths = [[len(record.codes) for record in batch] for batch in batches]
    assert list(chain(*widths)) == lengths
    assert all(len(each) <= rows for each in widths)
    assert all(len(each) == 1 or len(each) * max(each) <= 40 for each in widths)


def test_records_are_read_one_batch_ahead_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "MAX_ROWS", 2)
    source = records(["ACGT"] * 10)

    next(predict_records(toy(), source))

    assert next(source).name == "r3"


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
