"""The input is read once, with its checksums; a changed input is noticed."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest
from Bio import bgzf

from rmt_genomics.atomic_io import sha256_of_file
from rmt_genomics.errors import ConfigError
from rmt_genomics.prediction.inputs import InputReader, PredictionInput
from tests.prediction.toys import dna, write_fasta, write_table

GENBANK = (
    "LOCUS       r1                         4 bp    DNA     linear   UNK 01-JAN-1980\n"
    "ACCESSION   r1\nORIGIN\n        1 acgt\n//\n"
)
CONTENTS = {
    "a.fa": b">r1\nACGT\n\n",
    "a.fa.gz": gzip.compress(b">r1\nACGT\n") + bytes(9),  # padded with zeros, as tapes do
    "a.fq": b"@r1\nACGT\n+\nIIII\n",
    "a.gb": GENBANK.encode(),
    "a.tsv": b"record\tsequence\nr1\tACGT\n",
}


def reader_of(*paths: Path) -> InputReader:
    return InputReader(PredictionInput(fasta=paths))


@pytest.mark.parametrize("name", [*CONTENTS, "a.fa.bgz"])
def test_the_checksum_is_that_of_all_bytes_whatever_the_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.fa.bgz":
        with bgzf.BgzfWriter(path) as writer:
            writer.write(b">r1\nACGT\n")
    else:
        path.write_bytes(CONTENTS[name])
    reader = reader_of(path)

    assert [record.length for record in reader] == [4]

    state = reader.state()
    assert state["sha256"] == sha256_of_file(path)
    assert state["bytes_read"] == state["size"] == path.stat().st_size
    assert reader.checksum() == hashlib.sha256(state["sha256"].encode()).hexdigest()


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = write_fasta(tmp_path / "a.fa", {"r": "ACGT"}), []
    real_open = Path.open

    def counting(self: Path, *args: object, **kwargs: object) -> object:
        opened.append(self)
        return real_open(self, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", counting)

    list(reader_of(path))

    assert opened == [path]


def test_the_input_of_an_interrupted_run_must_not_have_changed(tmp_path: Path) -> None:
    paths = [write_fasta(tmp_path / f"{n}.fa", {f"r{n}": dna(50, seed=n)}) for n in range(3)]
    reader, output = reader_of(*paths), tmp_path / "out.tsv.part"
    iterator = iter(reader)
    for _ in range(2):
        next(iterator)
    state = reader.state()
    assert (state["num_earlier_files"], state["file"]) == (1, str(paths[1]))

    os.utime(paths[1], (1, 1))  # only touched
    write_fasta(paths[2], {"later": "ACGT"})  # not read yet
    reader_of(*paths).check_unchanged(output, state)
    write_fasta(paths[1], {"r1": dna(50, seed=7)})
    with pytest.raises(ConfigError, match=r"1\.fa: the file \(then of 20.*\) has changed since"):
        reader_of(*paths).check_unchanged(output, state)
    write_fasta(paths[1], {"r1": dna(51, seed=1)})
    with pytest.raises(ConfigError, match=r"1\.fa: the file \(55 bytes then, 56 bytes now\) has"):
        reader_of(*paths).check_unchanged(output, state)
    write_fasta(paths[1], {"r1": dna(50, seed=1)})
    write_fasta(paths[0], {"r0": dna(50, seed=7)})
    with pytest.raises(ConfigError, match=r"one of these files has changed since .*out\.tsv\.part"):
        reader_of(*paths).check_unchanged(output, state)


def test_intervals_have_the_checksum_of_all_sequences(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "a.fa", {"chr1": dna(20)})
    bed = write_table(tmp_path / "a.bed", "chr1 3 9", "chr1 0 6")
    reader = InputReader(PredictionInput(fasta=(fasta,), intervals=bed))

    assert [record.length for record in reader] == [6, 6]

    assert reader.store_sha256 == reader.checksum() == sha256_of_file(fasta)
    assert reader.state() == {}
    reader.check_unchanged(tmp_path / "out.tsv.part", {})
