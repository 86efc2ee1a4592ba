import math
from datetime import date
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from rmt_genomics.errors import ConfigError
from rmt_genomics.model.settings import Count, Fraction, Settings
from rmt_genomics.training.config import (
    PRESETS,
    ExperimentConfig,
    ModelSettings,
    TokenizerSettings,
    TrainingSettings,
)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_missing_numbers(name: str) -> None:
    model = ExperimentConfig(model=ModelSettings(preset=name)).resolved().model

    assert PRESETS[name] == {key: getattr(model, key) for key in PRESETS[name]}


def test_an_explicit_key_wins_over_the_preset() -> None:
    config = ExperimentConfig(model=ModelSettings(preset="base", depth=2))

    assert config.resolved().model.depth == 2
    assert config.resolved().model.dim == PRESETS["base"]["dim"]
    assert config.classifier(("a", "b"), "binary").depth == 2


def test_resolving_fills_in_everything_and_is_idempotent() -> None:
    resolved = ExperimentConfig().resolved()

    empty = [name for name, value in resolved.model if value is None]
    assert empty == ["backbone"]
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
            memory_reset="segment",
        ),
        tokenizer=TokenizerSettings(kind="kmer", k=3, stride=2),
    )

    built = config.classifier(("a", "b", "c"), "multiclass")

    assert built.classes == ("a", "b", "c")
    assert (built.dim, built.depth, built.heads) == (12, 2, 3)
    assert (built.segment_length, built.num_memory_tokens) == (7, 5)
    assert (built.strand_head, built.pooling, built.stem_width) == ("symmetric", "max", 5)
    assert (built.dropout, built.memory_gate, built.memory_reset) == (0.25, True, "segment")
    assert (built.tokenizer_kind, built.k, built.stride) == ("kmer", 3, 2)


def test_contradicting_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.dim \(10\) must be a multiple of heads \(4\)"):
        ExperimentConfig(model=ModelSettings(dim=10, heads=4))
    with pytest.raises(
        ConfigError, match=r"^model\.dim \(12\) divided by heads \(4\) is 3, but must be even"
    ):
        ExperimentConfig(model=ModelSettings(dim=12, preset="base"))
    with pytest.raises(ConfigError, match=r"^model\.dim \(31\) must be even: rotary positions"):
        ExperimentConfig(model=ModelSettings(dim=31))
    with pytest.raises(ConfigError, match=r"^model\.stem_width is 4, but must be odd"):
        ExperimentConfig(model=ModelSettings(stem_width=4))


@pytest.mark.parametrize(
    ("given", "dim", "heads"),
    [
        *(({"dim": dim}, dim, heads) for dim, heads in ((30, 1), (12, 2), (8, 4), (256, 4))),
        *(({"heads": heads}, dim, heads) for heads, dim in ((3, 132), (1, 128), (100, 200))),
        ({"dim": 18, "heads": 3}, 18, 3),
    ],
)
def test_a_size_that_is_not_given_fits_the_given_one(
    given: dict[str, int], dim: int, heads: int
) -> None:
    model = ExperimentConfig(model=ModelSettings(**given)).resolved().model

    assert (model.dim, model.heads) == (dim, heads)


def test_contradicting_tokenizer_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.k is 6 .* must be 1 for tokenizer\.kind 'b"):
        TokenizerSettings(k=6)


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"training\.learning_rate is 0\.0, but must be .* above 0"
    ):
        TrainingSettings(learning_rate=0.0)


class Toy(Settings):
    """One setting of each type."""

    section: ClassVar[str] = "toy"

    count: Count = 1
    fraction: Fraction = 0.0
    speed: float = 1.0
    name: str = "x"
    is_on: bool = False
    gate: bool | Literal["hard"] = False
    depth: Count | Literal["all"] = "all"
    size: int | None = None
    stages: tuple[Count, ...] = ()


class Needy(Settings):
    """Settings with one that must be given, in no section."""

    names: tuple[str, ...]
    toy: Toy = Toy()


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
        ("stages", [1, True], "toy.stages is [1, true], but must be a list"),
        ("stages", {1}, "toy.stages is {1}, but must be a list"),
        ("stages", "12", "toy.stages is '12', but must be a list"),
        ("count", None, "toy.count is None, but must be a whole number"),
        ("count", [1], "toy.count is [1], but must be a whole number"),
        ("count", {"a": {"b": 1}}, "toy.count is {'a': {'b': 1}}, but must be a whole number"),
        ("count", 10**9 + 1, "toy.count is 1000000001, but must be at most 1,000,000,000."),
        ("speed", -math.inf, "toy.speed is -inf, but must be a number."),
        ("speed", True, "toy.speed is true, but must be a number."),
        ("speed", "1", "toy.speed is '1', but must be a number."),
        ("speed", 1j, "toy.speed is 1j, but must be a number."),
        ("gate", 1, "toy.gate is 1, but must be true or false or 'hard'."),
        ("gate", 0.0, "toy.gate is 0.0, but must be true or false or 'hard'."),
        ("is_on", "False", "toy.is_on is 'False', but must be true or false."),
        ("is_on", None, "toy.is_on is None, but must be true or false."),
        ("name", b"x", "toy.name is b'x', but must be text."),
        ("name", date(2020, 1, 2), "toy.name is datetime.date(2020, 1, 2), but must be text."),
        ("counts", 3, "unknown key 'toy.counts'. Did you mean 'toy.count'?"),
    ],
)
def test_a_wrong_value_is_reported_with_the_rule(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError) as error:
        Toy(**{field: value})

    assert rule in str(error.value)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize(
    ("field", "sign", "message"),
    [
        ("count", 1, "toy.count is {}, but must be at most 1,000,000,000."),
        ("count", -1, "toy.count is {}, but must be a whole number of at least 1."),
        ("depth", 1, "toy.depth is {}, but must be at most 1,000,000,000."),
        ("fraction", 1, "toy.fraction is {}, but must be a number at least 0 and below 1."),
        ("speed", -1, "toy.speed is {}, but must be a number."),
        ("name", 1, "toy.name is {}, but must be text."),
        ("is_on", 1, "toy.is_on is {}, but must be true or false."),
    ],
)
def test_a_number_too_long_to_print_is_refused(field: str, sign: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Toy(**{field: sign * 10**5000})

    assert str(error.value) == message.format("a whole number of about 5001 digits")


@pytest.mark.parametrize("value", ["x" * 10**6, ["x"] * 10**6, {str(i): i for i in range(10**5)}])
def test_a_message_stays_a_sentence_whatever_the_value(value: object) -> None:
    with pytest.raises(ConfigError) as error:
        Toy(count=value)

    assert len(str(error.value)) < 500
    assert "but must be a whole number of at least 1." in str(error.value)


def test_a_setting_that_must_be_given_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^names is not set, but must be a list, each element t"):
        Needy()


def test_a_section_that_is_not_a_table_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^toy is 3, but must be a table of settings\.$"):
        Needy(names=["a"], toy=3)
    with pytest.raises(ConfigError, match=r"^model is \[1\], but must be a table of settings\.$"):
        ExperimentConfig(model=[1])  # type: ignore[arg-type]


def test_a_mistake_in_a_section_is_reported_with_its_dotted_key() -> None:
    with pytest.raises(ConfigError, match=r"^toy\.count is 0, but must be a whole number of at "):
        Needy(names=["a"], toy={"count": 0})
    with pytest.raises(ConfigError, match=r"^unknown key 'toy\.size_\'. Did you mean 'toy\.size'"):
        Needy(names=["a"], toy={"size_": 0})
    with pytest.raises(ConfigError, match=r"^unknown key 'tooy'\. Did you mean 'toy'\?$"):
        Needy(names=["a"], tooy={})


def test_an_unknown_key_is_reported_before_the_value_that_is_wrong_because_of_it() -> None:
    with pytest.raises(ConfigError, match=r"^unknown key 'nams'\. Did you mean 'names'\?$"):
        Needy(nams=["a"])


def test_settings_cannot_be_changed_but_replaced_and_are_checked_again() -> None:
    toy = Toy(count=2)

    with pytest.raises(ValueError, match="frozen"):
        toy.count = 3  # type: ignore[misc]
    assert toy.replace(size=3) == Toy(count=2, size=3)
    with pytest.raises(ConfigError, match=r"^toy\.size is 'big', but must be a whole number"):
        toy.replace(size="big")


def test_numbers_of_numpy_are_taken_as_python_s() -> None:
    toy = Toy(count=np.int64(3), fraction=np.float32(0.5), is_on=np.True_, speed=np.int8(2))

    assert [type(value) for _, value in toy][:2] == [int, float]
    assert (toy.is_on, type(toy.speed)) == (True, float)
    assert toy == Toy(count=3, fraction=0.5, is_on=True, speed=2.0)
    with pytest.raises(ConfigError, match=r"toy\.count is 3\.0, but must be a whole number"):
        Toy(count=np.float64(3.0))
    with pytest.raises(ConfigError, match=r"toy\.fraction is nan, but must be a number"):
        Toy(fraction=np.float64("nan"))


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
