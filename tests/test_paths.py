"""Everything in the public Python API that takes a path takes a str as well."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jaxtyping
import pytest

from rmt_genomics import datasets, dna, evaluation, prediction, reports, training
from rmt_genomics.datasets import (
    EncodedStore,
    LabelSource,
    open_sequences,
    read_intervals,
    read_labels,
)
from rmt_genomics.dna import IndexedFasta, read_encoded, read_records, sequence_files
from rmt_genomics.errors import RMTGenomicsError
from rmt_genomics.prediction import PredictionInput
from rmt_genomics.training import read_config

MODULES = (datasets, dna, evaluation, prediction, reports, training)


def path_parameters(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield the parameters of public functions that are paths, with their annotations."""
    for name in module.__all__:
        value = getattr(module, name)
        methods = dict(inspect.getmembers(value, callable)) if inspect.isclass(value) else {}
        functions = [value, *(m for key, m in methods.items() if not key.startswith("_"))]
        for function in functions if callable(value) else ():
            try:
                parameters = inspect.signature(function).parameters
            except ValueError:
                continue
            for parameter in parameters.values():
                annotation = str(parameter.annotation)
                if "Path" in annotation and "Path | None = None" not in annotation:
                    yield f"{name}: {parameter.name}", annotation


def test_every_public_path_may_be_a_str() -> None:
    # Fields of results and of settings that convert a str themselves.
    allowed = {"LabelSource: path", "PredictionInput: fasta", "PredictionInput: intervals"}
    made_by_us = {
        "InputReader",
        "cross_validate: on_fold",
        "TrainingResult",
        "PretrainingResult",
        "EncodedStore: folder",
        "EncodedStore: files",
    }
    found = dict(pair for module in MODULES for pair in path_parameters(module))

    assert len(found) > 20  # the check can fail
    assert not {
        where: annotation
        for where, annotation in found.items()
        if "str" not in annotation
        and where not in allowed
        and not any(where.startswith(name) for name in made_by_us)
    }


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "dna").mkdir()
    (tmp_path / "dna/b.fa").write_text(">r1\nACGT\n")
    (tmp_path / "a.fa").write_text(">r1\nACGTACGT\n>r2\nTTTTACGT\n")
    (tmp_path / "l.tsv").write_text("record\tstart\tend\tlabel\nr1\t0\t4\ta\nr2\t0\t4\tb\n")
    (tmp_path / "c.toml").write_text("")
    return str(tmp_path)


LENGTHS = {"r1": 8, "r2": 8}
READERS: dict[str, Callable[[str], Any]] = {
    "read_labels": lambda at: read_labels(f"{at}/l.tsv", LENGTHS),
    "read_intervals": lambda at: read_intervals(f"{at}/l.tsv", LENGTHS),
    "EncodedStore": lambda at: EncodedStore.open(f"{at}/a.fa", f"{at}/cache"),
    "a list": lambda at: EncodedStore.open([f"{at}/a.fa"], f"{at}/cache"),
    "a folder": lambda at: open_sequences(f"{at}/dna", f"{at}/cache", intervals_only=False),
    "an index": lambda at: open_sequences(f"{at}/a.fa", f"{at}/cache", intervals_only=True),
    "LabelSource": lambda at: LabelSource(f"{at}/l.tsv").has_intervals(),
    "LabelSource.of": lambda at: LabelSource.of(f"{at}/l.tsv").has_intervals(),
    "IndexedFasta": lambda at: IndexedFasta(f"{at}/a.fa", f"{at}/cache").lengths,
    "read_records": lambda at: list(read_records(f"{at}/a.fa")),
    "read_encoded": lambda at: list(read_encoded(f"{at}/a.fa")),
    "sequence_files": lambda at: sequence_files([f"{at}/dna"]),
    "read_config": lambda at: read_config(f"{at}/c.toml"),
    "PredictionInput": lambda at: (
        PredictionInput(fasta=f"{at}/a.fa", intervals=f"{at}/l.tsv").paths
        == [Path(at) / "a.fa", Path(at) / "l.tsv"]
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_str_is_read_as_its_path(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is for users

    assert READERS[name](folder)


def test_a_str_that_names_a_source_of_labels_is_one() -> None:
    assert LabelSource("column") == LabelSource(Path("column"))


WRITERS: dict[str, Callable[[str], Any]] = {
    "train": lambda at: training.train(f"{at}/no", f"{at}/l.tsv", f"{at}/run", read_config(None)),
    "evaluate": lambda at: evaluation.evaluate(f"{at}/no", f"{at}/a.fa", f"{at}/no", f"{at}/out"),
    "evaluate_run": lambda at: evaluation.evaluate_run(f"{at}/no", f"{at}/a.fa"),
    "write_report": lambda at: reports.write_report(f"{at}/no"),
    "write_model_card": lambda at: reports.write_model_card(f"{at}/no"),
    "write_training_plot": lambda at: reports.write_training_plot(f"{at}/no"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_str_that_is_missing_is_an_error_of_ours(folder: str, name: str) -> None:
    with pytest.raises((RMTGenomicsError, FileNotFoundError), match="no"):
        WRITERS[name](folder)
