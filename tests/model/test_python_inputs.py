"""Sequences and paths as Python code has them: Biopython, pandas, NumPy, and what is none."""

from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
from Bio.Seq import MutableSeq, Seq
from Bio.SeqRecord import SeqRecord

from rmt_genomics.datasets import LabelSource, open_sequences, read_labels
from rmt_genomics.dna import encode, read_records, reverse_complement, sequence_files
from rmt_genomics.errors import DataError
from rmt_genomics.evaluation import evaluate
from rmt_genomics.model import RMTClassifier
from rmt_genomics.prediction import PredictionInput
from rmt_genomics.training import read_config, train
from tests.model.toys import toy

LETTERS = ["ACGTACGTTT", "GGATC"]


class Table(dict[str, Any]):
    """What a pandas data frame has in common with this is all that is looked at."""

    columns = ("name", "sequence")
    iloc = None


def series() -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.Series(LETTERS, index=[7, 3])


KINDS = {
    "tuple": lambda: tuple(LETTERS),
    "bytes": lambda: [each.encode() for each in LETTERS],
    "Seq": lambda: [Seq(each) for each in LETTERS],
    "MutableSeq": lambda: [MutableSeq(each) for each in LETTERS],
    "SeqRecord": lambda: [SeqRecord(Seq(each), id="x") for each in LETTERS],
    "array": lambda: np.array(LETTERS),
    "array of objects": lambda: np.array(LETTERS, dtype=object),
    "Series": series,
    "iterator": lambda: iter(LETTERS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_may_be_of_any_kind(kind: str) -> None:
    model = toy()

    for method in (model.predict_proba, model.embed):
        np.testing.assert_array_equal(method(KINDS[kind]()), method(LETTERS))
    assert model.predict(KINDS[kind]()) == model.predict(LETTERS)


def test_letters_of_biopython_are_encoded() -> None:
    assert encode(Seq("ACGT")).tolist() == [0, 1, 2, 3]
    assert reverse_complement(SeqRecord(Seq("AACGT"))) == "ACGTT"


REFUSED = {
    "dict": ({"sequence": LETTERS}, r"got a dict, but needs one column .*table\['sequence'\]"),
    "table": (
        Table(name=["x"], Sequence=LETTERS),
        r"got a Table, .* Pass the column: table\['Sequence'\]\. It has: name, Sequence\.",
    ),
    "one string": ("ACGT", r"got one string, but needs a list of strings\. Wrap it: \[sequence\]"),
    "one Seq": (Seq("ACGT"), "got a Seq, but needs a list of them"),
    "one SeqRecord": (SeqRecord(Seq("ACGT")), "got a SeqRecord, but needs a list of them"),
    "numbers": (["ACGT", 7], "sequence 1: is an int, but must be text"),
    "missing values": (["ACGT", None], "sequence 1: is a NoneType, but must be text"),
    "an array of rows": (np.array([LETTERS]), "sequence 0: is a ndarray, but must be text"),
    "a Seq without letters": ([Seq(None, 9)], "sequence 0: is a Seq that has a length, but no le"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_list_of_sequences_is_refused(kind: str) -> None:
    value, message = REFUSED[kind]

    with pytest.raises(DataError, match=message):
        toy().predict_proba(value)


def test_a_data_frame_is_refused_with_its_column() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"label": ["x", "y"], "seq": LETTERS})

    with pytest.raises(DataError, match=r"got a DataFrame, .*table\['seq'\]\. It has: label, seq"):
        toy().predict(frame)


TAKE_PATHS = {
    "train": lambda value: train(value, "labels.tsv", "out", read_config(None, [])),
    "labels": lambda value: train("x.fa", value, "out", read_config(None, [])),
    "evaluate": lambda value: evaluate("model", value, "labels.tsv", "out"),
    "read_labels": lambda value: read_labels(value, {}),
    "LabelSource": LabelSource,
    "read_records": lambda value: list(read_records(value)),
    "open_sequences": lambda value: open_sequences(value, intervals_only=True),
    "sequence_files": sequence_files,
    "PredictionInput": lambda value: PredictionInput(fasta=value),
    "from_pretrained": RMTClassifier.from_pretrained,
}


@pytest.mark.parametrize("name", TAKE_PATHS)
@pytest.mark.parametrize("value", [{"sequence": LETTERS}, 7, SeqRecord(Seq("ACGT")), None])
def test_what_is_no_path_is_refused(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.fa").write_text(">a\nACGT\n")

    with pytest.raises(DataError, match=r"path|str or pathlib\.Path|no labels were given"):
        TAKE_PATHS[name](value)

    assert [path.name for path in tmp_path.iterdir()] == ["x.fa"]
