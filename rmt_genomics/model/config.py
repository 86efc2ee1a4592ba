"""Everything a saved classifier needs to be rebuilt: this is what ``config.json`` holds."""

import math
from dataclasses import dataclass
from itertools import pairwise

from rmt_genomics.dna import Tokenizer
from rmt_genomics.errors import ConfigError
from rmt_genomics.rmt import RMTConfig

CHOICES = {
    "task": ("binary", "multiclass", "multilabel", "regression"),
    "strand_head": ("concat", "symmetric"),
    "pooling": ("last", "mean", "max", "attention"),
}
"""What may stand where only a few words may."""

LONGEST_KMER = 8  # in the composition: 65,536 k-mers
LONGEST_WORD = 5  # of amino acids: 100,000 words
LONGEST_WIDE = 16
ORF_CODONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """Labels, tokens, sizes and switches of one classifier; checks itself.

    Raises:
        ConfigError: If a setting is out of range or two settings contradict each other.
    """

    classes: tuple[str, ...]
    """Label names, in the order of the logits; for a regression the name of its number."""

    task: str
    """``binary`` and ``multiclass``: one label a sequence; ``multilabel``: any number of them;
    ``regression``: a number."""

    target_mean: float = 0.0
    """For a regression: the mean of the training labels, in their unit."""

    target_std: float = 1.0
    """For a regression: their standard deviation. The model's output is in multiples of it."""

    tokenizer_kind: str = "base"
    """One token a base, or one a k-mer."""

    k: int = 1
    """Bases in a k-mer."""

    stride: int = 1
    """Bases from one k-mer to the next."""

    dim: int = 64
    """Model width: features a token."""

    depth: int = 3
    """Transformer layers."""

    heads: int = 4
    """Attention heads; must divide ``dim``."""

    segment_length: int = 512
    """Tokens in a segment, memory not counted."""

    num_memory_tokens: int = 8
    """Memory tokens carried from one segment to the next."""

    stem_width: int = 11
    """Tokens seen by the convolution stem; odd, 0 = no stem."""

    stem_pool: int = 1
    """Neighbouring tokens that the stem merges into one row of a segment."""

    dropout: float = 0.0
    """Share of features dropped in training: of feed-forward layers, of the stem and of the
    encoding that the head reads. (Attention weights are left alone: to drop them costs the fused
    kernel, and much of the speed on a CPU.)"""

    memory_gate: bool | str = False
    """A gate, biased to remember, between the memory read and the memory written; ``hard`` leaves
    the memory bit for bit where a segment has no news."""

    strand_head: str = "concat"
    """``concat`` keeps the strands apart; ``symmetric`` gives both strands the same logits."""

    pooling: str = "last"
    """Read the memory of the last segment, or the mean, maximum or attention over all."""

    composition_k: int = 0
    """The head also reads the shares of k-mers so long in the whole sequence; 0 = none."""

    protein_k: int = 0
    """The head also reads the shares of words of so many amino acids, in ten classes, in the
    open reading frames of the whole sequence; 0 = none."""

    orf_codons: int = ORF_CODONS
    """Codons without a stop that make an open reading frame count."""

    wide_k: tuple[int, ...] = ()
    """Lengths of k-mers of which each adds a weight of its own to the logits."""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(f"{name} is {value!r}, but must be one of {', '.join(choices)}")
        self._check_scale()
        self._check_classes()
        self._check_composition()
        if self.heads < 1 or self.dim % self.heads:
            raise ConfigError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        try:
            self.rmt()
        except ValueError as error:
            raise ConfigError(str(error).replace("seq_len", "segment_length")) from error

    @property
    def encoding_width(self) -> int:
        """Features of ``[forward | reverse]``, and of what stands behind them.

        These are the compositions, ``dim`` features each, and last the logits of single k-mers.
        """
        return self.learned_width + self.wide_width

    @property
    def learned_width(self) -> int:
        """Features that the head has weights for."""
        return (2 + bool(self.composition_k) + bool(self.protein_k)) * self.dim

    @property
    def wide_width(self) -> int:
        """Logits that the head adds to its own."""
        return len(self.classes) if self.wide_k else 0

    @property
    def beside_memory(self) -> str:
        """What the head reads of the whole sequence beside its memory, in words; may be empty."""
        parts = ["k-mer"] * bool(self.composition_k or self.wide_k)
        parts += ["protein"] * bool(self.protein_k)
        return f"the {' and '.join(parts)} composition" if parts else ""

    def _check_composition(self) -> None:
        """Raise ConfigError unless the compositions can be counted, and each setting is used."""
        for name, what, largest in (
            ("composition_k", "composition", LONGEST_KMER),
            ("protein_k", "protein composition", LONGEST_WORD),
        ):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= largest:
                raise ConfigError(
                    f"{name} is {value!r}, but must be a whole number from 0 (no {what}) to "
                    f"{largest}"
                )
        if not all(type(k) is int and 1 <= k <= LONGEST_WIDE for k in self.wide_k) or any(
            first >= second for first, second in pairwise(self.wide_k)
        ):
            raise ConfigError(
                f"wide_k is {list(self.wide_k)}, but must be whole numbers from 1 to "
                f"{LONGEST_WIDE}, each above the one before"
            )
        if type(self.orf_codons) is not int or self.orf_codons < 1:
            raise ConfigError(
                f"orf_codons is {self.orf_codons!r}, but must be a whole number of at least 1"
            )
        if not self.protein_k and self.orf_codons != ORF_CODONS:
            raise ConfigError(
                f"orf_codons is {self.orf_codons}, but has no effect: protein_k is 0, so no "
                "reading frame is read"
            )

    def _check_classes(self) -> None:
        """Raise ConfigError unless the names are distinct, and as many as the task wants."""
        if not all(isinstance(name, str) for name in self.classes):
            raise ConfigError(f"classes is {self.classes}, but must hold names: text")
        if self.task == "regression":
            if len(self.classes) != 1:
                raise ConfigError(
                    f"classes is {self.classes}, but a regression has one name, its number's"
                )
        elif len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ConfigError(f"classes is {self.classes}, but must be two or more distinct names")
        if self.task == "binary" and len(self.classes) != 2:
            raise ConfigError(
                f"task is 'binary' with {len(self.classes)} classes, but must have 2. "
                "Use 'multiclass'."
            )

    def _check_scale(self) -> None:
        """Raise ConfigError unless mean and deviation can be used, or have no effect."""
        mean, std = self.target_mean, self.target_std
        if self.task != "regression" and (mean, std) != (0.0, 1.0):
            raise ConfigError(
                f"target_mean is {mean} and target_std {std}, but they have no effect: the task "
                f"is {self.task!r}, no regression"
            )
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise ConfigError(
                f"target_mean is {mean} and target_std {std}, but both must be finite, and the "
                "deviation above 0"
            )

    @property
    def tokenizer(self) -> Tokenizer:
        """How bases become tokens."""
        return Tokenizer(kind=self.tokenizer_kind, k=self.k, stride=self.stride)

    def rmt(self) -> RMTConfig:
        """Return the settings of the transformer: non-causal, memory that starts from memory."""
        return RMTConfig(
            num_tokens=self.tokenizer.vocabulary_size,
            num_memory_tokens=self.num_memory_tokens,
            dim=self.dim,
            depth=self.depth,
            heads=self.heads,
            dim_head=self.dim // self.heads,
            seq_len=self.segment_length,
            causal=False,
            ff_dropout=self.dropout,
            stem_dropout=self.dropout if self.stem_width else 0.0,
            stem_width=self.stem_width,
            stem_pool=self.stem_pool,
            add_write_to_next_write_mem=True,
            next_write_mem_stop_grad=False,
            memory_gate=self.memory_gate,
        )
