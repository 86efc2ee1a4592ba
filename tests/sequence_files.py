"""The same two records in every format that is read."""

import io

from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

NAMES = ("chr1", "chr2.3")
SEQUENCES = {"chr1": "ACGTACGTACGTNN", "chr2.3": "GGATTC" * 30}

FASTA = "".join(f">{name} described\n{text}\n" for name, text in SEQUENCES.items()).encode()
FASTQ = "".join(
    f"@{name} described\n{text}\n+\n{'@' * len(text)}\n" for name, text in SEQUENCES.items()
).encode()
CSV = (
    b"label,name,sequence\n"
    + "".join(f"at,{name},{text}\n" for name, text in SEQUENCES.items()).encode()
)
TSV = CSV.replace(b",", b"\t")


def flat_file(format_name: str) -> bytes:
    """Write the records as ``genbank`` or ``embl``, as Biopython does."""
    records = [
        SeqRecord(Seq(text), id=name, description="described", annotations={"molecule_type": "DNA"})
        for name, text in SEQUENCES.items()
    ]
    handle = io.StringIO()
    SeqIO.write(records, handle, format_name)
    return handle.getvalue().encode()


GENBANK = flat_file("genbank")
EMBL = flat_file("embl")
FILES = {
    "FASTA": FASTA,
    "FASTQ": FASTQ,
    "GenBank": GENBANK,
    "EMBL": EMBL,
    "CSV": CSV,
    "TSV": TSV,
}
