"""Files, folders and standard input give one list of files."""

from pathlib import Path

import pytest

from rmt_genomics.dna.sequence_files import STDIN, sequence_files
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


def test_a_folder_gives_the_files_in_it_and_below_by_name(tmp_path: Path) -> None:
    files = [write(tmp_path / name) for name in ("a/2.fa", "a/10", "b.fna")]
    write(tmp_path / ".hidden" / "c.fa")

    assert sequence_files([tmp_path]) == sorted(files)


def test_other_files_in_a_folder_are_ignored_with_a_warning(tmp_path: Path) -> None:
    fasta = write(tmp_path / "a.fa")
    write(tmp_path / "README.md", b"# About\n")
    write(tmp_path / "labels.tsv", b"record\tlabel\nchr1\tat\n")

    with pytest.warns(RMTGenomicsWarning) as warned:
        assert sequence_files([tmp_path]) == [fasta]

    assert [str(warning.message) for warning in warned] == [
        f"{tmp_path}: ignoring README.md, labels.tsv (not sequence files: 2)."
    ]


def test_a_folder_of_several_formats_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.fa")
    write(tmp_path / "b.gb", GENBANK)

    with pytest.raises(DataError) as caught:
        sequence_files([tmp_path])

    assert str(caught.value) == (
        f"{tmp_path}: a.fa is FASTA and b.gb is GenBank, but a folder must have one format. "
        "Put each format into its own folder."
    )


def test_files_of_several_formats_may_be_given_one_by_one(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.fa"), write(tmp_path / "b.gb", GENBANK)]
    assert sequence_files(files) == files


def test_a_folder_without_sequences_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "README.md", b"# About\n")

    with pytest.raises(DataError, match=r"the folder has no sequence file .* Other files: 1\."):
        sequence_files([tmp_path])


def test_an_empty_sequence_file_in_a_folder_is_not_ignored(tmp_path: Path) -> None:
    """Reading it then raises the error that it is empty."""
    assert sequence_files([write(tmp_path / "a.fa", b"").parent]) == [tmp_path / "a.fa"]
