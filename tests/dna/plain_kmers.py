"""Canonical k-mers the slow way: one k-mer of text after the other."""

from rmt_genomics.dna import reverse_complement


def number_of(kmer: str) -> int:
    return int("".join(str("ACGT".index(letter)) for letter in kmer), base=4)


def canonical_numbers(sequence: str, k: int) -> list[int]:
    """Return the number of each k-mer, or of its reverse complement if that is smaller."""
    kmers = [sequence[start : start + k] for start in range(len(sequence) - k + 1)]
    return [min(number_of(kmer), number_of(reverse_complement(kmer))) for kmer in kmers]
