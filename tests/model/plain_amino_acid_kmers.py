"""Words of amino acids counted the slow way, on text: the twin of what the package counts."""

from collections import Counter

from Bio.Seq import translate

from rmt_genomics.dna import reverse_complement
from rmt_genomics.dna.genetic_code import AMINO_ACID_CLASSES, STOP


def amino_acid_kmers_of(sequence: str, k: int, orf_codons: int) -> Counter[str]:
    """Count as a biologist would: six frames as text, cut at stops, words of amino acids."""
    found: Counter[str] = Counter()
    for strand in (sequence, reverse_complement(sequence)):
        for frame in range(3):
            codons = strand[frame : frame + (len(strand) - frame) // 3 * 3]
            cut = "".join(
                "*" if "N" in codons[i : i + 3] else translate(codons[i : i + 3])
                for i in range(0, len(codons), 3)
            )
            for protein in cut.split("*"):
                if len(protein) >= orf_codons:
                    found.update(protein[i : i + k] for i in range(len(protein) - k + 1))
    return found


def by_class(words: Counter[str], k: int) -> list[int]:
    """Add up the words of amino acids that are one word of classes."""
    counts = [0] * STOP**k
    for word, count in words.items():
        number = 0
        for letter in word:
            which = next(i for i, members in enumerate(AMINO_ACID_CLASSES) if letter in members)
            number = number * STOP + which
        counts[number] += count
    return counts
