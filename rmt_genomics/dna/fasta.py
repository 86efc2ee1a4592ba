"""FASTA text to records (Biopython), or to base codes, in the memory of one record.

CRLF line ends, lower case, blank lines, a missing last newline and very long lines are ordinary.
"""

from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from rmt_genomics.dna.alphabet import encode_pieces
from rmt_genomics.dna.record_types import EncodedRecord, Record
from rmt_genomics.errors import DataError

_PIECE_LETTERS = 1 << 20


def read_fasta(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the line of each header with its record; the letters are not checked.

    Raises:
        DataError: If text comes before the first header, or a header has no usable name.
    """
    from Bio.SeqIO.FastaIO import SimpleFastaParser  # here, so that importing dna stays quick

    header_lines: list[int] = []
    lines = _headers_and_pieces(text, path, header_lines)
    entries = SimpleFastaParser(lines)  # type: ignore[no-untyped-call]
    for place, (header, sequence) in enumerate(entries):
        line = header_lines[place]
        name, description = split_header(header, ">", f"{path}:{line}")
        yield line, Record(name, description, sequence)


def read_fasta_codes(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, EncodedRecord]]:
    """Yield the same with base codes, one byte a base: the letters of a record are never held.

    Raises:
        DataError: As ``read_fasta``, or at a letter that is not DNA.
    """
    header_lines: list[int] = []
    lines = _headers_and_pieces(text, path, header_lines)
    header = next(lines, None)
    while header is not None:
        line = header_lines[-1]
        name, description = split_header(header[1:].rstrip(), ">", f"{path}:{line}")
        entry = _Entry(lines)
        try:
            yield line, EncodedRecord(name, description, encode_pieces(entry))
        except DataError as error:
            raise DataError(f"{path}: record {name!r}: {error}") from error
        header = entry.next_header


class _Entry:
    """The pieces of one sequence, up to the header of the next."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
        self.next_header: str | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            if line.startswith(">"):
                self.next_header = line
                return
            yield line.lstrip(" ")  # put there by _letters


def split_header(header: str, mark: str, where: str) -> tuple[str, str]:
    """Cut a header (without its mark, ``>`` or ``@``) into name and description."""
    if "\x00" in header:
        raise DataError(f"{where}: the header holds NUL bytes, but must be text. Is it binary?")
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
            f"{where}: the '{mark}' line has no name, but every record needs one, "
            f"right after the '{mark}'."
        )
    name, *rest = header.split(maxsplit=1)
    return name, "".join(rest)


def _headers_and_pieces(text: TextIOWrapper, path: Path, header_lines: list[int]) -> Iterator[str]:
    """Yield header lines, and sequence in large pieces without white space.

    Pieces instead of lines, because a chromosome has millions of lines, or one of many Mb, and a
    string for each costs time and memory. The lines of headers are noted in ``header_lines``.
    """
    line, is_new_line = 1, True
    while piece := text.read(_PIECE_LETTERS):
        if _ends_in_header(piece, is_new_line=is_new_line):
            piece += text.readline()
        joined = "\n" + piece if is_new_line else piece
        before, *entries = joined.split("\n>") if ">" in piece else [joined]
        number = line - is_new_line  # the line at which what was joined begins
        if not header_lines and not before.isspace() and before:
            raise _no_header(path, before, number)
        yield from _letters(before)
        number += before.count("\n")
        for entry in entries:
            number += 1  # the line end at which it was split
            header, _, body = entry.partition("\n")
            header_lines.append(number)
            yield ">" + header
            yield from _letters(body)
            number += entry.count("\n")
        line, is_new_line = number, piece.endswith("\n")


def _ends_in_header(piece: str, *, is_new_line: bool) -> bool:
    """Tell whether a piece ends within a header, which must be whole. A sequence may be cut."""
    last_line = piece.rfind("\n") + 1
    return piece.startswith(">", last_line) and (last_line > 0 or is_new_line)


def _letters(lines: str) -> Iterator[str]:
    """Yield the letters as one piece, if there are any."""
    letters = lines.replace("\n", "")
    if " " in letters or "\t" in letters:
        letters = "".join(letters.split())
    if letters:
        # A '>' that did not begin a line is a bad letter, and must not be taken for a header.
        yield " " + letters if letters.startswith(">") else letters


def _no_header(path: Path, before: str, line: int) -> DataError:
    numbered = enumerate(before.split("\n"), start=line)
    number, found = next((number, text) for number, text in numbered if text.strip())
    where = f"{path}:{number}"
    if not found.replace("\t", " ").isprintable():  # surrogates and control characters are not
        return DataError(
            f"{where}: this looks like a binary file, but FASTA text is expected "
            "(plain, gzip or bgzip). Convert it to FASTA first."
        )
    return DataError(
        f"{where}: the first record is preceded by {_short(found)!r}, but a FASTA file "
        "must begin with a '>' line. Remove the text, or convert the file to FASTA."
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def read_fastq(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the number of each record, counted from 1, with the record.

    Raises:
        DataError: If a record is cut, has a quality of another length, or no usable name.
    """
    from Bio.SeqIO.QualityIO import FastqGeneralIterator  # here, so that importing dna stays quick

    entries = FastqGeneralIterator(text)
    number = 0
    try:
        for number, (title, sequence, _) in enumerate(entries, start=1):
            name, description = split_header(title, "@", f"{path}: record {number}")
            yield number, Record(name, description, sequence)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"{path}: record {number + 1} breaks the FASTQ format ({str(error).rstrip('.')}), but "
            "must have an '@' line, its letters, a '+' line and one quality a letter. "
            "Check that the file is whole."
        ) from error
