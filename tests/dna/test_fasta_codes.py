"""FASTA read directly to base codes gives the codes of its letters, in less memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, fasta, read_encoded, read_records
from rmt_genomics.dna.alphabet import encode_pieces
from rmt_genomics.errors import DataError

lines = st.lists(st.text("ACGTNacgtu R", max_size=12), min_size=1, max_size=6)


@given(records=st.lists(lines, min_size=1, max_size=4), piece=st.integers(1, 30))
def test_codes_are_those_of_the_letters_for_any_size_of_pieces(
    tmp_path_factory: pytest.TempPathFactory, records: list[list[str]], piece: int
) -> None:
    path = tmp_path_factory.mktemp("fasta") / "toy.fa"
    entries = [f">r{n} of {len(one)}\n" + "\n".join(["A", *one]) for n, one in enumerate(records)]
    path.write_text("\n".join(entries))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_PIECE_LETTERS", piece)
        found = list(read_encoded(path))

    expected = list(read_records(path))
    assert [(record.name, record.description) for record in found] == [
        (record.name, record.description) for record in expected
    ]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.codes, encode(other.sequence))


@given(before=st.lists(st.text("ACGT", max_size=9), max_size=5), after=st.text("ACGT", max_size=9))
def test_the_position_of_a_bad_letter_counts_from_the_start_of_the_sequence(
    before: list[str], after: str
) -> None:
    position = sum(map(len, before))

    with pytest.raises(DataError, match=f"position {position} holds '!'"):
        encode_pieces([*before, "!" + after])


def test_a_bad_letter_far_into_a_record_is_named_with_record_and_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fasta, "_PIECE_LETTERS", 10)
    path = tmp_path / "toy.fa"
    path.write_text(">r1\nACGT\n>r2\n" + "ACGTACGT\n" * 10 + "AC>T\n")

    with pytest.raises(DataError, match=r"toy\.fa: record 'r2': position 82 holds '>'"):
        list(read_encoded(path))


@given(lines=lines, piece=st.integers(1, 9), blank=st.integers(0, 3))
def test_line_numbers_are_right_for_any_size_of_pieces(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], piece: int, blank: int
) -> None:
    path = tmp_path_factory.mktemp("fasta") / "toy.fa"
    path.write_text("\n" * blank + ">r1\nA\n" + "\n".join(lines) + "\n>r1\nA\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_PIECE_LETTERS", piece)
        message = (
            f"toy.fa:{blank + 3 + len(lines)}: record 'r1' was already at line {blank + 1}, but"
        )
        with pytest.raises(DataError, match=message):
            list(read_records(path))


@pytest.mark.parametrize("line", ["ACGTTGCATT" * 5 + "\n", "ACGTTGCATT" * 5])
def test_memory_is_one_byte_per_base_of_one_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(fasta, "_PIECE_LETTERS", 1 << 14)
    path, bp = tmp_path / "toy.fa", 4_000_000
    path.write_text("".join(f">r{number}\n" + line * (bp // 50) + "\n" for number in range(3)))

    tracemalloc.start()
    lengths = []
    for record in read_encoded(path):
        lengths.append(len(record.codes))
        del record
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert lengths == [bp] * 3
    assert peak < 1.7 * bp
