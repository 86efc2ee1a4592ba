"""All settings of a training run, in the sections of the TOML file; each checks itself.

``config_file`` reads and writes them. ``ExperimentConfig.resolved`` fills in what a preset
leaves open; that is what a run folder keeps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from rmt_genomics.dna import Tokenizer
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The five numbers that make a model's size; see ``ModelSettings`` for their meaning."""

    dim: int
    depth: int
    heads: int
    segment_length: int
    num_memory_tokens: int


PRESETS = {
    "tiny": Preset(dim=64, depth=3, heads=2, segment_length=256, num_memory_tokens=8),
    "small": Preset(dim=128, depth=4, heads=4, segment_length=512, num_memory_tokens=16),
    "base": Preset(dim=256, depth=6, heads=4, segment_length=512, num_memory_tokens=16),
}


def check_sizes(sizes: Mapping[str, Any]) -> None:
    """Raise ConfigError, by the keys that users know, if sizes do not go together."""
    dim, heads, stem_width = sizes["dim"], sizes["heads"], sizes["stem_width"]
    if dim % heads:
        raise ConfigError(
            f"model.dim ({dim}) must be a multiple of model.heads ({heads}). Change one of them."
        )
    if dim // heads % 2:
        raise ConfigError(
            f"model.dim ({dim}) divided by model.heads ({heads}) is {dim // heads}, but must be "
            "even: positions turn pairs of features. Change one of them."
        )
    if stem_width and stem_width % 2 == 0:
        raise ConfigError(
            f"model.stem_width is {stem_width}, but must be odd, or 0 for no stem. "
            f"For example: {stem_width + 1}."
        )
    if sizes["stem_pool"] > 1 and not stem_width:
        raise ConfigError(
            f"model.stem_pool is {sizes['stem_pool']}, but must be 1 where model.stem_width is 0: "
            "it is the stem that merges tokens. Set model.stem_width, to 11 for example."
        )


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Bounds of a number; those that are None do not bind."""

    at_least: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None

    def admits(self, value: int | float) -> bool:
        """Whether the value is within all bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {"at least": self.at_least, "above": self.above, "below": self.below}
        return " and ".join(
            f"{word} {bound}" for word, bound in bounds.items() if bound is not None
        )


def check_fields(section: object, name: str) -> None:
    """Hold each field of a dataclass to its annotation, as ``checked`` does.

    Args:
        section: The dataclass instance, frozen or not.
        name: How users call it; stands before the field's name in the error.
    """
    for key, annotation in _annotations(type(section)).items():
        value = checked(annotation, getattr(section, key), f"{name}.{key}")
        object.__setattr__(section, key, value)


def check_table(kind: type, name: str, table: Mapping[str, object]) -> dict[str, object]:
    """Return values that are to become fields of a dataclass, checked beforehand.

    Args:
        kind: The dataclass.
        name: How users call it.
        table: Some of its fields by name.
    """
    annotations = _annotations(kind)
    return {key: checked(annotations[key], value, f"{name}.{key}") for key, value in table.items()}


def in_words(kind: type) -> dict[str, str]:
    """Return what each field of a dataclass may be, in words."""
    return {name: _rule(annotation) for name, annotation in _annotations(kind).items()}


def checked(annotation: Any, value: object, key: str) -> object:
    """Return a value that an annotation admits; a whole number for a float becomes one.

    Raises:
        ConfigError: If it breaks the rule, naming key, value and rule.
    """
    if not _fits(annotation, value):
        raise ConfigError(f"{key} is {as_toml(value)}, but must be {_rule(annotation)}.")
    if isinstance(value, list):
        return tuple(value)
    is_float = annotation is float or get_args(annotation)[:1] == (float,)
    return float(value) if is_float and isinstance(value, int) else value


def _annotations(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fits(annotation: Any, value: object) -> bool:
    """Whether a value is what an annotation asks for. A bool is no number here."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_fits(argument, value) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is Annotated:
        base, *ranges = arguments
        return _fits(base, value) and all(each.admits(value) for each in ranges)
    if origin is tuple:  # of any length; TOML has lists
        return isinstance(value, list | tuple) and all(_fits(arguments[0], each) for each in value)
    if annotation is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return type(value) is annotation


def _rule(annotation: Any) -> str:
    """Put an annotation into words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_rule(each) for each in arguments if each is not NoneType)
    if origin is Literal:
        return " or ".join(as_toml(choice) for choice in arguments)
    if origin is tuple:
        return f"a list, each of it {_rule(arguments[0])}"
    if origin is Annotated:
        base, bounds = arguments
        return f"{_NAMES[base]} {'of ' if base is int else ''}{bounds}"
    return _NAMES[annotation]


def as_toml(value: object) -> str:
    """Write a value nearly as in a TOML file."""
    if isinstance(value, tuple):
        return repr(list(value))
    return str(value).lower() if isinstance(value, bool) else repr(value)


Count = Annotated[int, Range(at_least=1)]
Shard = Annotated[float, Range(at_least=0, below=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Size and shape of the classifier. None = what the preset says."""

    preset: Literal["tiny", "small", "base"] = "small"
    """Size by name: dim, depth, heads, segment_length and num_memory_tokens."""

    dim: Count | None = None
    """Model width: features a token."""

    depth: Count | None = None
    """Transformer layers."""

    heads: Count | None = None
    """Attention heads; must divide ``dim``."""

    segment_length: Count | None = None
    """Tokens in a segment, memory not counted."""

    num_memory_tokens: Count | None = None
    """Memory tokens carried from one segment to the next."""

    strand_head: Literal["concat", "symmetric"] = "concat"
    """``concat`` keeps the strands apart; ``symmetric`` gives both strands the same answer."""

    pooling: Literal["last", "mean", "max", "attention"] = "last"
    """Read the memory of the last segment, or the mean, maximum or attention over all."""

    stem_width: Annotated[int, Range(at_least=0)] = 11
    """Tokens seen by the convolution stem; odd, 0 = no stem."""

    stem_pool: Count = 1
    """Neighbouring tokens that the stem merges into one: a segment then covers as many times more
    DNA, in the same time."""

    dropout: Shard = 0.0
    """Share of features dropped in training: of feed-forward layers, stem and encoding."""

    memory_gate: bool | Literal["hard"] = False
    """A gate, biased to remember, between the memory read and the memory written; ``hard`` leaves
    the memory bit for bit where a segment has no news, which holds over many segments."""

    composition_k: Annotated[int, Range(at_least=0, below=9)] = 0
    """Bases in a k-mer whose shares in the whole sequence the head reads as well, both strands
    counted as one; 0 = none. What k-mer counts tell is then learned in minutes."""

    protein_k: Annotated[int, Range(at_least=0, below=6)] = 0
    """Amino acids, in ten classes, in a word whose shares in the open reading frames of the
    whole sequence the head reads as well, both strands counted as one; 0 = none. For what depends
    on which genes there are; the standard genetic code is assumed."""

    orf_codons: Count = 100
    """Codons without a stop that make an open reading frame count, for ``protein_k``."""

    wide_k: tuple[Annotated[int, Range(at_least=1, below=17)], ...] = ()
    """Lengths of k-mers, rising, such as [6, 8, 10, 12]: each k-mer has a weight of its own in the
    logits, both strands counted as one; empty = none. For short sequences; what is nearly alike in
    training is learned by heart."""

    def __post_init__(self) -> None:
        check_fields(self, "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """How bases become tokens."""

    kind: Literal["base", "kmer"] = "base"
    """One token a base, or one a k-mer."""

    k: Count = 1
    """Bases in a k-mer; 1 for kind ``base``."""

    stride: Count = 1
    """Bases from one k-mer to the next, at most k."""

    def __post_init__(self) -> None:
        check_fields(self, "tokenizer")
        Tokenizer(kind=self.kind, k=self.k, stride=self.stride)  # the three must fit together


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How the weights are found."""

    max_epochs: Count = 20
    """Passes over the training part, at most; the learning rate falls over this many."""

    learning_rate: Annotated[float, Range(above=0)] = 5e-4
    """Highest learning rate, reached at the end of the warm-up; it then falls to a tenth."""

    batch_size: Count | Literal["auto"] = 8
    """Examples in a batch, over all processes; auto = 8, or more where that is faster."""

    accumulate_batches: Count = 1
    """Batches whose gradients are added up before one step."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the heavy arithmetic; weights stay fp32."""

    compile: bool = False
    """Fuse the layers' arithmetic (``torch.compile``): faster after a minute; on a CPU it needs a
    C++ compiler."""

    bptt_depth: Count | Literal["all"] = "all"
    """Segments a gradient crosses."""

    replay: bool | Literal["auto"] = "auto"
    """Keep the activations of one segment (true), of all (false), or of as many as fit (auto)."""

    weight_decay: Annotated[float, Range(at_least=0)] = 0.01
    """Of matrices only: biases, norms, embeddings and memory are left alone."""

    warmup_fraction: Shard = 0.1
    """Share of all steps in which the learning rate rises."""

    gradient_clip: Annotated[float, Range(at_least=0)] = 1.0
    """Largest norm of a step's gradient; 0 = any."""

    shift_bp: Annotated[int, Range(at_least=0)] = 0
    """Training examples are moved by up to so many base pairs, N filling the gap; 0 = never."""

    weight_average: Shard = 0.0
    """Share of a running average of the weights that stays at each step, such as 0.99. The
    average is then what is validated and saved; 0 = the weights themselves."""

    patience: Count = 5
    """Epochs without a lower validation loss after which training stops."""

    checkpoint_minutes: Annotated[float, Range(at_least=0)] = 10.0
    """Within an epoch's training a checkpoint is written so often (0 = after each step); one more
    when the epoch has been validated."""

    class_weights: Literal["balanced", "none"] = "balanced"
    """``balanced`` gives rare classes as much weight in the loss as common ones; a regression has
    none."""

    def __post_init__(self) -> None:
        check_fields(self, "training")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Which examples are trained on and which are held out."""

    split: Literal["auto", "column", "group", "stratified"] = "auto"
    """auto = the labels' split column if there is one, else by group if there is one, else at
    random within each class."""

    group: str = "group"
    """Column of the labels file; examples with the same value there stay on one side."""

    validation_fraction: Annotated[float, Range(above=0, below=1)] = 0.2
    """Share of the examples held out where the labels file does not say which."""

    task: Literal["auto", "classification", "regression"] = "auto"
    """What the labels are: names of classes, or numbers to be predicted. auto = numbers if all are
    and some are not whole and at least 20 differ."""

    def __post_init__(self) -> None:
        check_fields(self, "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurriculumSettings:
    """Short sequences first, longer ones when a stage has been learned (see ``curriculum``)."""

    segments: tuple[Count, ...] = ()
    """Segments that examples are shortened to, stage by stage, rising; empty = no curriculum."""

    shorten: Literal["", "prefix", "random_window", "around"] = ""
    """Which part is left: the first bases, a random window, or the middle. Must be said where
    there are stages: labels have to hold for that part."""

    metric: Literal["accuracy", "mcc", "auroc", "pearson", "r2"] = "accuracy"
    """What ``advance_at`` is about; of the validation part, as short as the stage."""

    advance_at: float = 0.9
    """The next stage begins when this is reached."""

    patience: Count = 5
    """Epochs without a lower validation loss after which the next stage begins all the same."""

    mix: Shard = 0.2
    """Share of the training examples that are as short as a random earlier stage."""

    def __post_init__(self) -> None:
        check_fields(self, "curriculum")
        if any(one >= two for one, two in pairwise(self.segments)):
            raise ConfigError(
                f"curriculum.segments is {list(self.segments)}, but must rise from stage to stage. "
                "For example: [1, 2, 4, 8]."
            )
        if self.segments and not self.shorten:
            raise ConfigError(
                "curriculum.shorten is not set, but must say which part of a long example the "
                "stages of curriculum.segments leave: 'prefix', 'random_window' or 'around'. Its "
                "label has to hold for that part."
            )
        if not self.segments and (changed := self._changed()):
            raise ConfigError(
                f"curriculum.{changed} is {as_toml(getattr(self, changed))}, but has no effect: "
                "curriculum.segments is empty. Set it too, or leave both out."
            )

    def _changed(self) -> str | None:
        """Return the first setting that is not its default."""
        names = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        return next(iter(names), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """The whole of a run's settings; what one TOML file holds."""

    model: ModelSettings = field(default_factory=ModelSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    data: DataSettings = field(default_factory=DataSettings)
    curriculum: CurriculumSettings = field(default_factory=CurriculumSettings)

    def __post_init__(self) -> None:
        check_sizes(self._sizes())
        self.classifier(("any", "other"), "binary")  # what else does not fit together fails here

    def resolved(self) -> "ExperimentConfig":
        """Return the same settings with every number filled in from the preset."""
        preset = asdict(PRESETS[self.model.preset])
        left_open = {name: n for name, n in preset.items() if getattr(self.model, name) is None}
        return replace(self, model=replace(self.model, **left_open)) if left_open else self

    def classifier(self, classes: Sequence[str], task: str, **scale: Any) -> ClassifierConfig:
        """Return what the model is built from, for these labels.

        ``scale`` is ``target_mean`` and ``target_std`` of a regression.
        """
        return ClassifierConfig(
            classes=tuple(classes),
            task=task,
            tokenizer_kind=self.tokenizer.kind,
            k=self.tokenizer.k,
            stride=self.tokenizer.stride,
            **scale,
            **self._sizes(),
        )

    def flat(self) -> dict[str, object]:
        """Return every setting by its dotted key, such as ``model.dim``; None = left open."""
        return {
            f"{section.name}.{name}": value
            for section in fields(self)
            for name, value in asdict(getattr(self, section.name)).items()
        }

    def _sizes(self) -> dict[str, Any]:
        """Return the model's settings by name, those of the preset where they are left open."""
        explicit = {name: n for name, n in asdict(self.model).items() if n is not None}
        sizes = {**asdict(PRESETS[self.model.preset]), **explicit}
        del sizes["preset"]
        return sizes
