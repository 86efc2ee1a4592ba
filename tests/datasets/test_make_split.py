"""Methods of splitting and their groups; the labels table with new columns."""

import csv
import gzip
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.make_split import (
    METHODS,
    add_columns,
    assign_groups,
    default_method,
    format_table,
)
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError
from tests.datasets.toys import MemoryStore, dna, whole

STORE = MemoryStore({"r0": dna(500, 0), "r1": dna(500, 0), "r2": dna(500, 2)})
PLAIN, GROUPED = whole(STORE), whole(STORE, group="g")
PARTED = whole(STORE, split="train")


def groups(examples: list[Example], way: str, clusters: Path | None = None) -> list[str | None]:
    examples = list(examples)
    assign_groups(examples, way, clusters)
    return [item.group for item in examples]


def test_each_method_has_its_groups(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("r0\tr0\nr0\tr2\nr1\tr1\n")

    assert groups(PLAIN, "homology", tmp_path / "c.tsv") == ["r0", "r1", "r0"]
    assert groups(PLAIN, "record") == ["r0", "r1", "r2"]
    assert groups(PLAIN, "stratified") == [None] * 3
    assert groups(GROUPED, "group") == ["g"] * 3
    assert groups(PARTED, "column") == [None] * 3


def test_intervals_of_a_record_are_together() -> None:
    places = [("r0", 0), ("r2", 0), ("r0", 100)]
    examples = [
        Example(Interval(record, start, start + 50), whole=False, labels=("a",))
        for record, start in places
    ]

    assert groups(examples, "record") == ["r0", "r2", "r0"]


def test_the_default_method_uses_the_columns_of_the_labels() -> None:
    assert [default_method(examples) for examples in (PLAIN, GROUPED, PARTED)] == [
        "homology",
        "group",
        "column",
    ]


@pytest.mark.parametrize("way", sorted(set(METHODS) - {"column"}))
def test_an_existing_split_is_not_replaced(way: str) -> None:
    message = f"the labels have a split column, but a split by {way} would replace it. Remove the"
    with pytest.raises(DataError, match=message):
        assign_groups(PARTED, way)


@pytest.mark.parametrize(
    ("way", "would"),
    [("homology", "replace it"), ("record", "replace it"), ("stratified", "divide the groups")],
)
def test_existing_groups_are_not_lost(way: str, would: str) -> None:
    message = f"the labels have a group column, but a split by {way} would {would}. Remove the"
    with pytest.raises(DataError, match=re.escape(message)):
        assign_groups(GROUPED, way)


@pytest.mark.parametrize("way", sorted(set(METHODS) - {"homology"}))
def test_clusters_are_for_homology_only(way: str) -> None:
    message = f"c.tsv: clusters are given, but only a split by homology uses them, not by {way}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        assign_groups(PLAIN, way, Path("c.tsv"))


NEW = {"group": ["g1", "g2"], "split": ["train", "test"]}
CASES = {
    "tabs": (
        "record\tlabel\nr1\ta\nr2\tb\n",
        "record\tlabel\tgroup\tsplit\nr1\ta\tg1\ttrain\nr2\tb\tg2\ttest\n",
    ),
    "comments, blank lines, no end": (
        "# from\tx\n\nrecord\tlabel\nr1\ta\n\nr2\t#b",
        "# from\tx\n\nrecord\tlabel\tgroup\tsplit\nr1\ta\tg1\ttrain\n\nr2\t#b\tg2\ttest",
    ),
    "Windows": (
        "\ufeffrecord\tlabel\r\nr1\ta\r\nr2\tb\r\n",
        "\ufeffrecord\tlabel\tgroup\tsplit\r\nr1\ta\tg1\ttrain\r\nr2\tb\tg2\ttest\r\n",
    ),
    "a column there already": (
        "split\tlabel\trecord\ntrain\ta\t1\ntrain\tb\t2\n",
        "split\tlabel\trecord\tgroup\ntrain\ta\t1\tg1\ntest\tb\t2\tg2\n",
    ),
    "quotes and a cell over three lines": (
        'record\tlabel\n"r1"\t"a\nb\r\nc"\nr2\t"d ""e"""\n',
        'record\tlabel\tgroup\tsplit\n"r1"\t"a\nb\r\nc"\tg1\ttrain\nr2\t"d ""e"""\tg2\ttest\n',
    ),
    "a filled column beside quotes": (
        'split\tlabel\trecord\ntrain\t"a\tb"\t"1"\n"train"\t\t2\n',
        'split\tlabel\trecord\tgroup\ntrain\t"a\tb"\t"1"\tg1\ntest\t\t2\tg2\n',
    ),
    "commas": (
        'record,label\n"r,1",a\nr2,b\n',
        'record,label,group,split\n"r,1",a,g1,train\nr2,b,g2,test\n',
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore:.*quoted cell over several lines")
def test_columns_are_added_or_filled(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "l.tsv").write_bytes(before.encode())

    assert add_columns(tmp_path / "l.tsv", NEW) == after


def test_a_compressed_table_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "l.tsv.gz").write_bytes(gzip.compress(CASES["tabs"][0].encode()))

    assert add_columns(tmp_path / "l.tsv.gz", NEW) == CASES["tabs"][1]


def test_a_value_with_a_comma_is_quoted_in_csv(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("record,label\nr1,a\n")

    assert add_columns(tmp_path / "l.csv", {"group": ["x,y"]}) == 'record,label,group\nr1,a,"x,y"\n'


cells = st.text(st.characters(codec="utf-8", exclude_characters='\t\r\n#\ufeff"'), max_size=5)
any_text = st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff"), max_size=5)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_removing_the_added_columns_restores_the_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    before = "\n".join(["record\tlabel", *(f"x{one}\t{other}x" for one, other in rows)])
    path = tmp_path_factory.mktemp("labels") / "l.tsv"
    path.write_text(before, encoding="utf-8", newline="")

    after = add_columns(path, {"split": ["train"] * len(rows)})

    assert after is not None
    assert [line.rsplit("\t", 1)[0] for line in after.split("\n")] == before.split("\n")


@pytest.mark.filterwarnings("ignore:.*quoted cell over several lines")
@given(rows=st.lists(st.tuples(any_text, any_text), min_size=1, max_size=4))
def test_a_column_is_filled_and_other_cells_written_by_csv_stay(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerows([["record", "split", "label"], *((f"x{a}", "old", f"x{b}") for a, b in rows)])
    path = tmp_path_factory.mktemp("labels") / "l.tsv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")

    after = add_columns(path, {"split": ["new"] * len(rows)})

    assert after == text.getvalue().replace("\told\t", "\tnew\t")


@pytest.mark.parametrize("text", ["chr1\t0\t9\ta\n", "#chrom\tstart\tend\tname\n", "chr1 0 9 a\n"])
def test_a_bed_file_has_no_header_to_add_to(tmp_path: Path, text: str) -> None:
    (tmp_path / "l.bed").write_text(text)

    assert add_columns(tmp_path / "l.bed", NEW) is None


def test_a_new_table_has_the_same_examples() -> None:
    whole = [Example(Interval("r", 0, 9), whole=True, labels=("a", "b"))]
    part = [Example(Interval("r", 2, 5, "-"), whole=False, labels=("a",))]

    assert format_table(whole, {"split": ["test"]}) == "record\tlabel\tsplit\nr\ta;b\ttest\n"
    assert format_table(part, {"group": ["g"], "split": ["train"]}) == (
        "record\tstart\tend\tstrand\tlabel\tgroup\tsplit\nr\t2\t5\t-\ta\tg\ttrain\n"
    )
