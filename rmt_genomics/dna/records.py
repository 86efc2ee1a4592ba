"""Read sequence records one after the other: whole files, in the memory of one record.

What breaks a rule is an error that says where: nothing is skipped or repaired in silence. The
kinds of files are in ``formats``; here is what holds for all of them.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from rmt_genomics.dna.alphabet import check_letters, encode
from rmt_genomics.dna.files import open_unpacked
from rmt_genomics.dna.formats import PEEK_BYTES, Format, format_of
from rmt_genomics.dna.record import EncodedRecord, Record
from rmt_genomics.errors import DataError

_Any = TypeVar("_Any", Record, EncodedRecord)
_Read = Callable[[io.TextIOWrapper, Path], Iterator[tuple[int, _Any]]]

__all__ = ["EncodedRecord", "Record", "read_encoded", "read_records"]


def read_records(path: Path) -> Iterator[Record]:
    """Read the records of a file: FASTA, FASTQ, GenBank, EMBL, or a table of sequences.

    Kind and packing (plain, gzip or bgzip) are told by content, then by name.

    Args:
        path: The file. A pipe such as /dev/stdin will do.

    Yields:
        Records in file order. Only names are kept of earlier ones, to notice duplicates.

    Raises:
        DataError: At the first rule broken, naming file, line or record, value, rule and remedy.
    """
    for record in _parse(path, None, lambda kind: kind.read):
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
    return _parse(path, raw, _encoding)


def _encoding(kind: Format) -> _Read[EncodedRecord]:
    """Return the reader of base codes of a kind of file."""

    def read(text: io.TextIOWrapper, path: Path) -> Iterator[tuple[int, EncodedRecord]]:
        for place, record in kind.read(text, path):
            try:
                codes = encode(record.sequence)
            except DataError as error:
                raise _in_record(path, record, error) from error
            yield place, EncodedRecord(record.name, record.description, codes, record.columns)

    return kind.read_codes or read


def _in_record(path: Path, record: Record, error: DataError) -> DataError:
    return DataError(f"{path}: record {record.name!r}: {error}")


def _parse(
    path: Path, raw: BinaryIO | None, reader: Callable[[Format], _Read[_Any]]
) -> Iterator[_Any]:
    """Read records and check everything but their letters; none is held when the next is read."""
    first_places: dict[str, int] = {}
    with open_unpacked(path, raw) as unpacked:
        kind = format_of(unpacked.peek(PEEK_BYTES), path)
        # Bytes that are not UTF-8 become surrogates, so that they can be found with their line.
        text = io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape")
        for place, record in reader(kind)(text, path):
            name = record.name
            if (first := first_places.setdefault(name, place)) != place:
                raise DataError(
                    f"{kind.where(path, place)}: record {name!r} was already at {kind.place} "
                    f"{first}, but every record needs a name of its own. "
                    "Rename or remove one of them."
                )
            if not record.length:
                raise DataError(
                    f"{kind.where(path, place)}: record {name!r} has no sequence, but must have at "
                    "least one letter. Remove the record, or check that the file is whole."
                )
            yield record
            del record
    if not first_places:
        raise DataError(
            f"{path}: the file is empty, but must hold at least one {_holds(kind.name)}. "
            "Check how it was made."
        )


def _holds(kind: str) -> str:
    return "row below its header" if kind == "table" else f"{kind} record"
