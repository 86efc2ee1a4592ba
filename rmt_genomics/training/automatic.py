"""Settings chosen by the data: those that are not given.

They follow from the lengths and the number of examples, never from the speed of the machine, so
that the same command has the same result everywhere. Each has a reason, which ``config.toml`` and
``plan`` show. Times behind them are those of two common CPU cores.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_genomics.errors import ConfigError
from rmt_genomics.model.config import fitting_sizes
from rmt_genomics.model.initial_weights import InitialModel
from rmt_genomics.model.settings import as_toml
from rmt_genomics.training.config import PRESETS, ExperimentConfig, SimulationSettings
from rmt_genomics.training.data_module import PreparedData

logger = logging.getLogger("rmt_genomics.training")

SHORT_BP = 1024
MANY_SHORT = 2000  # examples of at most that length
_STEM_POOLS = ((2048, 4), (8192, 8), (65_536, 16))  # longest examples in bp, positions merged
_STEM_POOL_BEYOND = 32
_SEGMENT = 128  # tokens after the stem
_HEADS = 4
_BATCH_BP = 1 << 20
_SMALL_DATA_BP, _SECONDS, _SECONDS_OF_LARGE_DATA = 50_000_000, 240, 400
_MIN_EPOCHS, _MAX_EPOCHS, _STEPS = 8, 60, 4000
_STEP_SECONDS, _PATIENT_STEPS = 0.03, 1000
_BACKBONE_TOKEN_BP = 6  # bases in a token of most pretrained encoders
_STEM_SECONDS, _LAYER_SECONDS, _LAST_SECONDS = 8e-9, 1.7e-7, 8e-8  # per feature; per bp or token


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """The examples of a training, on which the choices are based."""

    lengths_bp: Sequence[int]
    """Of the training examples."""

    num_validation: int
    is_simulated: bool = False
    """Fresh examples in each epoch: there is no end to them, and an epoch is what is asked for."""

    @classmethod
    def of(cls, data: PreparedData) -> "TrainingPart":
        """Return the summary of examples that do not change."""
        lengths_bp = [len(example.interval) for example in data.split.train]
        return cls(lengths_bp, len(data.split.validation))

    @classmethod
    def of_simulation(cls, settings: SimulationSettings) -> "TrainingPart":
        """Return the summary of fresh examples, all of the greatest length."""
        lengths_bp = [settings.length_range_bp[1]] * settings.examples_per_epoch
        return cls(lengths_bp, settings.validation_examples, is_simulated=True)

    @property
    def typical_bp(self) -> int:
        """The length that nine of ten examples do not exceed."""
        return int(np.quantile(self.lengths_bp, 0.9))

    @property
    def has_many_short(self) -> bool:
        """Whether there are so many short examples that rare motifs can be told from chance."""
        return self.typical_bp <= SHORT_BP and len(self.lengths_bp) >= MANY_SHORT

    @property
    def total_bp(self) -> int:
        """Of all training examples."""
        return sum(self.lengths_bp)


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of a setting, and why."""

    value: Any
    reason: str


def choose(config: ExperimentConfig, data: TrainingPart) -> dict[str, Choice]:
    """Return the settings that are not given by dotted key, but for ``model.features``.

    ``config`` has the given ones; the choices fit them and each other.
    """
    given = config.given()
    choices: dict[str, Choice] = {}

    def take(found: Mapping[str, Choice]) -> None:
        choices.update({key: choice for key, choice in found.items() if key not in given})

    def value(key: str) -> Any:
        return choices[key].value if key in choices else config.resolved().flat()[key]

    take(_stem(config, data))
    if "model.preset" not in given:
        take(_sizes(config, data, value("model.stem_pool")))
    take(_regularisation(data))
    take(_batch(data))
    token_bp = value("model.stem_pool") * config.tokenizer.stride
    if config.model.backbone is not None:
        take({"training.learning_rate": Choice(1e-4, "a pretrained encoder is fine-tuned")})
        token_bp = _BACKBONE_TOKEN_BP
    seconds_per_bp = cost(value("model.dim"), value("model.depth"), token_bp)
    batch_size = value("training.batch_size")
    if batch_size == "auto":  # will be measured
        batch_size = _batch(data)["training.batch_size"].value
    if config.training.time_budget is None:
        take(_epochs(data, batch_size, seconds_per_bp))
    else:
        take({"training.max_epochs": Choice(_MAX_EPOCHS, "at most; the time budget settles it")})
        take({"training.weight_average": Choice(0.99, "the average of about 100 steps")})
    return choices


def cost(dim: int, depth: int, token_bp: int) -> float:
    """Return the seconds of training for a base pair, both strands."""
    layers = _LAYER_SECONDS * (depth - 1) + _LAST_SECONDS
    return dim * (_STEM_SECONDS + layers / token_bp)


def _stem(config: ExperimentConfig, data: TrainingPart) -> dict[str, Choice]:
    typical, stride = data.typical_bp, config.tokenizer.stride
    longest = f"nine of ten training examples have at most {typical:,} bp"
    pool = next((pool for bp, pool in _STEM_POOLS if typical <= bp), _STEM_POOL_BEYOND)
    pool = max(1, pool // stride)
    width = 19 if typical <= SHORT_BP else 11
    if config.given().get("model.stem_width", width) == 0:
        return {"model.stem_pool": Choice(1, "there is no stem")}
    return {
        "model.stem_width": Choice(width, longest),
        "model.stem_pool": Choice(pool, longest),
    }


def _sizes(config: ExperimentConfig, data: TrainingPart, stem_pool: int) -> dict[str, Choice]:
    tokens = -(-data.typical_bp // (stem_pool * config.tokenizer.stride))
    segment = min(_SEGMENT, -(-tokens // 32) * 32)
    dim = 128 if data.typical_bp <= SHORT_BP else 64
    why = "short examples: one or a few segments" if tokens <= _SEGMENT else "long examples"
    fitted = fitting_sizes({"dim": dim, "heads": _HEADS}, config.model.dim, config.model.heads)
    fits = "fits the {} given; a head must have an even width"
    return {
        "model.dim": Choice(
            fitted["dim"], why if fitted["dim"] == dim else fits.format("model.heads")
        ),
        "model.depth": Choice(1, "as good as more layers in the time of a default training"),
        "model.heads": Choice(
            fitted["heads"], why if fitted["heads"] == _HEADS else fits.format("model.dim")
        ),
        "model.segment_length": Choice(segment, f"examples have about {tokens:,} tokens"),
        "model.num_memory_tokens": Choice(8, why),
        "model.pooling": Choice("mean", "evidence may be anywhere in the sequence"),
    }


def _regularisation(data: TrainingPart) -> dict[str, Choice]:
    n = len(data.lengths_bp)
    is_short = data.has_many_short
    is_large = not is_short and (n >= 5000 or data.is_simulated)
    reason = f"{n:,} short training examples" if is_short else f"{n:,} training examples"
    choices = {
        "model.dropout": Choice(0.1 if is_large else 0.2, reason),
        "training.weight_decay": Choice(0.1 if is_short else 0.05, reason),
        "training.learning_rate": Choice(2e-3, "one layer of small width"),
    }
    if is_short:
        choices["training.shift_bp"] = Choice(3, reason)
    return choices


def _batch(data: TrainingPart) -> dict[str, Choice]:
    n = len(data.lengths_bp)
    by_length = _BATCH_BP // max(1, data.typical_bp)
    size = max(4, min(128, by_length, n // 32))
    size = 1 << (size.bit_length() - 1)
    size = max(1, min(size, n))
    reason = f"{n:,} examples of up to {data.typical_bp:,} bp: about 1 Mb in a batch, 4 at least"
    return {"training.batch_size": Choice(size, reason)}


def _epochs(data: TrainingPart, batch_size: int, seconds_per_bp: float) -> dict[str, Choice]:
    n, total = len(data.lengths_bp), data.total_bp
    seconds = _SECONDS if total <= _SMALL_DATA_BP else _SECONDS_OF_LARGE_DATA
    steps_per_epoch = -(-n // batch_size)
    epoch_seconds = total * seconds_per_bp + steps_per_epoch * _STEP_SECONDS
    passes = min(seconds / epoch_seconds, max(1.0, _STEPS / steps_per_epoch))
    reason = (
        f"{total / 1e6:,.1f} Mb of training examples; about {passes * epoch_seconds:,.0f} "
        "s on two cores"
    )
    epochs = int(min(_MAX_EPOCHS, max(1, passes)))
    choices = {
        "training.max_epochs": Choice(epochs, reason),
        "training.weight_average": Choice(
            0.99 if epochs * steps_per_epoch >= 500 else 0.95, "the average of about 100 steps"
        ),
    }
    if passes < _MIN_EPOCHS and not data.is_simulated and n > 1:
        size = max(1, min(n, int(passes * n / _MIN_EPOCHS)))
        choices["training.max_epochs"] = Choice(_MIN_EPOCHS, reason)
        choices["training.examples_per_epoch"] = Choice(
            size, f"so that the model is validated {_MIN_EPOCHS} times"
        )
        validation = max(500, size // 4)
        if data.num_validation > validation:
            choices["training.validation_examples"] = Choice(
                validation, "validation takes a fraction of the time of training"
            )
    return choices


def patience(
    config: ExperimentConfig, choices: Mapping[str, Choice], num_examples: int
) -> dict[str, Choice]:
    """Return how long a network without features waits, which may be at chance for long at first.

    ``config`` has the given settings; ``num_examples`` are those of training.
    """
    settings = settled(config, choices).training
    if "training.patience" in config.given() or not isinstance(settings.batch_size, int):
        return {}
    steps = -(-(settings.examples_per_epoch or num_examples) // settings.batch_size)
    epochs = min(settings.max_epochs, -(-_PATIENT_STEPS // steps))
    if epochs <= settings.patience:
        return {}
    reason = f"{_PATIENT_STEPS:,} steps: without features, learning may begin late"
    return {"training.patience": Choice(epochs, reason)}


def read_initial(config: ExperimentConfig) -> tuple[ExperimentConfig, InitialModel | None]:
    """Read the model of ``training.init_from``, if any; return the settings with its sizes.

    Raises:
        CheckpointError: If there is no such model.
        ConfigError: If a given setting contradicts it.
    """
    source, keep_head = config.training.init_from, config.training.keep_head
    if source is None:
        return config, None
    if config.model.backbone is not None:
        raise ConfigError(
            f"model.backbone is {config.model.backbone!r}, but training.init_from is {source!r}: a "
            "training starts from one of them. Leave the other out."
        )
    initial = InitialModel.read(source)
    if keep_head:
        initial.check_has_head()
    given = config.given()
    if "model.preset" in given:
        sizes = PRESETS[config.model.preset].items()
        given = {f"model.{name}": value for name, value in sizes} | given
    sections = {name: section.model_dump(exclude_unset=True) for name, section in config}
    for key, value in initial.settings(keep_head=keep_head).items():
        if given.get(key) not in (None, value) or type(given.get(key, value)) is not type(value):
            raise ConfigError(
                f"{key} is {as_toml(given[key])}, but {as_toml(value)} in {source}, the model of "
                "training.init_from, which decides it. Leave it out."
            )
        section, _, name = key.partition(".")
        sections[section][name] = value
    made = {name: type(section)(**sections[name]) for name, section in config}
    return ExperimentConfig(**made), initial


def settled(config: ExperimentConfig, choices: Mapping[str, Choice]) -> ExperimentConfig:
    """Return the settings with the choices, the numbers of the preset filled in."""
    sections = {name: dict(section) for name, section in config.resolved()}
    for key, choice in choices.items():
        section, _, name = key.partition(".")
        sections[section][name] = choice.value
    return ExperimentConfig(**{name: type(section)(**sections[name]) for name, section in config})


def log_choices(choices: Mapping[str, Choice]) -> None:
    """Log the choices in one line."""
    if choices:
        text = ", ".join(f"{key} {shown(choice.value)}" for key, choice in choices.items())
        logger.info(f"chosen by the data (reasons in config.toml): {text}")


def shown(value: Any) -> str:
    """Format a value for a line of a log or a table."""
    if isinstance(value, tuple):
        return "+".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
