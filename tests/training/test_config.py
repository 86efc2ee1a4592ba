from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from rmt_genomics.errors import ConfigError
from rmt_genomics.training.config import (
    PRESETS,
    ExperimentConfig,
    ModelSettings,
    Range,
    TokenizerSettings,
    TrainingSettings,
    check_fields,
)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_missing_numbers(name: str) -> None:
    model = ExperimentConfig(model=ModelSettings(preset=name)).resolved().model

    assert (model.dim, model.depth, model.heads) == (
        PRESETS[name].dim,
        PRESETS[name].depth,
        PRESETS[name].heads,
    )
    assert model.segment_length == PRESETS[name].segment_length
    assert model.num_memory_tokens == PRESETS[name].num_memory_tokens


def test_an_explicit_key_wins_over_the_preset() -> None:
    config = ExperimentConfig(model=ModelSettings(preset="base", depth=2))

    assert config.resolved().model.depth == 2
    assert config.resolved().model.dim == PRESETS["base"].dim
    assert config.classifier(("a", "b"), "binary").depth == 2


def test_resolving_fills_in_everything_and_is_idempotent() -> None:
    resolved = ExperimentConfig().resolved()

    assert None not in resolved.flat().values()
    assert resolved.resolved() == resolved


def test_resolving_does_not_change_the_model() -> None:
    config = ExperimentConfig(model=ModelSettings(preset="tiny", heads=4))

    assert config.resolved().classifier(("a", "b"), "binary") == config.classifier(
        ("a", "b"), "binary"
    )


def test_model_and_tokenizer_settings_reach_the_classifier() -> None:
    config = ExperimentConfig(
        model=ModelSettings(
            dim=12,
            depth=2,
            heads=3,
            segment_length=7,
            num_memory_tokens=5,
            strand_head="symmetric",
            pooling="max",
            stem_width=5,
            dropout=0.25,
            memory_gate=True,
        ),
        tokenizer=TokenizerSettings(kind="kmer", k=3, stride=2),
    )

    built = config.classifier(("a", "b", "c"), "multiclass")

    assert built.classes == ("a", "b", "c")
    assert (built.dim, built.depth, built.heads) == (12, 2, 3)
    assert (built.segment_length, built.num_memory_tokens) == (7, 5)
    assert (built.strand_head, built.pooling, built.stem_width) == ("symmetric", "max", 5)
    assert (built.dropout, built.memory_gate) == (0.25, True)
    assert (built.tokenizer_kind, built.k, built.stride) == ("kmer", 3, 2)


def test_contradicting_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.dim \(10\) must be a multiple of model.*\(4\)"):
        ExperimentConfig(model=ModelSettings(dim=10))
    with pytest.raises(ConfigError, match=r"^model\.dim \(12\) divided by model\.heads \(4\) is 3"):
        ExperimentConfig(model=ModelSettings(dim=12))
    with pytest.raises(ConfigError, match=r"^model\.stem_width is 4, but must be odd"):
        ExperimentConfig(model=ModelSettings(stem_width=4))


def test_contradicting_tokenizer_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.k is 6 .* must be 1 for tokenizer\.kind 'b"):
        TokenizerSettings(k=6)


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"training\.learning_rate is 0\.0, but must be .* above 0"
    ):
        TrainingSettings(learning_rate=0.0)


@dataclass(frozen=True)
class Toy:
    count: Annotated[int, Range(at_least=1)] = 1
    fraction: Annotated[float, Range(at_least=0, below=1)] = 0.0
    speed: float = 1.0
    name: str = "x"
    is_on: bool = False
    depth: Annotated[int, Range(at_least=1)] | Literal["all"] = "all"
    size: int | None = None
    stages: tuple[Annotated[int, Range(at_least=1)], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "toy")


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("count", 0, "toy.count is 0, but must be a whole number of at least 1."),
        ("count", 2.0, "toy.count is 2.0, but must be a whole number"),
        ("count", True, "toy.count is true, but must be a whole number"),
        ("count", "3", "toy.count is '3', but must be a whole number"),
        ("fraction", 1.0, "toy.fraction is 1.0, but must be a number at least 0 and below 1."),
        ("fraction", float("nan"), "toy.fraction is nan, but must be a number"),
        ("speed", float("inf"), "toy.speed is inf, but must be a number"),
        ("name", 3, "toy.name is 3, but must be text"),
        ("is_on", 1, "toy.is_on is 1, but must be true or false"),
        ("depth", "most", "toy.depth is 'most', but must be a whole number of at least 1 or 'all'"),
        ("size", "big", "toy.size is 'big', but must be a whole number."),
        (
            "stages",
            3,
            "toy.stages is 3, but must be a list, each element a whole number of at least",
        ),
        ("stages", [1, 0], "toy.stages is [1, 0], but must be a list, each element a whole number"),
        ("stages", [1.5], "toy.stages is [1.5], but must be a list"),
    ],
)
def test_a_wrong_value_is_reported_with_the_rule(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError) as error:
        Toy(**{field: value})

    assert rule in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", 3), ("fraction", 0.5), ("depth", 2), ("depth", "all"), ("size", None), ("size", 4)],
)
def test_an_allowed_value_is_kept(field: str, value: Any) -> None:
    assert getattr(Toy(**{field: value}), field) == value


def test_a_whole_number_for_a_float_becomes_a_float() -> None:
    assert isinstance(Toy(fraction=0).fraction, float)
    assert isinstance(Toy(speed=2).speed, float)


def test_a_list_of_a_toml_file_becomes_a_tuple() -> None:
    assert Toy(stages=[1, 2]).stages == (1, 2)  # type: ignore[arg-type]
