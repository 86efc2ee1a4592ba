"""The composition of the training examples: what is unlike it has a note, and little else."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.dna import EncodedRecord, encode, reverse_complement_codes
from rmt_genomics.errors import CheckpointError, RMTGenomicsWarning
from rmt_genomics.prediction.notes import Notes
from rmt_genomics.prediction.training_range import (
    FILE_NAME,
    HIGHER_GC,
    LOWER_GC,
    OTHER_KMERS,
    TrainingRange,
)
from tests.model.toys import toy
from tests.prediction.toys import dna


def examples(count: int, *, length: int = 2000, seed: int = 0) -> list[np.ndarray]:
    """Random DNA whose GC content is 40% to 60%."""
    rng = np.random.default_rng(seed)
    gc = rng.uniform(0.4, 0.6, count)
    return [
        rng.choice(4, size=length, p=[(1 - x) / 2, x / 2, x / 2, (1 - x) / 2]).astype(np.uint8)
        for x in gc
    ]


@cache
def fitted(count: int = 100) -> TrainingRange:
    """The range of random examples."""
    training_range = TrainingRange.fit(examples(count))
    assert training_range is not None
    return training_range


@pytest.mark.parametrize(
    ("letters", "notes"),
    [
        ("ACGT" * 500, [OTHER_KMERS]),
        ("AATAGATTAC" * 200, [LOWER_GC, OTHER_KMERS]),
        (dna(2000, letters="ACCGGT"), [HIGHER_GC]),
        (dna(2000, letters="AACGTT"), [LOWER_GC]),
        (dna(2000), []),
        (dna(1000) + "N" * 5000 + dna(1000, seed=1), []),  # bases that are not known do not count
        ("ACNGTNGGG", []),  # has no 4-mer
    ],
)
def test_what_is_unlike_the_training_examples_has_a_note(letters: str, notes: list[str]) -> None:
    codes = encode(letters)

    assert fitted().notes(codes) == notes
    assert fitted().notes(reverse_complement_codes(codes)) == notes


def test_the_gc_content_of_the_examples_is_what_it_is_by_hand() -> None:
    training_range = TrainingRange.fit(map(encode, ["AAAAA", "AAACC", "NNNNNN", "GGGGG"]))

    assert training_range is not None
    # of the 4-mers AAAA twice; AAAC and AACC; CCCC twice
    np.testing.assert_allclose(training_range.gc, [0.0, (0 + 3 / 8 + 1) / 3, 1.0], rtol=1e-6)
    assert training_range.min_kmers[0] == 2
    assert training_range.notes(encode("ATTA" * 9)) == []  # of 3 examples no 4-mers are compared


@pytest.mark.parametrize("count", [10, 40, 300])
def test_few_sequences_like_the_training_examples_have_a_note(count: int) -> None:
    training_range, others = fitted(count), examples(400, seed=1)

    num_notes = sum(OTHER_KMERS in training_range.notes(codes) for codes in others)

    assert num_notes <= 8  # 2%


def test_chance_alone_gives_short_sequences_no_note() -> None:
    training_range = fitted()

    short = [training_range.notes(codes) for codes in examples(400, length=100, seed=2)]

    assert sum(map(bool, short)) <= 8
    assert training_range.notes(encode("ACGT" * 25)) == [OTHER_KMERS]


def test_the_examples_themselves_are_like_the_training_examples() -> None:
    training_range, codes = fitted(50), examples(50)

    assert [training_range.notes(each) for each in codes] == [[]] * 50


def test_without_an_example_of_four_bases_there_is_no_range() -> None:
    assert TrainingRange.fit(map(encode, ["ACG", "ACGNACG"])) is None
    assert TrainingRange.fit([]) is None


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    assert TrainingRange.load(tmp_path) is None
    fitted().save(tmp_path)

    loaded = TrainingRange.load(tmp_path)

    assert loaded is not None
    np.testing.assert_array_equal(loaded.whitening, fitted().whitening)
    assert loaded.notes(encode("ACGT" * 500)) == [OTHER_KMERS]
    assert (tmp_path / FILE_NAME).stat().st_size < 100_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gc": np.zeros(2, np.float32)}, r"its gc is float32 of shape \(2,\)"),
        ({"mean": np.zeros(136)}, r"its mean is float64 of shape \(136,\)"),
        ({"max_distance": np.array([np.nan], np.float32)}, "its max_distance is not finite"),
        ({"min_kmers": np.zeros(1, np.float32)}, "its min_kmers is below 1"),
        ({"whitening": None}, "whitening"),
        (None, "is not the composition of training examples"),
    ],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray | None] | None, words: str
) -> None:
    from safetensors.numpy import load_file, save_file

    fitted().save(tmp_path)
    path = tmp_path / FILE_NAME
    if changes is None:
        path.write_bytes(path.read_bytes()[:500])
    else:
        arrays = load_file(path) | changes
        save_file({name: each for name, each in arrays.items() if each is not None}, path)

    with pytest.raises(CheckpointError, match=rf"{FILE_NAME}: .*{words}.*Remove the file"):
        TrainingRange.load(tmp_path)


def test_the_warning_has_the_number_of_records_of_each_note_and_the_range() -> None:
    notes = Notes(toy(min_train_bp=2000, max_train_bp=2000).config, fitted())
    records = ["ACGT" * 500, "ACGT" * 400, dna(2000, letters="AACGTT"), dna(2000)]

    found = [notes.of(EncodedRecord("r", "", encode(letters))) for letters in records]
    with pytest.warns(RMTGenomicsWarning) as caught:
        notes.warn()

    assert [len(each) for each in found] == [1, 2, 1, 0]
    assert [str(each.message) for each in caught] == [
        "Notes on 4 sequences: shorter than any training example: 1, lower GC content than any "
        "training example: 1, 4-mer composition unlike the training examples: 2. The training "
        "examples have 2,000 to 2,000 bp and a GC content of 0.392 to 0.612: predictions for "
        "other sequences may mean nothing."
    ]
