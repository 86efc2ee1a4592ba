"""DNA: alphabet, records and intervals, file formats, random access, tokenizers. No torch."""

from rmt_genomics.dna.alphabet import (
    LETTERS,
    Composition,
    composition_of,
    decode,
    encode,
    reverse_complement,
    reverse_complement_codes,
)
from rmt_genomics.dna.random_access import IndexedFasta
from rmt_genomics.dna.record_names import NameOptions
from rmt_genomics.dna.record_types import EncodedRecord, Interval, Record, windows
from rmt_genomics.dna.sequence_files import RecordNames, read_encoded, read_records, sequence_files
from rmt_genomics.dna.tokenizers import Tokenizer

__all__ = [
    "LETTERS",
    "Composition",
    "EncodedRecord",
    "IndexedFasta",
    "Interval",
    "NameOptions",
    "Record",
    "RecordNames",
    "Tokenizer",
    "composition_of",
    "decode",
    "encode",
    "read_encoded",
    "read_records",
    "reverse_complement",
    "reverse_complement_codes",
    "sequence_files",
    "windows",
]
