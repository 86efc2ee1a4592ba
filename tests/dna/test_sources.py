"""Files, folders and standard input as one list of files."""

from pathlib import Path

import pytest

from rmt_genomics.dna.sequence_files import STDIN, NamesOfFiles, sequence_files
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.sequence_files import FASTA, GENBANK


def write(path: Path, content: bytes = FASTA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_files_stay_in_the_order_they_were_given(tmp_path: Path) -> None:
    files = [write(tmp_path / "b.fa"), write(tmp_path / "a.fa")]
    assert sequence_files(files) == files


def test_a_dash_is_standard_input() -> None:
    assert sequence_files([Path("-")]) == [STDIN]


def test_a_folder_is_its_files_and_those_of_folders_in_it_by_name(tmp_path: Path) -> None:
    files = [write(tmp_path / name) for name in ("a/2.fa", "a/10", "b.fna")]
    write(tmp_path / ".hidden" / "c.fa")

    assert sequence_files([tmp_path]) == sorted(files)


def test_what_is_no_sequence_file_is_left_out_with_a_count(tmp_path: Path) -> None:
    fasta = write(tmp_path / "a.fa")
    write(tmp_path / "README.md", b"# About\n")
    write(tmp_path / "labels.tsv", b"record\tlabel\nchr1\tat\n")

    with pytest.warns(RMTGenomicsWarning) as told:
        assert sequence_files([tmp_path]) == [fasta]

    assert [str(each.message) for each in told] == [
        f"{tmp_path}: 2 files are no sequence files and are left out (README.md, labels.tsv)."
    ]


def test_a_folder_of_several_kinds_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.fa")
    write(tmp_path / "b.gb", GENBANK)

    with pytest.raises(DataError) as caught:
        sequence_files([tmp_path])

    assert str(caught.value) == (
        f"{tmp_path}: a.fa is FASTA and b.gb is GenBank, but a folder must hold one kind. "
        "Put each kind into a folder of its own."
    )


def test_several_kinds_may_be_named_one_by_one(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.fa"), write(tmp_path / "b.gb", GENBANK)]
    assert sequence_files(files) == files


def test_a_folder_without_sequences_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "README.md", b"# About\n")

    with pytest.raises(DataError, match="1 files are in this folder, but none is a sequence file"):
        sequence_files([tmp_path])


def test_an_empty_sequence_file_in_a_folder_is_not_left_out(tmp_path: Path) -> None:
    """Whoever reads it then says that it is empty."""
    assert sequence_files([write(tmp_path / "a.fa", b"").parent]) == [tmp_path / "a.fa"]


def test_a_name_in_two_files_is_refused_naming_both() -> None:
    names, one, other = NamesOfFiles(), Path("a.fa"), Path("b.fa")
    names.add("chr1", one)
    names.add("chr1", one)  # within a file the reader takes care

    with pytest.raises(DataError, match=r"b\.fa: record 'chr1' is in a\.fa too, but every record"):
        names.add("chr1", other)
