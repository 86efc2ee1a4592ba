"""Exported files: what they hold, that they run without PyTorch, and what is refused."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from rmt_genomics.dna import encode
from rmt_genomics.errors import ConfigError, RMTGenomicsError
from rmt_genomics.export import (
    ONNX_FILES,
    TORCH_FILES,
    Exported,
    _compare,
    export_onnx,
    export_torch,
)
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.fold_ensemble import FoldEnsemble
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.training_range import TrainingRange
from tests.cli.toys import fail, run, succeed
from tests.export.test_programs import ALL_FEATURES, LETTERS, model_of
from tests.prediction.toys import dna, saved_model, write_fasta

WITHOUT_TORCH = """
import runpy, sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "rmt_genomics"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_onnx(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run run_onnx.py where importing PyTorch, and this package, is an error."""
    command = [sys.executable, "-c", WITHOUT_TORCH, folder / "run_onnx.py", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(each) for each in command]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all lengths, and one unlike the training examples."""
    sequences = dict(enumerate([*LETTERS, dna(300, letters="GGC")]))
    path = tmp_path_factory.mktemp("records") / "records.fa"
    return write_fasta(path, {f"record{number}": each for number, each in sequences.items()})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A model with all features, calibration and the composition of its training; its export."""
    folder = tmp_path_factory.mktemp("model")
    model = model_of(
        features=ALL_FEATURES, stem_pool=3, pooling="mean", min_train_bp=7, max_train_bp=100
    )
    model.save_pretrained(folder)
    logits, targets = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3
    Calibration.fit(logits, targets, "multiclass", model.classes_).save(folder)
    training_range = TrainingRange.fit([encode(dna(60, seed=seed)) for seed in range(30)])
    assert training_range is not None
    training_range.save(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # a dynamic size is no int
        export_onnx(folder, folder / "onnx")
        yield folder, folder / "onnx"


def table(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--calibrated"]])
def test_the_runner_writes_what_predict_writes_without_pytorch(
    exported: tuple[Path, Path], records: Path, options: list[str]
) -> None:
    folder, onnx = exported
    expected = table(succeed("-q", "predict", folder, records, *options).stdout)

    done = run_onnx(onnx, records, *options)

    assert done.stderr == ""
    found = table(done.stdout)
    assert found[0] == expected[0]
    assert [[*row[:3], row[-1]] for row in found] == [[*row[:3], row[-1]] for row in expected]
    assert len({row[-1] for row in found}) > 4  # notes
    numbers = [np.array([row[3:-1] for row in rows[1:]]) for rows in (found, expected)]
    is_known = numbers[0] != "NA"
    assert (is_known == (numbers[1] != "NA")).all()
    np.testing.assert_allclose(*(each[is_known].astype(float) for each in numbers), atol=1e-4)


@pytest.mark.slow
def test_the_runner_reads_gzip_and_stdin(exported: tuple[Path, Path], tmp_path: Path) -> None:
    packed = tmp_path / "a.fa.gz"
    packed.write_bytes(gzip.compress(b">a first\r\nACGT\r\nacgtn\r\n\r\n>b\tx\nGG CC\n"))

    lines = table(run_onnx(exported[1], packed, "--threads", 1).stdout)

    assert [row[:2] for row in lines[1:]] == [["a", "9"], ["b", "4"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a FASTA file, which must start with '>'"),
        (b"ACGT\n>a\nACGT\n", "is not a FASTA file, which must start with '>'"),
        (b">a\nACGT\n>a\nACGT\n", "record 'a' needs a unique name and DNA letters"),
        (b">\nACGT\n", "record '' needs a unique name"),
        (b">a\n>b\nACGT\n", "record 'a' needs"),
        (b">a\nACXT\n", "record 'a' needs a unique name and DNA letters"),
        (gzip.compress(b">a\nACGT\n" * 99)[:-12], "Compressed file ended"),
        (None, "No such file"),
    ],
)
def test_input_that_the_runner_cannot_use_is_an_error_in_one_line(
    exported: tuple[Path, Path], tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "in.fa"
    if content is not None:
        path.write_bytes(content)

    done = run_onnx(exported[1], path)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {path}: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
