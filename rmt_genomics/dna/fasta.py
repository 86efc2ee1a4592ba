"""FASTA and FASTQ text to entries: name, description and sequence.

CRLF line ends, lower case, blank lines, a missing last newline and very long lines are accepted.
"""

import os
import re
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from string import whitespace

from rmt_genomics.dna.record_types import Entry
from rmt_genomics.errors import DataError
from rmt_genomics.parsing import shown, unprintable

_PIECE_LETTERS = 1 << 20
_TAR = "ustar"  # within the first 512 bytes
_OTHER_FORMATS = {
    "PK\x03\x04": ("a zip archive", "Unpack it first: unzip."),
    "7z\udcbc\udcaf": ("a 7z archive", "Unpack it first: 7z x."),
    "Rar!\x1a": ("a rar archive", "Unpack it first: unrar x."),
    "\x1f\udc9d": ("a file of compress", "Decompress it first: uncompress."),
    "BAM\x01": ("a BAM file", "Convert it: samtools fasta."),
    "CRAM": ("a CRAM file", "Convert it: samtools fasta."),
    "C'A\x1a": ("a 2bit file", "Convert it: twoBitToFa."),
    "\x1aA'C": ("a 2bit file", "Convert it: twoBitToFa."),
    _TAR: ("a tar archive", "Unpack it first: tar -xf."),
}
"""By their first bytes, read as UTF-8 with surrogates: what they are, and what to do."""

_WHITE_SPACE = re.compile(f"[{whitespace}]+")  # other blanks are letters that are not DNA


def read_fasta(text: TextIOWrapper, path: Path) -> Iterator[Entry]:
    """Yield the entries of FASTA text, numbered by the line of their header.

    Raises:
        DataError: If text comes before the first header, or a header has no usable name.
    """
    for (line, header), pieces in groupby(_pieces(text, path), key=itemgetter(0)):
        name, description = split_header(header, ">", f"{path}:{line}")
        yield Entry(line, name, description, (letters for _, letters in pieces), {})


def _pieces(text: TextIOWrapper, path: Path) -> Iterator[tuple[tuple[int, str], str]]:
    """Yield sequence in large pieces without white space, each with its header and its line.

    Pieces instead of lines, because a chromosome has millions of lines, or one of many Mb, and a
    string for each costs time and memory. Every header has at least one piece, which may be empty.
    """
    header: tuple[int, str] | None = None
    line, is_new_line = 1, True
    while piece := text.read(_PIECE_LETTERS):
        last_line = piece.rfind("\n") + 1
        if piece.startswith(">", last_line) and (last_line > 0 or is_new_line):
            piece += text.readline()  # a header must be complete; a sequence may be cut
        joined = "\n" + piece if is_new_line else piece
        before, *entries = joined.split("\n>") if ">" in piece else [joined]
        number = line - is_new_line  # of the line at which ``joined`` begins
        if header is not None:
            yield header, _without_space(before)
        elif before.strip(whitespace):
            raise _not_fasta(path, before, number)
        number += before.count("\n")
        for entry in entries:
            number += 1  # the line end at which the text was split
            title, _, body = entry.partition("\n")
            header = (number, title.rstrip(whitespace))
            yield header, _without_space(body)
            number += entry.count("\n")
        line, is_new_line = number, piece.endswith("\n")


def _without_space(lines: str) -> str:
    for space in filter(lines.__contains__, whitespace):
        lines = lines.replace(space, "")
    return lines


def _not_fasta(path: Path, before: str, line: int) -> DataError:
    """Return the error for text before the first header, which begins at this line."""
    numbered = enumerate(before.split("\n"), start=line)
    number, first_text = next((number, text) for number, text in numbered if text.strip(whitespace))
    where = f"{path}:{number}"
    for start, (what, remedy) in _OTHER_FORMATS.items():
        if before.lstrip(whitespace).startswith(start) or (start == _TAR and start in before):
            return DataError(
                f"{path}: this is {what}, but a sequence file is expected (FASTA, FASTQ, GenBank, "
                f"EMBL, CSV or TSV, plain or compressed). {remedy}"
            )
    if not first_text.replace("\t", " ").isprintable():  # surrogates and control characters
        return DataError(
            f"{where}: this looks like a binary file, but FASTA text is expected "
            "(plain or compressed). Convert it to FASTA first."
        )
    return DataError(
        f"{where}: the first record is preceded by {_shortened(first_text)!r}, but a FASTA file "
        "must begin with a '>' line. Remove the text, or convert the file to FASTA."
    )


def split_header(header: str, mark: str, where: str) -> tuple[str, str]:
    """Split a header (without its mark, ``>`` or ``@``) into name and description.

    Raises:
        DataError: If it has no name, or one with control characters, or is not UTF-8 text.
    """
    check_utf8(header, where, "header")
    name, *description = _WHITE_SPACE.split(header, maxsplit=1)
    if not name:
        raise DataError(
            f"{where}: the '{mark}' line has no name, but every record needs one, "
            f"right after the '{mark}'."
        )
    check_name(name, where)
    return name, "".join(description).replace("\t", " ")


def check_utf8(text: str, where: str, what: str) -> None:
    """Raise DataError if a text was not UTF-8, and was read with surrogates for its bytes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        escaped = os.fsencode(text).decode(errors="backslashreplace")
        raise DataError(
            f"{where}: the {what} '{escaped[:40]}' is not UTF-8 text, but must be. "
            "Convert the file, for example: iconv -f latin1 -t utf-8."
        ) from error


def check_name(name: str, where: str) -> None:
    """Raise DataError unless the name of a record can be written in a line of a table."""
    if character := unprintable(name):
        raise DataError(
            f"{where}: the name of the record is {shown(name)}, but must not have control "
            f"characters such as {character}. Rename the record, or check the format of the file."
        )


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def read_fastq(text: TextIOWrapper, path: Path) -> Iterator[Entry]:
    """Yield the entries of FASTQ text, without their quality.

    Raises:
        DataError: If a record is truncated, has a quality of another length, or no usable name.
    """
    from Bio.SeqIO.QualityIO import FastqGeneralIterator  # here, so that importing dna stays quick

    number = 0
    try:
        for number, (title, sequence, _) in enumerate(FastqGeneralIterator(text), start=1):
            name, description = split_header(title, "@", f"{path}: record {number}")
            yield Entry(number, name, description, [sequence], {})
    except DataError:  # a ValueError, too
        raise
    except ValueError as error:
        raise DataError(
            f"{path}: record {number + 1} breaks the FASTQ format ({str(error).rstrip('.')}), but "
            "must have an '@' line, its sequence, a '+' line and one quality value per base. "
            "Check that the file is complete."
        ) from error
