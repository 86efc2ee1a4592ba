"""Labels from a table or from the sequence files themselves. Refusals are in tests/fault."""

import gzip
from pathlib import Path

import pytest

from rmt_genomics.datasets import EncodedStore, Example, LabelSource
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def read(
    fasta: Path, word: str, pattern: str | None = None, *, group_column: str = "group"
) -> dict[str, tuple[str, ...]]:
    """Return the labels by example."""
    records = EncodedStore.open(fasta).records()
    examples = LabelSource(Path(word), pattern).read(records, group_column=group_column)
    return {example.name: example.labels for example in examples}


def test_a_path_is_a_labels_table(tmp_path: Path) -> None:
    fasta = write(tmp_path / "toy.fa", ">r1\nAC\n")
    table = write(tmp_path / "labels.csv", "label,record\nat,r1\n")

    source = LabelSource.of(table)

    assert (source.table, str(source)) == (table, str(table))
    assert source.read(EncodedStore.open(fasta).records()) == [
        Example(Interval("r1", 0, 2), whole=True, labels=("at",))
    ]


def test_column_is_that_of_the_sequence_table(tmp_path: Path) -> None:
    table = write(
        tmp_path / "toy.csv",
        "sequence,label,group,split,start\nAC,a;b,g1,train,7\nGGG,a,g2,test,9\n",
    )

    with pytest.warns(RMTGenomicsWarning, match="--labels column: 1 column not used: start"):
        result = LabelSource(Path("column")).read(EncodedStore.open(table).records())

    assert result == [
        Example(Interval("toy:0", 0, 2), whole=True, labels=("a", "b"), group="g1", split="train"),
        Example(Interval("toy:1", 0, 3), whole=True, labels=("a",), group="g2", split="test"),
    ]


def test_any_column_may_be_the_group(tmp_path: Path) -> None:
    table = write(tmp_path / "toy.csv", "sequence,label,genus\nAC,a,Vibrio\nGG,b,Yersinia\n")

    records = EncodedStore.open(table).records()
    result = LabelSource(Path("column")).read(records, group_column="genus")

    assert [example.group for example in result] == ["Vibrio", "Yersinia"]


def test_files_called_train_and_dev_are_the_parts_of_the_split(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        content = gzip.compress(b"sequence,label\nACGT,1\nGGCC,0\n")
        (tmp_path / f"{part}.csv.gz").write_bytes(content)
    records = EncodedStore.open(tmp_path).records()

    with pytest.warns(RMTGenomicsWarning, match="are taken as the parts of the split"):
        result = LabelSource(Path("column")).read(records)

    assert {example.name: example.split for example in result} == {
        "dev:0": "validation", "dev:1": "validation", "test:0": "test", "test:1": "test",
        "train:0": "train", "train:1": "train",
    }  # fmt: skip


def test_a_split_column_overrides_the_file_names(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        write(tmp_path / f"{name}.csv", "sequence,label,split\nAC,1,test\n")

    result = LabelSource(Path("column")).read(EncodedStore.open(tmp_path).records())

    assert {example.split for example in result} == {"test"}


@pytest.mark.parametrize("names", [("train", "more"), ("train",)])
def test_other_file_names_are_not_parts_of_the_split(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        write(tmp_path / f"{name}.csv", "sequence,label\nACGT,1\nGGCC,0\n")

    result = LabelSource(Path("column")).read(EncodedStore.open(tmp_path).records())

    assert {example.split for example in result} == {None}


@pytest.mark.parametrize(
    "header", ["r1 label=lytic", "r1 [label=lytic] phage", "r1|label=lytic", "r1 x label=lytic,y"]
)
def test_header_is_label_equals(tmp_path: Path, header: str) -> None:
    fasta = write(tmp_path / "toy.fa", f">{header}\nAC\n>r2 label=a;b\nAC\n")

    assert list(read(fasta, "header").values()) == [("lytic",), ("a", "b")]


def test_a_pattern_finds_the_label_anywhere_in_the_header(tmp_path: Path) -> None:
    fasta = write(tmp_path / "toy.fa", ">sigma70_1 x\nAC\n>sigma54_2\nAC\n")

    assert read(fasta, "header", r"^(sigma\d+)_") == {
        "sigma70_1": ("sigma70",),
        "sigma54_2": ("sigma54",),
    }


def test_with_file_each_file_is_a_class(tmp_path: Path) -> None:
    write(tmp_path / "E. coli.fna", ">r1\nAC\n>r2\nAC\n")
    write(tmp_path / "v2.phage.fa", ">r3\nAC\n")

    assert read(tmp_path, "file") == {"r1": ("E. coli",), "r2": ("E. coli",), "r3": ("v2.phage",)}


def test_with_folder_each_folder_is_a_class(tmp_path: Path) -> None:
    write(tmp_path / "lytic" / "a.fa", ">r1\nAC\n")
    write(tmp_path / "lytic" / "b.fa", ">r2\nAC\n")
    write(tmp_path / "temperate" / "a.fa", ">r3\nGG\n")

    assert read(tmp_path, "folder") == {
        "r1": ("lytic",),
        "r2": ("lytic",),
        "r3": ("temperate",),
    }


def test_an_empty_cell_among_several_labels_means_none_of_them(tmp_path: Path) -> None:
    table = write(tmp_path / "toy.csv", "name,sequence,label\na,AC,x;y\nb,AC,\n")

    assert read(table, "column") == {"a": ("x", "y"), "b": ()}


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("folder", r"--labels folder: all 2 examples are in one folder and have the label 'lytic'"),
        ("folder", "at least two classes. Give the folder that has one folder per class."),
        ("file", "in one file and have the label 'a', .* Give the folder that has one file per"),
    ],
)
def test_one_folder_or_file_is_only_one_class_and_refused(
    tmp_path: Path, word: str, words: str
) -> None:
    sequences = write(tmp_path / "lytic" / "a.fa", ">r1\nAC\n>r2\nAC\n")
    source = LabelSource(Path(word))
    examples = source.read(EncodedStore.open(sequences).records())

    with pytest.raises(DataError, match=words):
        source.check_classes(examples)


def test_a_missing_table_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"heder: there is no such file.*labels file \(or one of c"):
        LabelSource(tmp_path / "heder").check()
    LabelSource(Path("header")).check()


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("column", r"--labels column: no label for 2 of 3 records \('b', 'c'\), but every"),
        (
            "header",
            r"--labels header: no label for 3 of 3 .*Write label=\.\.\. into each header, or ",
        ),
    ],
)
def test_records_without_label_are_counted(tmp_path: Path, word: str, words: str) -> None:
    table = write(tmp_path / "toy.csv", "name,sequence,label\na,AC,x\nb,AC,\nc,AC,\n")

    with pytest.raises(DataError, match=words):
        read(table, word)


def test_an_error_in_a_label_names_file_and_record(tmp_path: Path) -> None:
    table = write(tmp_path / "toy.csv", "name,sequence,label\nr1,AC,x;;y\n")

    with pytest.raises(
        DataError, match=r"toy\.csv: record 'r1': r1: the labels are \('x', '', 'y'\)"
    ):
        read(table, "column")


def test_columns_unused_by_labels_from_files_are_named(tmp_path: Path) -> None:
    table = write(tmp_path / "toy.csv", "name,sequence,label\nr1,AC,x\n")

    with pytest.warns(RMTGenomicsWarning, match="--labels file: 1 column not used: label"):
        read(table, "file")


@pytest.mark.parametrize(
    ("path", "pattern", "words"),
    [
        ("column", "(x)", "it is for --labels header only, and --labels is 'column'"),
        ("header", "(x", "is not a regular expression"),
        ("header", "x", "has 0 groups, but must have one, the label"),
        ("header", "(x)(y)", "has 2 groups, but must have one"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(path: str, pattern: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LabelSource(Path(path), pattern)


def test_a_missing_group_column_is_refused(tmp_path: Path) -> None:
    fasta = write(tmp_path / "toy.fa", ">r1 label=a\nAC\n")

    with pytest.raises(
        ConfigError, match=r"data\.group is 'genus', but with --labels header there is no"
    ):
        read(fasta, "header", group_column="genus")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_semicolon_in_the_name_of_a_file_or_folder_is_refused(tmp_path: Path, kind: str) -> None:
    for name in ("a;b", "c"):
        file = tmp_path / (f"{name}.fa" if kind == "file" else f"{name}/x{name[0]}.fa")
        file.parent.mkdir(exist_ok=True)
        file.write_text(f">{name[0]}\nACGT\n")

    with pytest.raises(DataError, match=f"the {kind} 'a;b' has ';' in its name, but ';' joins"):
        read(tmp_path, kind)


def test_control_characters_in_a_column_of_labels_become_blanks(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", "name,sequence,label\nr1,AC,a\x1bb\nr2,AC,c\n")

    with pytest.warns(RMTGenomicsWarning, match="1 cell had control characters"):
        examples = read(tmp_path, "column")

    assert list(examples.values()) == [("a b",), ("c",)]


@pytest.mark.parametrize("source", ["file", "folder"])
def test_a_control_character_in_a_label_is_refused(tmp_path: Path, source: str) -> None:
    name = "a\x1b[31mb"
    file = tmp_path / (f"{name}.fa" if source == "file" else f"{name}/x.fa")
    file.parent.mkdir(exist_ok=True)
    write(file, ">r1\nACGT\n")

    with pytest.raises(DataError, match=r"has the character '\\x1b', but must be printable"):
        read(tmp_path, source)
