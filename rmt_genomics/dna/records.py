"""Read FASTA records one after the other: whole files, in the memory of one record.

CRLF line ends, lower case, blank lines, a missing last newline and very long lines are ordinary.
What breaks a rule is an error that says where: nothing is skipped or repaired in silence.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rmt_genomics.dna.alphabet import Codes, check_letters, encode
from rmt_genomics.dna.files import open_unpacked
from rmt_genomics.errors import DataError

_PIECE_LETTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One FASTA entry."""

    name: str
    """The header up to its first blank."""

    description: str
    """The rest of the header; may be empty."""

    sequence: str
    """Letters as in the file, without white space; all of them DNA, at least one."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRecord:
    """One FASTA entry as base codes (see ``alphabet``)."""

    name: str
    description: str
    codes: Codes


def read_records(path: Path) -> Iterator[Record]:
    """Read the records of a FASTA file: plain, gzip or bgzip, told apart by content.

    Args:
        path: The file. A pipe such as /dev/stdin will do.

    Yields:
        Records in file order. Only names are kept of earlier ones, to notice duplicates.

    Raises:
        DataError: At the first rule broken, naming file, line or record, value, rule and remedy.
    """
    for record in _parse(path, None):
        try:
            check_letters(record.sequence)
        except DataError as error:
            raise _in_record(path, record, error) from error
        yield record


def read_encoded(path: Path, raw: BinaryIO | None = None) -> Iterator[EncodedRecord]:
    """Read records as base codes; letters are checked on the way.

    Args:
        path: As in ``read_records``.
        raw: The open file, if the caller watches how far it has been read.

    Yields:
        Records in file order.

    Raises:
        DataError: As in ``read_records``.
    """
    for record in _parse(path, raw):
        try:
            codes = encode(record.sequence)
        except DataError as error:
            raise _in_record(path, record, error) from error
        yield EncodedRecord(record.name, record.description, codes)


def _in_record(path: Path, record: Record, error: DataError) -> DataError:
    return DataError(f"{path}: record {record.name!r}: {error}")


def _parse(path: Path, raw: BinaryIO | None) -> Iterator[Record]:
    """Read records and check everything but their letters."""
    from Bio.SeqIO.FastaIO import SimpleFastaParser  # here, so that importing dna stays quick

    first_lines: dict[str, int] = {}
    with open_unpacked(path, raw) as unpacked:
        # Bytes that are not UTF-8 become surrogates, so that they can be found with their line.
        text = io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape")
        header_lines: list[int] = []
        lines = _headers_and_pieces(text, path, header_lines)
        entries = SimpleFastaParser(lines)  # type: ignore[no-untyped-call]
        for place, (header, sequence) in enumerate(entries):
            line = header_lines[place]
            name, description = _split_header(header, f"{path}:{line}")
            if name in first_lines:
                raise DataError(
                    f"{path}:{line}: record {name!r} was already at line {first_lines[name]}, "
                    "but every record needs a name of its own. Rename or remove one of them."
                )
            first_lines[name] = line
            if not sequence:
                raise DataError(
                    f"{path}:{line}: record {name!r} has no sequence, but must have at least one "
                    "letter. Remove the record, or check that the file is whole."
                )
            yield Record(name, description, sequence)
    if not first_lines:
        raise DataError(
            f"{path}: the file is empty, but must hold at least one FASTA record. "
            "Check how it was made."
        )


def _headers_and_pieces(
    text: io.TextIOWrapper, path: Path, header_lines: list[int]
) -> Iterator[str]:
    """Yield header lines, and sequence in large pieces without white space.

    Pieces instead of lines, because a chromosome has millions of lines, and a string for each
    costs time and memory. The lines of headers are noted in ``header_lines``.
    """
    line = 1
    while piece := text.read(_PIECE_LETTERS):
        piece += text.readline()  # so that it ends with a line
        joined = "\n" + piece
        before, *entries = joined.split("\n>") if ">" in piece else [joined]
        if not header_lines and not before.isspace() and before:
            raise _no_header(path, before, line)
        yield from _letters(before)
        line += before.count("\n")
        for entry in entries:
            header, _, body = entry.partition("\n")
            header_lines.append(line)
            yield ">" + header
            yield from _letters(body)
            line += entry.count("\n") + 1
        line -= 1  # the one put in front of the piece


def _letters(lines: str) -> Iterator[str]:
    """Yield the letters as one piece, if there are any."""
    letters = lines.replace("\n", "")
    if " " in letters or "\t" in letters:
        letters = "".join(letters.split())
    if letters:
        # A '>' that did not begin a line is a bad letter, and must not be taken for a header.
        yield " " + letters if letters.startswith(">") else letters


def _no_header(path: Path, before: str, line: int) -> DataError:
    numbered = enumerate(before.split("\n"), start=line - 1)  # the first is the one put in front
    number, found = next((number, text) for number, text in numbered if text.strip())
    where = f"{path}:{number}"
    if not found.isprintable():  # surrogates and control characters are not
        return DataError(
            f"{where}: this looks like a binary file, but FASTA text is expected "
            "(plain, gzip or bgzip). Convert it to FASTA first."
        )
    return DataError(
        f"{where}: the first record is preceded by {_short(found)!r}, but a FASTA file "
        "must begin with a '>' line. Remove the text, or convert the file to FASTA."
    )


def _split_header(header: str, where: str) -> tuple[str, str]:
    """Cut a header (without its '>') into name and description."""
    if "\x00" in header:
        raise DataError(f"{where}: the header holds NUL bytes, but FASTA is text. Is it binary?")
    try:
        header.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = header.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise DataError(
            f"{where}: the header '{_short(shown)}' is not UTF-8 text, but must be. "
            "Convert the file, for example: iconv -f latin1 -t utf-8."
        ) from error
    if not header or header[0].isspace():
        raise DataError(
            f"{where}: the '>' line has no name, but every record needs one, right after the '>'."
        )
    name, *rest = header.split(maxsplit=1)
    return name, "".join(rest)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
