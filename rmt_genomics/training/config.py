"""All settings of a training run, one class per table of the TOML file; each checks itself.

``config_file`` reads and writes them. ``ExperimentConfig.resolved`` fills in the numbers that the
preset determines; a run folder keeps the resolved settings.
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
class Range:
    """Bounds of a number; None = no bound."""

    at_least: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None

    def contains(self, value: int | float) -> bool:
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


Count = Annotated[int, Range(at_least=1)]
Fraction = Annotated[float, Range(at_least=0, below=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The five numbers that determine a model's size; see ``ModelSettings``."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Size and architecture of the classifier. None = the value of the preset."""

    preset: Literal["tiny", "small", "base"] = "small"
    """Size by name: dim, depth, heads, segment_length and num_memory_tokens."""

    dim: Count | None = None
    """Model width: features per token."""

    depth: Count | None = None
    """Transformer layers."""

    heads: Count | None = None
    """Attention heads; must divide ``dim``."""

    segment_length: Count | None = None
    """Tokens in a segment, memory not counted."""

    num_memory_tokens: Count | None = None
    """Memory tokens carried from one segment to the next."""

    strand_head: Literal["concat", "symmetric"] = "concat"
    """``concat`` concatenates the strands; ``symmetric`` gives both strands the same prediction."""

    pooling: Literal["last", "mean", "max", "attention"] = "last"
    """The head reads the memory of the last segment, or the mean, maximum or attention over all."""

    stem_width: Annotated[int, Range(at_least=0)] = 11
    """Width of the convolution stem in tokens; odd, 0 = no stem."""

    stem_pool: Count = 1
    """Adjacent tokens that the stem pools into one: a segment then covers as many times more DNA
    in the same time."""

    dropout: Fraction = 0.0
    """Fraction of features dropped in training: in feed-forward layers, stem and encoding."""

    memory_gate: bool | Literal["hard"] = False
    """A gate, biased to retain, between the memory read and the memory written; ``hard`` keeps the
    memory bit for bit where a segment has no update, so that it lasts over many segments."""

    composition_k: Annotated[int, Range(at_least=0, below=9)] = 0
    """The head also reads the k-mer frequencies of the whole sequence, both strands counted as one;
    this is k, 0 = none. Classes that differ in k-mer frequencies are then learned in minutes."""

    protein_k: Annotated[int, Range(at_least=0, below=6)] = 0
    """The head also reads the frequencies of amino-acid k-mers, with amino acids in ten classes, in
    the open reading frames of both strands; this is k, 0 = none. For labels that depend on which
    genes are present; the standard genetic code is assumed."""

    orf_codons: Count = 100
    """Shortest open reading frame in codons without a stop, for ``protein_k``."""

    wide_k: tuple[Annotated[int, Range(at_least=1, below=17)], ...] = ()
    """Lengths of k-mers, increasing, such as [6, 8, 10, 12]: each k-mer has a weight of its own in
    the logits, both strands counted as one; empty = none. For short sequences; near-duplicates in
    the training part are memorised."""

    def __post_init__(self) -> None:
        check_fields(self, "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """The conversion of bases into tokens."""

    kind: Literal["base", "kmer"] = "base"
    """One token per base, or one per k-mer."""

    k: Count = 1
    """Bases in a k-mer; 1 for kind ``base``."""

    stride: Count = 1
    """Bases from one k-mer to the next, at most k."""

    def __post_init__(self) -> None:
        check_fields(self, "tokenizer")
        Tokenizer(kind=self.kind, k=self.k, stride=self.stride)  # checks the combination


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Optimisation and resources."""

    max_epochs: Count = 20
    """Most passes over the training part; the learning rate falls over this many."""

    learning_rate: Annotated[float, Range(above=0)] = 5e-4
    """Highest learning rate, reached at the end of the warm-up; it then falls to a tenth."""

    batch_size: Count | Literal["auto"] = 8
    """Examples in a batch, over all processes; auto = 8, or more if that is faster."""

    accumulate_batches: Count = 1
    """Batches whose gradients are summed before one optimiser step."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of matrix products; weights stay fp32."""

    compile: bool = False
    """Compile the layers (``torch.compile``): faster after about a minute; on a CPU it needs a C++
    compiler."""

    bptt_depth: Count | Literal["all"] = "all"
    """Segments that a gradient crosses (truncated back-propagation through time)."""

    replay: bool | Literal["auto"] = "auto"
    """Store activations of one segment (true), of all (false), or of as many as fit (auto)."""

    weight_decay: Annotated[float, Range(at_least=0)] = 0.01
    """Weight decay of matrices; biases, norms, embeddings and memory have none."""

    warmup_fraction: Fraction = 0.1
    """Fraction of all steps in which the learning rate rises."""

    gradient_clip: Annotated[float, Range(at_least=0)] = 1.0
    """Largest norm of a step's gradient; 0 = no limit."""

    shift_bp: Annotated[int, Range(at_least=0)] = 0
    """Training examples are shifted at random by up to this many bp, N filling the gap; 0 = not."""

    weight_average: Fraction = 0.0
    """Decay of an exponential moving average of the weights, such as 0.99. The average is then
    validated and saved; 0 = the weights themselves."""

    patience: Count = 5
    """Epochs without a lower validation loss after which training stops."""

    checkpoint_minutes: Annotated[float, Range(at_least=0)] = 10.0
    """Minutes between checkpoints within an epoch (0 = after each step); one more is written when
    the epoch has been validated."""

    class_weights: Literal["balanced", "none"] = "balanced"
    """``balanced`` gives rare classes as much weight in the loss as common ones; not for
    regression."""

    def __post_init__(self) -> None:
        check_fields(self, "training")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """The split into training and held-out examples, and the task."""

    split: Literal["auto", "column", "group", "stratified"] = "auto"
    """auto = the split column of the labels if there is one, else by group if there is a group
    column, else at random within each class."""

    group: str = "group"
    """Column of the labels file; examples with the same value stay in one part."""

    validation_fraction: Annotated[float, Range(above=0, below=1)] = 0.2
    """Fraction of the examples held out if the labels file does not say which."""

    task: Literal["auto", "classification", "regression"] = "auto"
    """Labels are names of classes, or numbers to be predicted. auto = regression if all labels are
    numbers, some are not whole and at least 20 differ."""

    def __post_init__(self) -> None:
        check_fields(self, "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurriculumSettings:
    """Short sequences first, longer ones in later stages (see ``curriculum``)."""

    segments: tuple[Count, ...] = ()
    """Segments that examples are shortened to in each stage, increasing; empty = no curriculum."""

    shorten: Literal["", "prefix", "random_window", "around"] = ""
    """The part that remains: the first bases, a random window, or the middle. Required if there are
    stages: labels must hold for that part."""

    metric: Literal["accuracy", "mcc", "auroc", "pearson", "r2"] = "accuracy"
    """Metric for ``advance_at``, on the validation part, shortened as in the stage."""

    advance_at: float = 0.9
    """The next stage begins when the metric reaches this value."""

    patience: Count = 5
    """Epochs without a lower validation loss after which the next stage begins anyway."""

    mix: Fraction = 0.2
    """Fraction of the training examples that are shortened as in a random earlier stage."""

    def __post_init__(self) -> None:
        check_fields(self, "curriculum")
        if any(stage >= following for stage, following in pairwise(self.segments)):
            raise ConfigError(
                f"curriculum.segments is {list(self.segments)}, but must increase from stage to "
                "stage. For example: [1, 2, 4, 8]."
            )
        if self.segments and not self.shorten:
            raise ConfigError(
                "curriculum.shorten is not set, but must say which part of a long example remains "
                "in the stages of curriculum.segments: 'prefix', 'random_window' or 'around'. "
                "The label must hold for that part."
            )
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not self.segments and value != setting.default:
                raise ConfigError(
                    f"curriculum.{setting.name} is {as_toml(value)}, but has no effect: "
                    "curriculum.segments is empty. Set it too, or leave both out."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """All settings of a run; the content of one TOML file."""

    model: ModelSettings = field(default_factory=ModelSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    data: DataSettings = field(default_factory=DataSettings)
    curriculum: CurriculumSettings = field(default_factory=CurriculumSettings)

    def __post_init__(self) -> None:
        check_sizes(self._sizes())
        self.classifier(("any", "other"), "binary")  # checks all other combinations

    def resolved(self) -> "ExperimentConfig":
        """Return the same settings with every number of the preset filled in."""
        preset = asdict(PRESETS[self.model.preset])
        missing = {name: n for name, n in preset.items() if getattr(self.model, name) is None}
        return replace(self, model=replace(self.model, **missing)) if missing else self

    def classifier(self, classes: Sequence[str], task: str, **scale: Any) -> ClassifierConfig:
        """Return the config of a model for these labels.

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
        """Return every setting by its dotted key, such as ``model.dim``; None = by the preset."""
        return {
            f"{section.name}.{name}": value
            for section in fields(self)
            for name, value in asdict(getattr(self, section.name)).items()
        }

    def _sizes(self) -> dict[str, Any]:
        """Return the model's settings by name, with the numbers of the preset filled in."""
        explicit = {name: n for name, n in asdict(self.model).items() if n is not None}
        sizes = {**asdict(PRESETS[self.model.preset]), **explicit}
        del sizes["preset"]
        return sizes


def check_sizes(sizes: Mapping[str, Any]) -> None:
    """Raise ConfigError, with dotted keys, if the sizes of a model contradict each other."""
    dim, heads, stem_width = sizes["dim"], sizes["heads"], sizes["stem_width"]
    if dim % heads:
        raise ConfigError(
            f"model.dim ({dim}) must be a multiple of model.heads ({heads}). Change one of them."
        )
    if dim // heads % 2:
        raise ConfigError(
            f"model.dim ({dim}) divided by model.heads ({heads}) is {dim // heads}, but must be "
            "even: rotary positions rotate pairs of features. Change one of them."
        )
    if stem_width and stem_width % 2 == 0:
        raise ConfigError(
            f"model.stem_width is {stem_width}, but must be odd, or 0 for no stem. "
            f"For example: {stem_width + 1}."
        )
    if sizes["stem_pool"] > 1 and not stem_width:
        raise ConfigError(
            f"model.stem_pool is {sizes['stem_pool']}, but must be 1 if model.stem_width is 0: "
            "the stem pools the tokens. Set model.stem_width, to 11 for example."
        )


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def check_fields(section: object, name: str) -> None:
    """Check each field of a dataclass against its annotation, and convert it (``check_value``).

    Args:
        section: The dataclass instance, frozen or not.
        name: Its name in settings files, for error messages.
    """
    for key, annotation in _annotations(type(section)).items():
        value = check_value(annotation, getattr(section, key), f"{name}.{key}")
        object.__setattr__(section, key, value)


def check_table(section: type, name: str, table: Mapping[str, object]) -> dict[str, object]:
    """Return checked and converted values for the fields of a dataclass.

    Args:
        section: The dataclass.
        name: Its name in settings files, for error messages.
        table: Some of its fields by name.
    """
    annotations = _annotations(section)
    return {
        key: check_value(annotations[key], value, f"{name}.{key}") for key, value in table.items()
    }


def allowed_values(section: type) -> dict[str, str]:
    """Return a description of the allowed values of each field of a dataclass."""
    return {name: _rule(annotation) for name, annotation in _annotations(section).items()}


def check_value(annotation: Any, value: object, key: str) -> object:
    """Return a value that fits an annotation; whole numbers become floats, lists become tuples.

    Raises:
        ConfigError: If it breaks the rule, naming key, value and rule.
    """
    if not _fits(annotation, value):
        raise ConfigError(f"{key} is {as_toml(value)}, but must be {_rule(annotation)}.")
    if isinstance(value, list):
        return tuple(value)
    is_float = annotation is float or get_args(annotation)[:1] == (float,)
    return float(value) if is_float and isinstance(value, int) else value


def _annotations(section: type) -> dict[str, Any]:
    return get_type_hints(section, include_extras=True)


def _fits(annotation: Any, value: object) -> bool:
    """Whether a value fits an annotation. A bool is not a number here."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_fits(argument, value) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is Annotated:
        base, *ranges = arguments
        return _fits(base, value) and all(bounds.contains(value) for bounds in ranges)
    if origin is tuple:  # of any length; TOML has lists
        return isinstance(value, list | tuple) and all(_fits(arguments[0], item) for item in value)
    if annotation is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return type(value) is annotation


def _rule(annotation: Any) -> str:
    """Return an annotation as text."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_rule(option) for option in arguments if option is not NoneType)
    if origin is Literal:
        return " or ".join(as_toml(choice) for choice in arguments)
    if origin is tuple:
        return f"a list, each element {_rule(arguments[0])}"
    if origin is Annotated:
        base, bounds = arguments
        return f"{_TYPE_NAMES[base]} {'of ' if base is int else ''}{bounds}"
    return _TYPE_NAMES[annotation]


def as_toml(value: object) -> str:
    """Format a value nearly as in a TOML file, for messages."""
    if isinstance(value, tuple):
        return repr(list(value))
    return str(value).lower() if isinstance(value, bool) else repr(value)
