from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from rmt_genomics.errors import ConfigError
from rmt_genomics.training.config import Range, check_fields


@dataclass(frozen=True)
class Toy:
    count: Annotated[int, Range(at_least=1)] = 1
    share: Annotated[float, Range(at_least=0, below=1)] = 0.0
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
        ("share", 1.0, "toy.share is 1.0, but must be a number at least 0 and below 1."),
        ("share", float("nan"), "toy.share is nan, but must be a number"),
        ("speed", float("inf"), "toy.speed is inf, but must be a number"),
        ("name", 3, "toy.name is 3, but must be text"),
        ("is_on", 1, "toy.is_on is 1, but must be true or false"),
        ("depth", "most", "toy.depth is 'most', but must be a whole number of at least 1 or 'all'"),
        ("size", "big", "toy.size is 'big', but must be a whole number."),
        ("stages", 3, "toy.stages is 3, but must be a list, each of it a whole number of at least"),
        ("stages", [1, 0], "toy.stages is [1, 0], but must be a list, each of it a whole number"),
        ("stages", [1.5], "toy.stages is [1.5], but must be a list"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_the_rule(
    field: str, value: Any, rule: str
) -> None:
    with pytest.raises(ConfigError) as error:
        Toy(**{field: value})

    assert rule in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", 3), ("share", 0.5), ("depth", 2), ("depth", "all"), ("size", None), ("size", 4)],
)
def test_a_value_within_its_rule_is_kept(field: str, value: Any) -> None:
    assert getattr(Toy(**{field: value}), field) == value


def test_a_whole_number_for_a_float_becomes_a_float() -> None:
    assert isinstance(Toy(share=0).share, float)
    assert isinstance(Toy(speed=2).speed, float)


def test_a_list_of_a_toml_file_becomes_a_tuple() -> None:
    assert Toy(stages=[1, 2]).stages == (1, 2)  # type: ignore[arg-type]
