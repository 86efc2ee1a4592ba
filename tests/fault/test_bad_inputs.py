"""The table of bad input for every command: files, command, and what the user is told."""

from pathlib import Path

import pytest

from tests.cli.toys import run
from tests.inference.toys import saved_model
from tests.sequence_files import CSV, FASTA, FASTQ, GENBANK

FILES = {  # all of them are written; a case names those it uses
    "good.fa": FASTA,
    "good.csv": CSV.replace(b"at,chr1", b"gc,chr1"),
    "cut.gb": GENBANK[:-20],
    "quality.fq": FASTQ[:-3],
    "no_sequence.csv": b"seq,label\nACGT,1\n",
    "empty.fastq": b"",
    "mixed/a.fa": FASTA,
    "mixed/b.fq": FASTQ,
    "nothing/README.md": b"# About\n",
    "same/at.fa": FASTA,
    "same/gc.fa": FASTA,
    "wrong_genome.bed": b"1\t0\t4\tat\nMT\t0\t4\tgc\n",
    "past_end.bed": b"chr1\t0\t4\tat\nchr1\t8\t15\tgc\n",
    "no_label.bed": b"chr1\t0\t4\nchr1\t8\t12\n",
    "one_based.bed": b"chr1\t1\t14\tat\nchr2.3\t1\t180\tgc\n",
    "mixed_kinds.tsv": b"record\tlabel\nchr1\t1\nchr2.3\tNA\n",
    "empty.tsv": b"",
    "one_class.csv": CSV,
}
SEQUENCES = [  # given to inspect, predict, evaluate and train alike
    ("cut.gb", "record 2 breaks the GenBank format (Premature end of file in sequence data)"),
    ("quality.fq", "record 2 breaks the FASTQ format (Lengths of sequence and quality values"),
    (
        "no_sequence.csv",
        "no_sequence.csv:1: the columns are seq, label, but one must be 'sequence'",
    ),
    ("empty.fastq", "the file is empty, but must hold at least one FASTQ record."),
    ("mixed", "a.fa is FASTA and b.fq is FASTQ, but a folder must hold one kind."),
    ("nothing", "1 files are in this folder, but none is a sequence file"),
]
LABELS = [  # sequences, labels, message; given to inspect, evaluate and train alike
    ("good.fa", "wrong_genome.bed", "2 of 2 records named here ('1' (line 1), 'MT' (line 2)) are"),
    ("good.fa", "wrong_genome.bed", "1 would match but for the prefix chr: '1' here, 'chr1' in"),
    ("good.fa", "past_end.bed", "past_end.bed:2: chr1:8-15 must satisfy start < end <= 14, the le"),
    ("good.fa", "no_label.bed", "In a BED file, the label is the fourth column."),
    ("good.fa", "empty.tsv", "empty.tsv: the file is empty, but must have a header line"),
    ("good.fa", "column", "--labels column: 2 of 2 records have no label ('chr1', 'chr2.3')"),
    ("good.fa", "header", "--labels header: 2 of 2 records have no label"),
    ("same", "file", "record 'chr1' is in"),
]
WARNED = [  # sequences, labels, message
    ("good.fa", "one_based.bed", "all coordinates look as if counting began at 1"),
    ("good.fa", "mixed_kinds.tsv", "1 of 2 examples have a name as label (such as 'NA')"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    saved_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_refused(message: str, *arguments: object) -> None:
    """Run a command that must fail, with one line of error and nothing made."""
    before = sorted(Path().rglob("*"))

    result = run(*arguments)

    *_, line = result.stderr.splitlines()
    assert result.exit_code == 1, result.output
    assert line.startswith("Error: "), line
    assert message in line
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("fasta", "message"), SEQUENCES)
@pytest.mark.parametrize(
    "command",
    [
        "inspect FASTA",
        "predict model FASTA",
        "evaluate model FASTA --labels column --out out",
        "train FASTA --labels column --out out",
    ],
)
def test_bad_sequences_are_refused(command: str, fasta: str, message: str) -> None:
    check_refused(message, *command.replace("FASTA", fasta).split())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("fasta", "labels", "message"), LABELS)
@pytest.mark.parametrize(
    "command",
    [
        "inspect FASTA --labels LABELS",
        "evaluate model FASTA --labels LABELS --out out",
        "train FASTA --labels LABELS --out out",
    ],
)
def test_bad_labels_are_refused(command: str, fasta: str, labels: str, message: str) -> None:
    check_refused(message, *command.replace("FASTA", fasta).replace("LABELS", labels).split())


@pytest.mark.usefixtures("folder")
def test_one_class_only_is_refused_by_training() -> None:
    check_refused(
        "'at', but there must be two classes",
        *["train", "one_class.csv", "--labels", "column", "--out", "out"],
    )


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("fasta", "labels", "message"), WARNED)
def test_what_looks_wrong_is_warned_of_once(fasta: str, labels: str, message: str) -> None:
    result = run("inspect", fasta, "--labels", labels)

    assert result.exit_code == 0, result.output
    assert result.stderr.count(message) == 1


@pytest.mark.usefixtures("folder")
def test_what_the_tables_break_was_whole() -> None:
    """Guard the guard."""
    for fasta in ("good.fa", "good.csv"):
        assert run("inspect", fasta).exit_code == 0
    assert run("inspect", "good.csv", "--labels", "column").exit_code == 0
