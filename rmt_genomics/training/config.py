"""All settings of a training run, one class per table of the TOML file; each checks itself.

``config_file`` reads and writes them. ``ExperimentConfig.resolved`` fills in what the preset and
``auto`` mean; a run folder keeps the resolved settings.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from rmt_genomics.datasets.windows import Windows
from rmt_genomics.dna import NameOptions, Tokenizer
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.model.backbones import BackboneSettings
from rmt_genomics.model.config import (
    ORF_CODONS,
    FeatureHead,
    HeadLayers,
    MemoryReset,
    Pooling,
    Readout,
    StrandHead,
    TokenizerKind,
    fitting_sizes,
)
from rmt_genomics.model.features import parse_features, with_features
from rmt_genomics.model.masked_bases import PretrainingSettings
from rmt_genomics.model.settings import Count, CountOrZero, Fraction, Settings, as_toml
from rmt_genomics.parsing import read_duration

PRESETS = {
    "tiny": {"dim": 64, "depth": 3, "heads": 2, "segment_length": 256, "num_memory_tokens": 8},
    "small": {"dim": 128, "depth": 4, "heads": 4, "segment_length": 512, "num_memory_tokens": 16},
    "base": {"dim": 256, "depth": 6, "heads": 4, "segment_length": 512, "num_memory_tokens": 16},
}
"""The five numbers that determine a model's size; see ``ModelSettings``."""

AUTOMATIC = (
    *("model.dim", "model.depth", "model.heads", "model.segment_length"),
    *("model.num_memory_tokens", "model.pooling", "model.stem_width", "model.stem_pool"),
    *("model.dropout", "training.max_epochs", "training.learning_rate", "training.batch_size"),
    *("training.weight_decay", "training.weight_average", "training.examples_per_epoch"),
    *("training.validation_examples", "training.shift_bp", "training.patience"),
)
"""Settings that a training chooses by the data unless they are given (``training.automatic``). A
preset gives the sizes; without one they are chosen."""

CHANGES_CHOICES = ("model.preset",)
"""Settings that are not chosen, but by which others are no longer chosen."""

OTHER_IN_PRETRAINING = ("data.window_bp", "data.validation_fraction")
"""Settings with another default in ``pretrain`` (``training.pretraining``)."""


class ModelSettings(BackboneSettings):
    """Size and architecture of the classifier. None = the value of the preset."""

    section: ClassVar[str] = "model"

    preset: Literal["tiny", "small", "base"] = "small"
    """Size by name: dim, depth, heads, segment_length and num_memory_tokens. Without it they are
chosen by the data."""

    dim: Count | None = None
    """Model width: features per token."""

    depth: Count | None = None
    """Transformer layers."""

    heads: Count | None = None
    """Attention heads; must divide ``dim``."""

    segment_length: Count | None = None
    """Tokens in a segment, memory not counted; bp with a ``backbone``."""

    num_memory_tokens: Count | None = None
    """Memory tokens carried from one segment to the next."""

    strand_head: StrandHead = "concat"
    """``concat`` concatenates the strands; ``symmetric`` gives both strands the same prediction."""

    head_layers: HeadLayers = 2
    """1 = the head is a linear map; 2 = with a hidden layer for each strand, without which a mean
    over segments cannot show that a sequence is a mixture. An earlier ``config.toml`` means 1."""

    pooling: Pooling = "last"
    """The head reads the memory of the last segment, or the mean, maximum or attention over all."""

    stem_width: CountOrZero = 11
    """Width of the convolution stem in tokens; odd, 0 = no stem."""

    stem_pool: Count = 1
    """Adjacent tokens that the stem pools into one: a segment then covers as many times more DNA
    in the same time."""

    dropout: Fraction = 0.0
    """Fraction of features dropped in training: in feed-forward layers, stem and encoding."""

    readout: Readout = "written"
    """The head reads what each segment wrote, before the gate, or the memory carried on from it. A
    ``config.toml`` of an earlier version, which has no such key, means ``carried``."""

    memory_gate: bool | Literal["hard"] = True
    """A gate, biased to retain, between the memory read and the memory written; ``hard`` keeps the
    memory bit for bit where a segment has no update, so that it lasts over many segments."""

    memory_reset: MemoryReset = "never"
    """``segment`` sets the memory to zero before each segment: the network has no memory, as a
    control (see ``train --control``)."""

    features: Literal["auto", "none"] | tuple[str, ...] = "auto"
    """What is read of the whole sequence beside the memory: none, a list with at most one item of
    each kind, such as ["kmer:6", "protein:4"], or auto: the kind whose regression predicts the
    labels of the validation part best, or the mean of two kinds, or none; for many short examples
    also wide:6,8,10,12. How they reach the logits is ``feature_head``. ``kmer:K`` (K up to 8): the
    k-mer frequencies, both strands counted as one. ``stranded-kmer:K`` (up to 8): those of each
    strand, for what differs between the strands, such as more G than C; only with ``strand_head``
    concat. ``protein:K`` (up to 5): the frequencies of amino-acid k-mers, with amino acids in ten
    classes, in the open reading frames of both strands, for labels that depend on which genes are
    present; the standard genetic code is assumed. ``wide:K1-K2`` (up to 16; for single
    lengths ``wide:6,8,10,12``): each k-mer has a weight of its own in the logits, both strands
    counted as one, for short sequences; near-duplicates in the training part are memorised."""

    feature_head: FeatureHead = "regression"
    """How ``features`` reach the logits, but for ``wide``: by regressions, which are fitted
    before the training; the network is trained without them, and at the end the logits of both are
    added, with factors that are best on the validation part. Or through a hidden layer that is
    trained with the network."""

    orf_codons: Count = ORF_CODONS
    """Shortest open reading frame in codons without a stop, for ``protein:K`` in ``features``."""

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_versions(cls, values: Any) -> Any:
        return with_features(values, cls.section)

    @field_validator("features", mode="before")
    @classmethod
    def _one_item_as_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) and value not in ("auto", "none") else value

    @field_validator("features")
    @classmethod
    def _in_their_order(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return value
        items = parse_features(value, f"{cls.section}.features")
        return tuple(item.text for item in items) or "none"

    def resolved(self) -> "ModelSettings":
        """Return the same settings with the numbers of the preset filled in.

        Features that are to be chosen by the data are none: there is no data here.
        """
        sizes = PRESETS[self.preset]
        if "preset" not in self.model_fields_set:
            sizes = fitting_sizes(sizes, self.dim, self.heads)
        changes: dict[str, Any] = {n: v for n, v in sizes.items() if getattr(self, n) is None}
        if self.features == "auto":
            changes["features"] = "none"
        return self.replace(**changes) if changes else self


class TokenizerSettings(Settings):
    """The conversion of bases into tokens."""

    section: ClassVar[str] = "tokenizer"

    kind: TokenizerKind = "base"
    """One token per base, or one per k-mer."""

    k: Count = 1
    """Bases in a k-mer; 1 for kind ``base``."""

    stride: Count = 1
    """Bases from one k-mer to the next, at most k."""

    @model_validator(mode="after")
    def _check_combination(self) -> "TokenizerSettings":
        Tokenizer(kind=self.kind, k=self.k, stride=self.stride)
        return self


class TrainingSettings(Settings):
    """Optimisation and resources."""

    section: ClassVar[str] = "training"

    max_epochs: Count = 20
    """Most epochs, which are passes over the training part unless ``examples_per_epoch`` is set;
    the learning rate falls over this many."""

    examples_per_epoch: Annotated[Count | None, Field(examples=[10_000])] = None
    """Examples that an epoch trains on, drawn so that all are seen before one is seen again; left
    out, or more than there are = the whole training part."""

    validation_examples: Annotated[Count | None, Field(examples=[1000])] = None
    """Examples of the validation part that are evaluated after each epoch, always the same and of
    each class about the same fraction; left out, or more than there are = all."""

    time_budget: Annotated[str | None, Field(examples=["10min"])] = None
    """Time in which training, evaluation and report end, with its unit: s, min or h. The three
    settings above are then chosen from measured speeds; ``max_epochs`` is the most, and the others
    stay if they are set. Left out = no limit."""

    learning_rate: Annotated[float, Field(gt=0, lt=1e30)] = 5e-4
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

    weight_decay: Annotated[float, Field(ge=0, lt=1e6)] = 0.01
    """Weight decay of matrices; biases, norms, embeddings and memory have none."""

    warmup_fraction: Fraction = 0.1
    """Fraction of all steps in which the learning rate rises."""

    gradient_clip: Annotated[float, Field(ge=0, lt=1e30)] = 1.0
    """Largest norm of a step's gradient; 0 = no limit."""

    shift_bp: CountOrZero = 0
    """Training examples are shifted at random by up to this many bp, N filling the gap; 0 = not."""

    weight_average: Fraction = 0.0
    """Decay of an exponential moving average of the weights, such as 0.99. The average is then
    validated and saved; 0 = the weights themselves."""

    patience: Count = 5
    """Epochs after which training stops if none lowers the validation loss by more than 0.0001."""

    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0
    """Minutes between checkpoints within an epoch (0 = after each step); one more is written when
    the epoch has been validated."""

    class_weights: Literal["balanced", "none"] = "balanced"
    """``balanced`` gives rare classes as much weight in the loss as common ones; not for
    regression."""

    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = 0.5
    """Probability from which on a class is predicted, for tasks of two classes or several labels
    per example. ``auto`` = that with the highest MCC on the validation part, of each label its
    own; it is saved with the model."""

    init_from: Annotated[str | None, Field(examples=["runs/pretrained"])] = None
    """The model whose encoder the training starts from: a folder, hf://owner/name, or the name of a
    model that comes with this package. It decides the sizes in [model] and the [tokenizer]. Left
    out = random weights."""

    freeze: Literal["none", "encoder"] = "none"
    """``encoder``: the weights from ``init_from`` stay as they are."""

    encoder_lr_factor: Annotated[float, Field(gt=0, lt=1e6)] = 1.0
    """The learning rate of the encoder is so many times that of the other weights."""

    keep_head: bool = False
    """Also start from the head of ``init_from``: its classes keep their weights, and new ones are
    added."""

    @model_validator(mode="after")
    def _check_start(self) -> "TrainingSettings":
        for name in ("freeze", "keep_head"):
            value = getattr(self, name)
            if self.init_from is None and value not in ("none", False):
                raise ConfigError(
                    f"training.{name} is {as_toml(value)}, but there is nothing to keep: "
                    "training.init_from is not set. Set it too, or leave both out."
                )
        if self.freeze == "encoder" and self.encoder_lr_factor != 1:
            raise ConfigError(
                f"training.encoder_lr_factor is {self.encoder_lr_factor:g}, but has no effect: "
                "training.freeze is 'encoder'. Leave one of them out."
            )
        return self

    @field_validator("time_budget", mode="before")
    @classmethod
    def _check_time_budget(cls, value: object) -> object:
        if value is not None and not (isinstance(value, str) and read_duration(value)):
            raise ConfigError(
                f"training.time_budget is {as_toml(value)}, but must be a time above 0 with its "
                "unit (s, min or h). For example: 10min."
            )
        return value


class DataSettings(Settings):
    """The split into training and held-out examples, and the task."""

    section: ClassVar[str] = "data"

    split: Literal["auto", "column", "group", "stratified"] = "auto"
    """auto = the split column of the labels if there is one, else by group if there is a group
    column, else at random within each class."""

    group: str = "group"
    """Column of the labels file; examples with the same value stay in one part."""

    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the examples held out if the labels file does not say which."""

    window_bp: CountOrZero = 0
    """Labelled records and intervals are cut into windows of this many bp, the last one flush with
    their end; windows of one record stay in one part. 0 = they are not cut."""

    step_bp: CountOrZero = 0
    """From the start of one window to the start of the next; 0 = ``window_bp``."""

    identity: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Estimated nucleotide identity from which on the leakage audit takes two examples of different
    parts as near-duplicates; that of ``split --by homology``."""

    task: Literal["auto", "classification", "regression"] = "auto"
    """Labels are names of classes, or numbers to be predicted. auto = regression if all labels are
    numbers, some are not whole and at least 20 differ."""

    unlabelled: Literal["error", "skip"] = "error"
    """Records without a label, and lines of the labels without a record: refuse them, or leave them
    out."""

    min_class_size: Count = 1
    """Examples of classes that have fewer examples than this are left out."""

    duplicate_names: Literal["error", "number"] = "error"
    """Names that are twice in one file: refuse them, or number the repeats (a_2, a_3) and leave out
    identical copies."""

    full_names: bool = False
    """The name of a record is its whole header, not only the part before the first blank."""

    @model_validator(mode="after")
    def _check_windows(self) -> "DataSettings":
        if self.step_bp and not self.window_bp:
            raise ConfigError(
                f"data.step_bp is {self.step_bp}, but has no effect: data.window_bp is 0. Set it "
                "too, or leave both out."
            )
        if self.windows is not None and self.split == "stratified":
            raise ConfigError(
                "data.split is 'stratified', which divides the windows of a record, but with "
                "data.window_bp they must stay in one part. Set data.split to 'group' or 'auto'."
            )
        return self

    @property
    def windows(self) -> Windows | None:
        """The windows that examples are cut into, if any."""
        return Windows.of(self.window_bp, self.step_bp)

    @property
    def names(self) -> NameOptions:
        """How records are named."""
        return NameOptions(self.duplicate_names, self.full_names)


class CurriculumSettings(Settings):
    """Short sequences first, longer ones in later stages (see ``curriculum``)."""

    section: ClassVar[str] = "curriculum"

    segments: tuple[Count, ...] = ()
    """Segments that examples are shortened to in each stage, increasing; empty = no curriculum."""

    shorten: Literal["", "prefix", "random_window", "around"] = ""
    """The part that remains: the first bases, a random window, or the middle. Required if there are
    stages: labels must hold for that part. Simulated examples are made in the length of a stage."""

    metric: Literal["accuracy", "mcc", "auroc", "pearson", "r2"] = "accuracy"
    """Metric for ``advance_at``, on the validation part, shortened as in the stage."""

    advance_at: float = 0.9
    """The next stage begins when the metric reaches this value."""

    patience: Count = 5
    """Epochs without a lower validation loss after which the next stage begins anyway."""

    mix: Fraction = 0.2
    """Fraction of the training examples that are shortened as in a random earlier stage."""

    @model_validator(mode="after")
    def _check_stages(self) -> "CurriculumSettings":
        if any(stage >= following for stage, following in pairwise(self.segments)):
            raise ConfigError(
                f"curriculum.segments is {list(self.segments)}, but must increase from stage to "
                "stage. For example: [1, 2, 4, 8]."
            )
        for name, value in self:
            if not self.segments and value != type(self).model_fields[name].default:
                raise ConfigError(
                    f"curriculum.{name} is {as_toml(value)}, but has no effect: "
                    "curriculum.segments is empty. Set it too, or leave both out."
                )
        return self


class SimulationSettings(Settings):
    """Fresh simulated examples in each epoch, made of the given genomes; without labels."""

    section: ClassVar[str] = "simulation"

    task: Literal["", "mosaic", "memorise", "detect", "two_facts", "order"] = ""
    """What the label says, as in ``rmt-genomics simulate``; empty = labelled examples."""

    length_bp: Count | tuple[Count, ...] = 8192
    """Length of an example in bp, or [shortest, longest]: drawn from four lengths per doubling,
    each as likely. Shorter source records are not used."""

    examples_per_epoch: Count = 3000
    """Examples of the training part in an epoch; those of the next epoch are others."""

    validation_examples: Count = 600
    """Examples of the validation part, and as many of the test part; always the same."""

    groups: str = ""
    """Table with the header record, group, such as species: a group is in one part of the split,
    and the sources of a mosaic are of two groups; empty = each record is its own group."""

    gc_difference: Fraction = 0.0
    """Least difference in GC fraction between the two sources of a mosaic when training begins; it
    falls to 0 at half of ``training.max_epochs``."""

    @property
    def is_on(self) -> bool:
        """Whether examples are simulated."""
        return bool(self.task)

    @property
    def length_range_bp(self) -> tuple[int, int]:
        """The shortest and the longest length of an example in bp."""
        if isinstance(self.length_bp, int):
            return self.length_bp, self.length_bp
        shortest, longest = self.length_bp
        return shortest, longest

    @model_validator(mode="after")
    def _check_simulation(self) -> "SimulationSettings":
        for name, value in self:
            if not self.is_on and value != type(self).model_fields[name].default:
                raise ConfigError(
                    f"simulation.{name} is {as_toml(value)}, but has no effect: simulation.task is "
                    "empty. Set it too, or leave both out."
                )
        if not isinstance(self.length_bp, int) and not (
            len(self.length_bp) == 2 and self.length_bp[0] < self.length_bp[1]
        ):
            raise ConfigError(
                f"simulation.length_bp is {as_toml(self.length_bp)}, but must be a whole number or "
                "[shortest, longest]. For example: [8192, 32768]."
            )
        if self.gc_difference and self.task != "mosaic":
            raise ConfigError(
                f"simulation.gc_difference is {as_toml(self.gc_difference)}, but has no effect: "
                f"the task {self.task} does not join two sources. Leave it out."
            )
        return self


class ExperimentConfig(Settings):
    """All settings of a run; the content of one TOML file."""

    model: ModelSettings = ModelSettings()
    """Size and architecture of the classifier."""

    tokenizer: TokenizerSettings = TokenizerSettings()
    """The conversion of bases into tokens."""

    training: TrainingSettings = TrainingSettings()
    """Optimisation and resources."""

    data: DataSettings = DataSettings()
    """The split into training and held-out examples, and the task."""

    curriculum: CurriculumSettings = CurriculumSettings()
    """Short sequences first."""

    simulation: SimulationSettings = SimulationSettings()
    """Fresh simulated examples in each epoch."""

    pretraining: PretrainingSettings = PretrainingSettings()
    """The bases that ``pretrain`` hides."""

    @model_validator(mode="after")
    def _check_combinations(self) -> "ExperimentConfig":
        try:
            self.classifier(("any", "other"), "binary")
        except ConfigError as error:
            raise ConfigError(f"model.{error}") from error
        if self.simulation.is_on:
            self._check_simulation()
        elif self.curriculum.segments and not self.curriculum.shorten:
            raise ConfigError(
                "curriculum.shorten is not set, but must say which part of a long example remains "
                "in the stages of curriculum.segments: 'prefix', 'random_window' or 'around'. "
                "The label must hold for that part."
            )
        return self

    def _check_simulation(self) -> None:
        """Raise ConfigError at a setting that has no effect on simulated examples."""
        of_genomes = ("identity", "duplicate_names", "full_names")
        without_effect = [
            ("data", name)
            for name, value in self.data
            if name not in of_genomes and value != getattr(DataSettings(), name)
        ]
        if self.curriculum.shorten:
            without_effect.append(("curriculum", "shorten"))
        if self.training.time_budget is not None:
            raise ConfigError(
                f"training.time_budget is {self.training.time_budget!r}, but cannot be kept with "
                f"the examples of simulation.task: their number is simulation.examples_per_epoch. "
                "Leave it out, and set that and training.max_epochs."
            )
        for name in ("examples_per_epoch", "validation_examples"):
            if (value := getattr(self.training, name)) is not None:
                raise ConfigError(
                    f"training.{name} is {value}, but has no effect on the examples of "
                    f"simulation.task: as many are made as simulation.{name} says "
                    f"({getattr(self.simulation, name)}). Set that instead."
                )
        for section, name in without_effect:
            reason = "they are made in the length of each stage"
            if section == "data":
                reason = "their labels, and the parts of their source records, are known"
            raise ConfigError(
                f"{section}.{name} is {as_toml(getattr(getattr(self, section), name))}, but has no "
                f"effect on the examples of simulation.task: {reason}. Leave it out."
            )

    def check_no_labels(self) -> None:
        """Raise ConfigError if labels that are given would be ignored."""
        if self.simulation.is_on:
            raise ConfigError(
                f"--labels is given, but simulation.task is {self.simulation.task!r}, which makes "
                "labelled examples of the genomes. Leave out one of them."
            )

    def resolved(self) -> "ExperimentConfig":
        """Return the same settings with what the preset and ``auto`` mean filled in."""
        model = self.model.resolved()
        return self if model is self.model else self.replace(model=model)

    def with_windows(self, window_bp: int | None, step_bp: int | None) -> "ExperimentConfig":
        """Return the same settings with these windows; None keeps those of the settings."""
        given = {"window_bp": window_bp, "step_bp": step_bp}
        changes = {name: value for name, value in given.items() if value is not None}
        data = self.data.model_dump(exclude_unset=True)
        return self.replace(data=DataSettings(**{**data, **changes})) if changes else self

    def classifier(self, classes: Sequence[str], task: str, **of_data: Any) -> ClassifierConfig:
        """Return the config of a model for these labels.

        ``of_data`` is what else the training data decide: ``min_train_bp``, ``max_train_bp``, and
        ``target_mean`` and ``target_std`` of a regression. (``training.backbone`` adds encoders.)
        """
        unused = {"preset", *BackboneSettings.model_fields}
        model = {name: value for name, value in self.model.resolved() if name not in unused}
        if model["features"] == "none":
            model["features"] = ()
        return ClassifierConfig(
            classes=tuple(classes),
            task=task,  # type: ignore[arg-type]  # checked there
            tokenizer_kind=self.tokenizer.kind,
            k=self.tokenizer.k,
            stride=self.tokenizer.stride,
            **of_data,
            **model,
        )

    def given(self) -> dict[str, object]:
        """Return the settings that were not left at their defaults, by dotted key."""
        set_keys = {
            f"{section}.{name}" for section, settings in self for name in settings.model_fields_set
        }
        return {key: value for key, value in self.flat().items() if key in set_keys}

    def flat(self) -> dict[str, object]:
        """Return every setting by its dotted key, such as ``model.dim``; None = by the preset."""
        return {
            f"{section}.{name}": value for section, settings in self for name, value in settings
        }
