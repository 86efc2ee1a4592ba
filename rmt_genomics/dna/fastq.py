"""FASTQ text to records (Biopython). The qualities are checked for their number and let go."""

from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from rmt_genomics.dna.fasta import split_header
from rmt_genomics.dna.record import Record
from rmt_genomics.errors import DataError


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
