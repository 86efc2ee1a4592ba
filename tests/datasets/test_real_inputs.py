"""Labels as people have them: unlabelled records, small classes, comments, semicolons, folders."""

from collections import Counter
from pathlib import Path

import pytest

from rmt_genomics.datasets import Example, LabelSource, open_sequences, read_intervals, read_labels
from rmt_genomics.datasets.clusters import clusters_from_file
from rmt_genomics.datasets.examples import without_small_classes
from rmt_genomics.datasets.make_split import add_columns
from rmt_genomics.datasets.splits import split_by_fractions
from rmt_genomics.dna import Interval
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning

LENGTHS = {"a": 10, "b": 10, "c": 10}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def labels_of(path: Path, lengths: dict[str, int] = LENGTHS, **options: str) -> dict[str, str]:
    examples = read_labels(path, lengths, **options)
    return {example.name: ";".join(example.labels) for example in examples}


PARTIAL = "record\tlabel\na\tx\nb\t\nz\ty\n"


def test_what_has_no_label_is_left_out_with_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "l.tsv", PARTIAL)

    with pytest.warns(RMTGenomicsWarning) as caught:
        assert labels_of(path, unlabelled="skip") == {"a": "x"}

    assert str(caught[0].message) == (
        f"{path}: left out with --unlabelled skip: rows without a label: 1 ('b'); rows of records "
        "that are not in the sequence files: 1 ('z'); records without a row: 1 ('c')."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("record\tlabel\na\tx\n", "no label for 2 of 3 records .* --unlabelled skip"),
        ("record\tlabel\na\tx\nb\ty\nc\tz\nd\tz\n", "lacks 1 of 4 records .* --unlabelled skip"),
    ],
)
def test_the_error_names_the_option(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labels_of(write(tmp_path / "l.tsv", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("record\tlabel\nchra\tx\nchrb\ty\n", "2 would match but for the prefix chr"),
        ("record\tlabel\na\t\n", r"no record has a label \(rows without a label: 1 \('a'\)"),
    ],
)
def test_labels_of_which_none_fits_are_refused_nevertheless(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        labels_of(write(tmp_path / "l.tsv", text), unlabelled="skip")


def test_an_unknown_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unlabelled is 'drop', but must be one of error, skip"):
        labels_of(write(tmp_path / "l.tsv", PARTIAL), unlabelled="drop")


def test_an_empty_label_of_a_multilabel_table_is_a_label(tmp_path: Path) -> None:
    path = write(tmp_path / "l.tsv", "record\tlabel\na\tx;y\nb\t\nc\tx\n")

    assert labels_of(path, unlabelled="skip") == {"a": "x;y", "b": "", "c": "x"}


def test_headers_without_a_label_are_left_out(tmp_path: Path) -> None:
    fasta = write(tmp_path / "x.fa", ">a label=u\nA\n>b\nC\n>c label=v\nG\n")
    records = open_sequences(fasta, tmp_path / "cache", intervals_only=False).records()
    source = LabelSource("header")

    with pytest.raises(DataError, match=r"no label for 1 of 3 .*leave them out: --unlabelled skip"):
        source.read(records)
    with pytest.warns(RMTGenomicsWarning, match=r"records without a label: 1 \('b'\)\."):
        examples = source.read(records, unlabelled="skip")

    assert [example.name for example in examples] == ["a", "c"]


def make(labels: str) -> list[Example]:
    return [
        Example(Interval(f"r{index}", 0, 9), whole=True, labels=tuple(label.split(";")))
        for index, label in enumerate(labels.split())
    ]


def test_small_classes_are_left_out_with_counts() -> None:
    examples = make("x x x y y z x;z")

    with pytest.warns(RMTGenomicsWarning) as caught:
        left = without_small_classes("l.tsv", examples, 3)

    assert Counter(example.labels for example in left) == {("x",): 3}
    assert str(caught[0].message) == (
        "l.tsv: 2 classes of fewer than 3 examples left out (--min-class-size), with 4 examples: "
        "'y' (2), 'z' (2)."
    )
    assert without_small_classes("l.tsv", examples, 1) == examples
    assert without_small_classes("l.tsv", examples, 2) == examples  # y and z have as many


def test_a_smallest_size_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(DataError, match="leaves no example: the largest class is 'x' with 3"):
        without_small_classes("l.tsv", make("x x x y"), 4)
    with pytest.raises(
        ConfigError, match=r"l\.tsv are numbers \(regression\), which have no class"
    ):
        without_small_classes("l.tsv", make("1 2 3"), 2, "regression")


def test_a_class_too_small_for_three_parts_stays_in_train_with_a_warning() -> None:
    examples = make("x " * 20 + "y " * 20 + "z")
    fractions = {"train": 0.8, "validation": 0.1, "test": 0.1}

    with pytest.warns(RMTGenomicsWarning, match=r"1 of 3 classes are too small .*--min-class-size"):
        split = split_by_fractions(examples, fractions, by_group=False, seed=0)

    assert ("z",) in {example.labels for example in split.train}
    assert min(len(split.validation), len(split.test)) == 4


BED = """#made by hand
track name=one
a\t0\t4\tx
# in between
track name="two"
b\t1\t5\ty

browser position a:1-2
c\t2\t6\tx
"""


@pytest.mark.parametrize("text", [BED, BED.replace("\t", "  ")])
def test_comments_and_tracks_may_be_anywhere_in_a_bed_file(tmp_path: Path, text: str) -> None:
    intervals = read_intervals(write(tmp_path / "x.bed", text), LENGTHS)

    assert intervals == [Interval("a", 0, 4), Interval("b", 1, 5), Interval("c", 2, 6)]


def test_a_record_may_be_called_track(tmp_path: Path) -> None:
    path = write(tmp_path / "l.tsv", "chrom\tstart\tend\tname\n# x\ntrack\t0\t4\tx\n")

    assert labels_of(path, {"track": 4}) == {"track:0-4(+)": "x"}


@pytest.mark.parametrize("before", ["", "a\t0\t4\n"])
def test_a_coordinate_with_an_exponent_is_named(tmp_path: Path, before: str) -> None:
    path = write(tmp_path / "x.bed", f"{before}a\t1e+05\t200000\n")

    with pytest.raises(DataError, match=r"start '1e\+05' must be a whole .* Write it as 100000\."):
        read_intervals(path, LENGTHS)


TABLES = {
    "semicolons": "record;label\na;x\nb;y\nc;x\n",
    "a line that names the separator": "sep=;\nrecord;label\na;x\nb;y\nc;x\n",
    "a comma is named": 'sep=,\nrecord,label\na,x\nb,y\n"c",x\n',
    "empty columns": "record,label,,\na,x,,\nb,y,,\nc,x,,\n",
    "an empty column in the middle": "record\t\tlabel\na\t\tx\nb\t\ty\nc\t\tx\n",
    "empty cells at the end": "record,label\na,x,\nb,y,,\nc,x\n",
    "an empty column at the start": ",record,label\n,a,x\n,b,y\n,c,x\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_spreadsheets_are_read(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "l.csv", TABLES[kind])
    expected = {"a": "x", "b": "y", "c": "x"}

    assert labels_of(path) == expected
    columns = {"split": ["train", "test", "train"]}
    written = write(tmp_path / "new.csv", add_columns(path, columns) or "")
    assert labels_of(written) == expected
    assert [example.split for example in read_labels(written, LENGTHS)] == columns["split"]


def test_a_cell_without_a_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "record,label,\na,x,\nb,y,7\nc,x,\n")

    with pytest.raises(
        DataError, match=r"l\.csv:3: column 3 has the value '7', but no name in the"
    ):
        labels_of(path)


def test_a_table_with_rows_that_are_not_used_is_written_anew(tmp_path: Path) -> None:
    assert add_columns(write(tmp_path / "l.tsv", PARTIAL), {"split": ["train"]}) is None


def clusters(folder: Path, text: str, records: list[str]) -> list[str]:
    examples = [Example(Interval(name, 0, 9), whole=True, labels=("x",)) for name in records]
    return clusters_from_file(write(folder / "clusters.tsv", text), examples)


def test_names_that_mmseqs2_has_shortened_are_matched(tmp_path: Path) -> None:
    text = "A0\tA0\nA0\tB1\nc\tc\n"

    found = clusters(tmp_path, text, ["tr|A0|A0_HUMAN", "sp|B1|B1_YEAST", "c"])

    assert found == ["A0", "A0", "c"]


def test_a_shortened_name_of_two_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'A0' may be 'tr\|A0\|X' or 'sp\|A0\|Y', but must be one"):
        clusters(tmp_path, "A0\tA0\n", ["tr|A0|X", "sp|A0|Y"])


@pytest.mark.parametrize("as_str", [True, False])
def test_the_top_folder_is_the_class(tmp_path: Path, *, as_str: bool) -> None:
    for number, name in enumerate(["ecoli/ncbi_dataset/data/G1/x", "ecoli/y", "vibrio/G2/z"]):
        write(tmp_path / f"in/{name}.fna", f">r{number}\nACGT\n")
    folder = str(tmp_path / "in") if as_str else tmp_path / "in"

    for intervals_only in (True, False):
        store = open_sequences(folder, tmp_path / "cache", intervals_only=intervals_only)
        examples = LabelSource("folder").read(store.records())
        labels = {example.name: example.labels[0] for example in examples}
        assert labels == {"r0": "ecoli", "r1": "ecoli", "r2": "vibrio"}


def test_names_in_several_files_are_the_same_by_index_and_encoded(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"in/{name}.fa", f">c1 x\nACGT\n>{name} y\nAC\n")

    for intervals_only in (True, False, False):  # at last from the cache
        with pytest.warns(RMTGenomicsWarning, match="1 record name is in several files"):
            store = open_sequences(
                tmp_path / "in", tmp_path / "cache", intervals_only=intervals_only
            )
        assert list(store.lengths) == ["a:c1", "a", "b:c1", "b"]
        assert store.codes(Interval("b:c1", 1, 4)).tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="since it is in several: 'c1' here, 'b:c1' in the FASTA"):
        labels_of(write(tmp_path / "l.tsv", "record\tlabel\nc1\tx\n"), store.lengths)


def test_a_column_label_is_found(tmp_path: Path) -> None:
    table = write(tmp_path / "x.csv", "sequence,label\nAC,u\nGG,v\n")
    without = write(tmp_path / "y.csv", "sequence,kind\nAC,u\nGG,v\n")

    assert LabelSource.of(None, table) == LabelSource("column")
    with pytest.raises(DataError, match=r"y\.csv: no labels were given and there is no column 'la"):
        LabelSource.of(None, without)
