"""The settings of a saved classifier: what ``config.json`` holds."""

from collections.abc import Mapping
from math import gcd
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rmt_genomics.dna import Tokenizer
from rmt_genomics.errors import ConfigError
from rmt_genomics.model.backbones import Backbone
from rmt_genomics.model.features import Feature, beside_memory, parse_features, with_features
from rmt_genomics.model.settings import Count, CountOrZero, Fraction, Settings
from rmt_genomics.parsing import unprintable
from rmt_genomics.rmt import RMTConfig

TokenizerKind = Literal["base", "kmer"]
StrandHead = Literal["concat", "symmetric"]
HeadLayers = Annotated[int, Field(ge=1, lt=3)]
MemoryReset = Literal["never", "segment"]
Pooling = Literal["last", "mean", "max", "attention"]
Readout = Literal["written", "carried"]
FeatureHead = Literal["regression", "hidden"]
FIRST_VERSION = {"readout": "carried", "memory_gate": False, "head_layers": 1}
"""What saved settings without these keys mean: the defaults of the first version."""

PRETRAINING = "pretraining"
"""The task of a model that was trained by ``pretrain``, without labels."""

ORF_CODONS = 100
Threshold = Annotated[float, Field(gt=0, lt=1)]


class ClassifierConfig(Settings):
    """Labels, tokens, sizes and switches of one classifier; checks itself.

    Raises:
        ConfigError: If a setting is out of range or two settings contradict each other.
    """

    classes: tuple[str, ...]
    """Label names, in the order of the logits; for a regression the name of its number; empty for a
    model of ``pretrain``."""

    task: Literal["binary", "multiclass", "multilabel", "regression", "pretraining"]
    """``binary`` and ``multiclass``: one label per sequence; ``multilabel``: any number of labels;
    ``regression``: a number; ``pretraining``: none, masked bases are predicted."""

    target_mean: float = 0.0
    """For a regression: the mean of the training labels, in their unit."""

    target_std: Annotated[float, Field(gt=0)] = 1.0
    """For a regression: their standard deviation. The model's output is in multiples of it."""

    min_train_bp: CountOrZero = 0
    """Length in bp of the shortest example of the training; 0 = not known."""

    max_train_bp: CountOrZero = 0
    """Length in bp of its longest example; 0 = not known."""

    tokenizer_kind: TokenizerKind = "base"
    """``base``: one token per base; ``kmer``: one per k-mer."""

    k: Count = 1
    """Bases in a k-mer."""

    stride: Count = 1
    """Bases from the start of one k-mer to the start of the next."""

    dim: Count = 64
    """Model width: features per token."""

    depth: Count = 3
    """Transformer layers."""

    heads: Count = 4
    """Attention heads; must divide ``dim``."""

    segment_length: Count = 512
    """Tokens in a segment, memory not counted."""

    num_memory_tokens: Count = 8
    """Memory tokens carried from one segment to the next."""

    stem_width: CountOrZero = 11
    """Tokens seen by the convolution stem; odd, 0 = no stem."""

    stem_pool: Count = 1
    """Neighbouring tokens that the stem merges into one position of a segment."""

    dropout: Fraction = 0.0
    """Fraction of features dropped in training: of feed-forward layers, of the stem and of the
    encoding that the head reads. (Attention weights are not dropped: the fused attention kernel
    could not be used, and training on a CPU would be much slower.)"""

    readout: Readout = "written"
    """What the head reads of each segment: what the segment wrote, before the gate; or the memory
    carried on from it. A ``config.json`` without this key means ``carried``."""

    memory_gate: bool | Literal["hard"] = True
    """A gate, biased to keep the old memory, between the memory read and the memory written;
    ``hard``: the gate can be exactly closed, so that a segment leaves the memory bit for bit."""

    memory_reset: MemoryReset = "never"
    """``segment``: the memory is set to zero before each segment, so that nothing passes from one
    segment to the next."""

    strand_head: StrandHead = "concat"
    """``concat`` keeps the strands apart; ``symmetric`` gives both strands the same logits."""

    head_layers: HeadLayers = 2
    """1: the head is a linear map; 2: with a hidden layer of ``dim`` features for each strand."""

    pooling: Pooling = "last"
    """Read the memory of the last segment, or the mean, maximum or attention over all."""

    features: tuple[str, ...] = ()
    """What is read of the whole sequence beside the memory, as in the setting ``model.features``:
    at most one item each of ``kmer:K``, ``stranded-kmer:K``, ``protein:K`` and ``wide:K1-K2``."""

    feature_head: FeatureHead = "hidden"
    """How ``features`` reach the logits, but for ``wide``: through a regression that was fitted
    before the training and is added to the logits, or a hidden layer that the head reads."""

    orf_codons: Count = ORF_CODONS
    """Codons without a stop that make an open reading frame count."""

    backbone: Backbone | None = None
    """A pretrained encoder of others in place of tokens, stem and layers: ``dim``, ``depth`` and
    ``heads`` are its sizes, and ``segment_length`` is in bp. A saved model has it in a file."""

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_versions(cls, values: Any) -> Any:
        return with_features(values)

    @field_validator("features")
    @classmethod
    def _in_their_order(cls, items: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(feature.text for feature in parse_features(items))

    thresholds: tuple[Threshold, ...] | None = None
    """Probability from which on a class is predicted: of the second of two classes, one number; of
    a multi-label task, one per class. None = the most probable class; multi-label: 0.5."""

    thresholds_from: Literal["validation", "given"] | None = None
    """Whether the thresholds were chosen on the validation part of the training, or given."""

    @model_validator(mode="after")
    def _check_combinations(self) -> "ClassifierConfig":
        self._check_classes()
        self._check_thresholds()
        self._check_backbone()
        self._check_sizes()
        try:
            self.rmt()
        except ValueError as error:
            raise ConfigError(f"{error}.".replace("seq_len", "segment_length")) from error
        return self

    @property
    def segment_bp(self) -> int:
        """Bases that a segment covers: of all the tokens that the stem merges."""
        return (self.segment_length * self.stem_pool - 1) * self.stride + self.k

    @property
    def features_by_kind(self) -> dict[str, Feature]:
        """The features of the whole sequence by kind, in the order in which the head reads them."""
        return {feature.kind: feature for feature in parse_features(self.features)}

    @property
    def encoding_width(self) -> int:
        """Features of an embedding: ``[forward | reverse | features | linear logits]``."""
        has_linear = "wide" in self.features_by_kind or self.regression_features
        linear_logits = len(self.classes) if has_linear else 0
        return 2 * self.dim + self.num_sequence_features + linear_logits

    @property
    def num_sequence_features(self) -> int:
        """Features of the whole sequence that the head reads: ``dim`` of each kind and strand."""
        if self.feature_head == "regression":
            return 0
        return self.dim * sum(each.num_hidden for each in self.features_by_kind.values())

    @property
    def regression_features(self) -> dict[str, Feature]:
        """The features by kind whose regression is added to the logits."""
        if self.feature_head != "regression":
            return {}
        return {kind: each for kind, each in self.features_by_kind.items() if kind != "wide"}

    @property
    def beside_memory(self) -> str:
        """Name the composition that the head reads in addition to the memory; may be empty."""
        return beside_memory(self.features_by_kind.values())

    def _check_sizes(self) -> None:
        features = self.features_by_kind
        if "stranded-kmer" in features and self.strand_head == "symmetric":
            raise ConfigError(
                f"features has {features['stranded-kmer'].text!r}, which differs between the "
                "strands, but strand_head is 'symmetric'. Set strand_head to 'concat', or count "
                f"both strands as one: {features['stranded-kmer'].text.removeprefix('stranded-')}."
            )
        if "protein" not in features and self.orf_codons != ORF_CODONS:
            raise ConfigError(
                f"orf_codons is {self.orf_codons}, but has no effect: features has no item "
                "protein:K, so no reading frame is read."
            )
        dim, heads = self.dim, self.heads
        if dim % 2:
            raise ConfigError(
                f"dim ({dim}) must be even: rotary positions rotate pairs of features. Change it."
            )
        if dim % heads:
            raise ConfigError(
                f"dim ({dim}) must be a multiple of heads ({heads}). Change one of them."
            )
        if dim // heads % 2:
            raise ConfigError(
                f"dim ({dim}) divided by heads ({heads}) is {dim // heads}, but must be even: "
                "rotary positions rotate pairs of features. Change one of them."
            )

    def _check_backbone(self) -> None:
        if self.backbone is None:
            return
        unused = {"tokenizer_kind": "base", "k": 1, "stride": 1, "stem_width": 0, "stem_pool": 1}
        for name, neutral in unused.items():
            if (value := getattr(self, name)) != neutral:
                raise ConfigError(
                    f"{name} is {value!r}, but must be {neutral!r} where there is a backbone: the "
                    "pretrained encoder has tokens of its own."
                )

    def _check_thresholds(self) -> None:
        if (self.thresholds is None) != (self.thresholds_from is None):
            raise ConfigError(
                "thresholds and thresholds_from belong together, but only one of them is set."
            )
        wanted = {"binary": 1, "multilabel": len(self.classes)}.get(self.task, 0)
        if self.thresholds is not None and len(self.thresholds) != wanted:
            raise ConfigError(
                f"thresholds has {len(self.thresholds)} numbers, but a {self.task} model of "
                f"{len(self.classes)} classes has {wanted}."
            )

    def _check_classes(self) -> None:
        for name in self.classes:
            if unprintable(name) is not None:
                raise ConfigError(f"classes has {name!r}, but names must be printable text.")
        if self.task == PRETRAINING:
            self._check_pretraining()
            return
        mean, std = self.target_mean, self.target_std
        if self.task != "regression" and (mean, std) != (0.0, 1.0):
            raise ConfigError(
                f"target_mean is {mean} and target_std {std}, but they have no effect: the task "
                f"is {self.task!r}, not regression. Remove them."
            )
        if self.task == "regression":
            if len(self.classes) != 1:
                raise ConfigError(
                    f"classes is {self.classes}, but a regression has one name: that of its number."
                )
        elif len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ConfigError(f"classes is {self.classes}, but must be two or more distinct names.")
        if self.task == "binary" and len(self.classes) != 2:
            raise ConfigError(
                f"task is 'binary' with {len(self.classes)} classes, but must have 2. "
                "Use 'multiclass'."
            )

    def _check_pretraining(self) -> None:
        if self.classes or self.features:
            raise ConfigError(
                f"classes is {self.classes} and features is {self.features}, but the task is "
                f"{PRETRAINING!r}, which has neither. Remove them."
            )
        if self.tokenizer_kind != "base":
            raise ConfigError(
                f"tokenizer.kind is {self.tokenizer_kind!r}, but must be 'base' in pretraining: "
                "single bases are masked and predicted. Leave it out."
            )

    def check_has_classes(self, where: object) -> None:
        """Raise ConfigError if a model, named by ``where``, was pretrained only."""
        if self.task == PRETRAINING:
            raise ConfigError(
                f"{where}: the model was pretrained without labels, so it has no classes to "
                "predict. Train a classifier from it: rmt-genomics train ... --init-from MODEL."
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
            memory_reset=self.memory_reset,
        )


def fitting_sizes(sizes: Mapping[str, int], dim: int | None, heads: int | None) -> dict[str, int]:
    """Return sizes whose ``dim`` or ``heads`` fits the other one, if only that is given.

    The width of a head, ``dim / heads``, must be even.
    """
    fitting = dict(sizes)
    if dim is not None:
        fitting["heads"] = max(1, gcd(2 * sizes["heads"], dim) // 2)
    if heads is not None:
        fitting["dim"] = -(-sizes["dim"] // (2 * heads)) * 2 * heads
    return fitting
