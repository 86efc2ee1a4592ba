"""Bad input, as a user meets it: one line that says where, what, which rule and what to do.

Each file is given to each command that reads it. Nothing is written, nothing overwritten.
"""

import gzip
from pathlib import Path

import pytest

from tests.cli.toys import fail, run
from tests.prediction.toys import saved_model, write_fasta, write_table

GOOD = b">r1\nACGT\n>r2\nGGCC\n"
BGZIP_START = bytes.fromhex("1f8b08040000000000ff0600424302001b00")

BAD_FASTA = [  # name of the case, content (None = no file), words: place, found, rule, remedy
    ("missing", None, ["there is no such file", "Check the spelling"]),
    ("empty", b"", ["the file is empty", "at least one FASTA record"]),
    ("blank", b"\n \n", ["the file is empty", "at least one FASTA record"]),
    ("no sequence", b">r1\n>r2\nAC\n", [":1:", "'r1' has no sequence", "must", "Remove"]),
    ("no sequence at the end", b">r1\nAC\n>r2\n", [":3:", "'r2' has no sequence"]),
    ("text first", b"ACGT\n>r1\nACGT\n", [":1:", "'ACGT'", "must begin with a '>' line", "Remove"]),
    ("no name", b">\nACGT\n", [":1:", "no name", "every record needs one"]),
    ("twice", b">r1\nAC\n>r2\nAC\n>r1\nAC\n", [":5:", "'r1'", "line 1", "--duplicate-names"]),
    (
        "protein",
        b">p53\nMEEPQSDPSV\n",
        ["'p53'", "position 1 holds 'E'", "protein: DNA is expected"],
    ),
    ("alignment", b">r1\nAC--GT\n", ["'r1'", "position 2 holds '-'", "remove the gaps"]),
    ("binary", bytes(range(256)) * 9, [":1:", "binary", "FASTA text is expected"]),
    ("picture", b"\x89PNG\r\n\x1a\n\x00\x00", [":1:", "binary", "Convert it to FASTA"]),
    (
        "cut gzip",
        gzip.compress(GOOD, mtime=0)[:-9],
        ["compressed file is truncated or damaged", "Download it again"],
    ),
    ("cut bgzip", BGZIP_START, ["compressed file is truncated or damaged", "must be complete"]),
    ("Latin-1", b">r1 caf\xe9\nACGT\n", [":1:", "not UTF-8", "iconv"]),
]

HEADER = "record label split"
BAD_LABELS = [  # name of the case, rows after the header, words
    ("labels without record", ["r1 at x", "r2 gc x", "r3 gc x"], ["1 of 3", "'r3' (line 4)"]),
    ("record without labels", ["r1 at test"], ["1 of 2 records", "('r2')", "Add their lines"]),
    ("unknown split", ["r1 at test", "r2 gc tset"], [":3:", "'tset'", "Did you mean 'test'?"]),
    ("twice", ["r1 at test", "r2 gc test", "r1 at test"], [":4:", "line 2", "Remove one"]),
    ("a cell too few", ["r1 at"], [":2:", "2 tab-separated cells", "must have 3"]),
    ("nothing below the header", [], ["there is no line below the header"]),
]


def write_bad(folder: Path, content: bytes | None) -> Path:
    path = folder / "bad.fa"
    if content is not None:
        path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check(message: str, path: Path, words: list[str]) -> None:
    assert message.startswith(str(path)), message
    for word in words:
        assert word in message, message


bad_fasta = pytest.mark.parametrize(
    ("content", "words"), [case[1:] for case in BAD_FASTA], ids=[case[0] for case in BAD_FASTA]
)
bad_labels = pytest.mark.parametrize(
    ("rows", "words"), [case[1:] for case in BAD_LABELS], ids=[case[0] for case in BAD_LABELS]
)


@pytest.mark.parametrize(
    ("content", "words"),
    [case[1:] for case in BAD_FASTA if not case[0].startswith("no sequence")],  # it has a row of NA
)
def test_predict_refuses_bad_fasta(tmp_path: Path, content: bytes | None, words: list[str]) -> None:
    model, path = saved_model(tmp_path / "model"), write_bad(tmp_path, content)
    before = names(tmp_path)

    check(fail("predict", model, path, "--out", tmp_path / "out.tsv"), path, words)
    assert names(tmp_path) == before


@bad_fasta
def test_evaluate_refuses_bad_fasta(
    tmp_path: Path, content: bytes | None, words: list[str]
) -> None:
    model, path = saved_model(tmp_path / "model"), write_bad(tmp_path, content)
    labels = write_table(tmp_path / "labels.tsv", HEADER, "r1 at test", "r2 gc test")
    before = names(tmp_path)

    message = fail("evaluate", model, path, "--labels", labels, "--out", tmp_path / "out")

    check(message, path, words)
    assert names(tmp_path) == before


@bad_fasta
def test_inspect_refuses_bad_fasta(tmp_path: Path, content: bytes | None, words: list[str]) -> None:
    path = write_bad(tmp_path, content)

    result = run("inspect", path)

    (line,) = result.stderr.splitlines()
    assert result.exit_code == 1
    check(line.removeprefix("Error: "), path, words)


@bad_labels
def test_evaluate_refuses_bad_labels(tmp_path: Path, rows: list[str], words: list[str]) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "GGCC"})
    labels = write_table(tmp_path / "labels.tsv", HEADER, *rows)
    before = names(tmp_path)

    message = fail("evaluate", model, fasta, "--labels", labels, "--out", tmp_path / "out")

    check(message, labels, words)
    assert names(tmp_path) == before


def test_evaluate_refuses_an_interval_past_the_end(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "GGCC"})
    labels = write_table(tmp_path / "l.tsv", "record start end label", "r1 0 4 at", "r2 2 5 gc")

    message = fail("evaluate", model, fasta, "--labels", labels, "--out", tmp_path / "out")

    check(message, labels, [":3: r2:2-5 must satisfy start < end <= 4", "0-based and half-open"])


def test_many_records_without_label_are_counted_and_five_shown(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{number}": "ACGT" for number in range(9)})
    labels = write_table(tmp_path / "l.tsv", "record label", "r0 at")

    message = fail("evaluate", model, fasta, "--labels", labels, "--out", tmp_path / "out")

    check(message, labels, ["8 of 9 records", "'r1', 'r2', 'r3', 'r4', 'r5', ..."])


def test_a_cut_model_is_named(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])

    message = fail("predict", model, write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}))

    check(message, weights, ["is not a complete safetensors file", "interrupted"])
