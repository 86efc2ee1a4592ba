"""Tokenizers: base codes to the tokens that a model reads, single bases or k-mers.

The reverse strand is tokenised from the reverse-complemented bases, never by rearranging tokens.

No base is dropped: k-mers are read from the left, every ``stride`` bases, as long as a whole one
fits; each base after the last k-mer becomes a single-letter token.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.dna.alphabet import LETTERS, UNKNOWN, Codes, check_codes
from rmt_genomics.dna.kmers import number_kmers
from rmt_genomics.errors import ConfigError

_KINDS = ("base", "kmer")
_LARGEST_K = 12


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Turns base codes into tokens.

    Token ids of kind ``base`` are the base codes. Those of kind ``kmer`` are the ``4**k`` k-mers
    in alphabetical order, then the five letters A, C, G, T, N: letters stand for the bases after
    the last k-mer, and N also for any k-mer that contains one.

    Raises:
        ConfigError: If the settings contradict each other.

    Examples:
        >>> from rmt_genomics.dna.alphabet import encode
        >>> Tokenizer("kmer", k=2, stride=2).encode(encode("AATTANC")).tolist()
        [0, 15, 20, 17]
    """

    kind: str = "base"  # ``base`` or ``kmer``
    k: int = 1  # bases per token
    stride: int = 1  # bases from the start of one k-mer to the start of the next

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ConfigError(
                f"tokenizer.kind is {self.kind!r}, but must be one of {', '.join(_KINDS)}."
            )
        if self.kind == "base" and (self.k, self.stride) != (1, 1):
            raise ConfigError(
                f"tokenizer.k is {self.k} and tokenizer.stride is {self.stride}, but both must be "
                "1 for tokenizer.kind 'base'. Set tokenizer.kind to 'kmer'."
            )
        if not 1 <= self.k <= _LARGEST_K:
            raise ConfigError(
                f"tokenizer.k is {self.k}, but must be 1 to {_LARGEST_K}: "
                "the vocabulary grows as 4**k."
            )
        if not 1 <= self.stride <= self.k:
            raise ConfigError(
                f"tokenizer.stride is {self.stride}, but must be 1 to {self.k} (tokenizer.k): "
                "a longer stride would skip bases."
            )

    @property
    def vocabulary_size(self) -> int:
        """Number of different tokens."""
        return len(LETTERS) if self.kind == "base" else 4**self.k + len(LETTERS)

    def num_tokens(self, length_bp: int) -> int:
        """Return the number of tokens of a sequence of this length."""
        num_kmers, tail_start = self.count_kmers(length_bp)
        return num_kmers + length_bp - tail_start

    def encode(self, codes: Codes) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
        """Turn base codes, 5' to 3' of the strand to be read, into tokens.

        They are uint8 if the vocabulary fits into it (k up to 3), else int32.

        Raises:
            DataError: If one is not a base code, naming the first one and its position.
        """
        if self.kind == "base":
            return check_codes(codes)
        _, tail_start = self.count_kmers(len(codes))
        kmers, has_unknown = number_kmers(codes, self.k, stride=self.stride)
        kmers[has_unknown] = 4**self.k + UNKNOWN
        letters = np.asarray(codes[tail_start:], dtype=np.int32) + 4**self.k
        tokens = np.concatenate([kmers, letters])
        return tokens.astype(np.uint8) if self.vocabulary_size <= 256 else tokens

    def count_kmers(self, length_bp: int) -> tuple[int, int]:
        """Return the number of whole k-mers, and where the bases after them begin."""
        if length_bp < self.k:
            return 0, 0
        num_kmers = (length_bp - self.k) // self.stride + 1
        return num_kmers, (num_kmers - 1) * self.stride + self.k
