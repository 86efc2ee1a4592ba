"""Reading FASTA. Malformed files are tested in tests/fault."""

import gzip
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from Bio import bgzf
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.atomic_io import HashingReader, sha256_of_file
from rmt_genomics.dna import fasta
from rmt_genomics.dna.alphabet import decode
from rmt_genomics.dna.sequence_files import Record, read_encoded, read_records
from rmt_genomics.errors import DataError

TOY = [Record("chr1", "first one", "ACGTAC"), Record("chr2", "", "GGnnRu")]
TOY_TEXT = b">chr1 first one\nACGT\nAC\n>chr2\nGGnn\nRu\n"


def read(folder: Path, content: bytes) -> list[Record]:
    path = folder / "toy.fa"
    path.write_bytes(content)
    return list(read_records(path))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(TOY_TEXT, id="plain"),
        pytest.param(TOY_TEXT.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(TOY_TEXT.replace(b"\n", b"\r"), id="CR"),
        pytest.param(TOY_TEXT.rstrip(), id="no last newline"),
        pytest.param(b"\n\n" + TOY_TEXT.replace(b"\n", b"\n\n"), id="blank lines"),
        pytest.param(TOY_TEXT.replace(b"ACGT\n", b" AC\tGT \n"), id="white space"),
        pytest.param(TOY_TEXT.replace(b"ACGT\nAC", b"A\nC\nGTAC"), id="uneven lines"),
        pytest.param(b"\xef\xbb\xbf" + TOY_TEXT, id="byte order mark"),
        pytest.param(gzip.compress(TOY_TEXT), id="gzip"),
        pytest.param(gzip.compress(TOY_TEXT[:9]) + gzip.compress(TOY_TEXT[9:]), id="two gzips"),
    ],
)
def test_variants_of_fasta_are_accepted(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == TOY


def test_bgzip_is_recognised_by_content(tmp_path: Path) -> None:
    path = tmp_path / "not_named_gz.fa"
    with bgzf.BgzfWriter(path) as writer:
        writer.write(TOY_TEXT)

    assert list(read_records(path)) == TOY


def test_a_header_may_have_letters_of_any_language(tmp_path: Path) -> None:
    (record,) = read(tmp_path, ">ß1 Ångström\nAC\n".encode())
    assert (record.name, record.description) == ("ß1", "Ångström")


def test_a_line_may_be_very_long(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b">long\n" + b"ACGTN" * 2_000_000)
    assert record.sequence == "ACGTN" * 2_000_000


entries = st.lists(
    st.tuples(st.text("ACGTNacgtn", min_size=1, max_size=40), st.integers(1, 9)), min_size=1
)


@given(entries=entries, piece=st.integers(1, 30), gap=st.integers(0, 2))
def test_the_size_of_pieces_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[str, int]],
    piece: int,
    gap: int,
) -> None:
    """Records, and the line numbers in errors, do not depend on where pieces are cut."""
    lines, expected = [""] * gap, []
    for number, (sequence, width) in enumerate(entries):
        lines += [
            f">r{number} x>y",
            *(sequence[start : start + width] for start in range(0, 40, width)),
        ]
        expected.append(Record(f"r{number}", "x>y", sequence))
    first_line = gap + 1
    path = tmp_path_factory.mktemp("pieces") / "toy.fa"
    path.write_text("\n".join([*lines, ">r0 again", "A"]))

    records = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_PIECE_LETTERS", piece)
        with pytest.raises(DataError) as caught:
            records.extend(read_records(path))

    assert records == expected
    assert f":{len(lines) + 1}: record 'r0' was already at line {first_line}," in str(caught.value)


def test_encoded_records_have_the_same_letters(tmp_path: Path) -> None:
    path = tmp_path / "toy.fa"
    path.write_bytes(TOY_TEXT)

    records = [
        (record.name, record.description, decode(record.codes)) for record in read_encoded(path)
    ]

    assert records == [("chr1", "first one", "ACGTAC"), ("chr2", "", "GGNNNT")]


@pytest.mark.parametrize("content", [TOY_TEXT, gzip.compress(TOY_TEXT)], ids=["plain", "gzip"])
def test_a_file_is_hashed_while_its_records_are_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.fa"
    path.write_bytes(content)
    reader = HashingReader(path.open("rb", buffering=0))

    assert [record.name for record in read_encoded(path, reader)] == ["chr1", "chr2"]

    assert reader.hexdigest() == sha256_of_file(path)


def test_agrees_with_biopython(tmp_path: Path) -> None:
    from Bio import SeqIO

    records = read(tmp_path, TOY_TEXT)

    with (tmp_path / "toy.fa").open() as handle:
        theirs = [(record.id, str(record.seq)) for record in SeqIO.parse(handle, "fasta")]
    assert [(record.name, record.sequence) for record in records] == theirs


def test_a_pipe_can_be_read() -> None:
    code = (
        "from pathlib import Path; from rmt_genomics.dna import read_records;"
        "print([record.sequence for record in read_records(Path('/dev/stdin'))])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], input=gzip.compress(TOY_TEXT), capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == "['ACGTAC', 'GGnnRu']"


def test_memory_is_that_of_one_record(tmp_path: Path) -> None:
    path, one = tmp_path / "many.fa", "ACGTACGTAC" * 6 + "\n"
    path.write_text("".join(f">r{number}\n{one * 5000}" for number in range(40)))  # 12 Mb

    tracemalloc.start()
    total = sum(len(record.codes) for record in read_encoded(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total == 40 * 60 * 5000
    assert peak < 12e6 * 0.9  # pieces of 1 Mb and a record of 0.3 Mb, with their copies


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, rmt_genomics.dna;"
        "print([name for name in ('torch', 'Bio', 'pyfaidx', 'rich') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout.strip() == "[]"


def test_the_public_names_exist() -> None:
    from rmt_genomics import dna

    assert set(dna.__all__) >= {"LETTERS", "IndexedFasta", "Interval", "Tokenizer", "read_records"}
    assert all(hasattr(dna, name) for name in dna.__all__)
