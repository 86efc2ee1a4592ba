"""What stays together, by each way of splitting; and what would be lost is refused."""

import re
from pathlib import Path

import pytest

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.make_split import WAYS, choose_way, regroup
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError
from tests.datasets.toys import MemoryStore, dna, whole

STORE = MemoryStore({"r0": dna(500, 0), "r1": dna(500, 0), "r2": dna(500, 2)})
PLAIN, GROUPED = whole(STORE), whole(STORE, group="g")
PARTED = whole(STORE, split="train")


def groups(examples: list[Example], way: str, clusters: Path | None = None) -> list[str | None]:
    return [each.group for each in regroup(STORE, examples, way, clusters)]


def test_each_way_has_its_groups(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("r0\tr0\nr0\tr2\nr1\tr1\n")

    assert groups(PLAIN, "homology") == ["r0", "r0", "r2"]
    assert groups(PLAIN, "homology", tmp_path / "c.tsv") == ["r0", "r1", "r0"]
    assert groups(PLAIN, "record") == ["r0", "r1", "r2"]
    assert groups(PLAIN, "stratified") == [None] * 3
    assert groups(GROUPED, "group") == ["g"] * 3
    assert regroup(STORE, PARTED, "column") == PARTED


def test_intervals_of_a_record_are_together() -> None:
    places = [("r0", 0), ("r2", 0), ("r0", 100)]
    examples = [
        Example(Interval(record, start, start + 50), whole=False, labels=("a",))
        for record, start in places
    ]

    assert groups(examples, "record") == ["r0", "r2", "r0"]


def test_the_way_is_chosen_by_what_is_there() -> None:
    assert [choose_way(examples) for examples in (PLAIN, GROUPED, PARTED)] == [
        "homology",
        "group",
        "column",
    ]


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"column"}))
def test_a_split_that_is_there_is_not_replaced(way: str) -> None:
    message = f"the labels have a split column, but a split by {way} would replace it. Take the"
    with pytest.raises(DataError, match=message):
        regroup(STORE, PARTED, way)


@pytest.mark.parametrize(
    ("way", "would"),
    [("homology", "replace it"), ("record", "replace it"), ("stratified", "divide the groups")],
)
def test_groups_that_are_there_are_not_lost(way: str, would: str) -> None:
    message = f"the labels have a group column, but a split by {way} would {would}. Take the column"
    with pytest.raises(DataError, match=re.escape(message)):
        regroup(STORE, GROUPED, way)


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"homology"}))
def test_clusters_are_for_homology_only(way: str) -> None:
    message = f"c.tsv: clusters are given, but only a split by homology uses them, not by {way}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        regroup(STORE, PLAIN, way, Path("c.tsv"))
