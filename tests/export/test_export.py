"""Exported files: what they hold, that they run without PyTorch, and what is refused."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import jaxtyping
import numpy as np
import pytest
import torch

from rmt_genomics.dna import encode
from rmt_genomics.errors import CheckpointError, ConfigError, RMTGenomicsError
from rmt_genomics.export import (
    ONNX_FILES,
    TORCH_FILES,
    Exported,
    check_outputs,
    export_onnx,
    export_torch,
    onnx_runner,
)
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.training_range import TrainingRange
from tests.cli.toys import fail, run, succeed
from tests.export.test_programs import LETTERS, model_of, runner
from tests.prediction.toys import dna, saved_model, write_fasta

for _name in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(_name, reason=f"needs {_name}, of the extra onnx")

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


def run_onnx(
    folder: Path, *arguments: object, stdin: IO[bytes] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run run_onnx.py where importing PyTorch, and this package, is an error."""
    command = [sys.executable, "-c", WITHOUT_TORCH, folder / "run_onnx.py", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(each) for each in command]
    return subprocess.run(
        words, stdin=stdin, capture_output=True, text=True, env=environment, timeout=120
    )


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
    features = ("stranded-kmer:2", "protein:1", "wide:3")
    model = model_of(
        features=features, stem_pool=3, pooling="mean", min_train_bp=7, max_train_bp=100
    )
    model.save_pretrained(folder)
    logits, targets = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3
    Calibration.fit(logits, targets, "multiclass", model.classes_).save(folder)
    training_range = TrainingRange.fit([encode(dna(60, seed=seed)) for seed in range(30)])
    assert training_range is not None
    training_range.save(folder)
    with pytest.MonkeyPatch.context() as patch:  # the fixture unchecked, for a module
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
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

    with records.open("rb") as stdin:
        done = run_onnx(onnx, records if options else "-", *options, stdin=stdin)

    assert done.stderr == ""
    found = table(done.stdout)
    assert found[0] == expected[0]
    assert [[*row[:3], row[-1]] for row in found] == [[*row[:3], row[-1]] for row in expected]
    assert len({row[-1] for row in found}) > 4  # notes
    numbers = [np.array([row[3:-1] for row in rows[1:]]) for rows in (found, expected)]
    is_known = numbers[0] != "NA"
    assert (is_known == (numbers[1] != "NA")).all()
    np.testing.assert_allclose(*(each[is_known].astype(float) for each in numbers), atol=1e-4)


def test_the_runner_reads_gzip_and_any_line_ends(tmp_path: Path) -> None:
    packed = tmp_path / "a.fa.gz"
    packed.write_bytes(gzip.compress(b">a first\r\nACGT\r\nacgtn\r\n\r\n>b\tx\nGU RC\n", mtime=0))

    found = {name: codes.tolist() for name, codes in onnx_runner.read_fasta(str(packed))}

    assert found == {"a": [0, 1, 2, 3, 0, 1, 2, 3, 4], "b": [2, 3, 4, 1]}


def test_batches_are_of_at_most_64_records_and_256_kb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runner, "BATCH_BP", 100)
    lengths = [60, 40, 1, 300, *[1] * 70]

    batches = list(onnx_runner.batches(("", np.zeros(each, np.uint8)) for each in lengths))

    assert [[len(codes) for _, codes in batch] for batch in batches] == [
        [60, 40], [1], [300], [1] * 64, [1] * 6
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a FASTA file, which must start with '>'"),
        (b"ACGT\n>a\nACGT\n", "is not a FASTA file, which must start with '>'"),
        (b">a\nACGT\n>a\nACGT\n", "record 'a' needs a unique name and DNA letters"),
        (b">\nACGT\n", "record '' needs a unique name"),
        (b">a\n>b\nACGT\n", "record 'a' needs"),
        (b">a\nACXT\n", "record 'a' needs a unique name and DNA letters"),
        (gzip.compress(b">a\n" + b"ACGT" * 99, mtime=0)[:-8], "Compressed file ended"),
        (gzip.compress(b">a\nACGT\n", mtime=0)[:10] + b"\xff" * 20, "while decompressing data"),
        (b">\xff\nACGT\n", "can't decode byte 0xff"),
        (None, "No such file"),
    ],
)
def test_input_that_the_runner_cannot_use_is_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    path = tmp_path / "in.fa"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(onnx_runner, "Model", lambda *_: runner(model_of()))
    monkeypatch.setattr(sys, "argv", ["run_onnx.py", str(path)])

    with pytest.raises(SystemExit) as stopped:
        onnx_runner.main()

    error = str(stopped.value.code)
    assert error.startswith(f"Error: {path}: ")
    assert words in error
    assert "\n" not in error


def test_the_runner_refuses_calibrated_without_a_calibration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx_runner, "Model", lambda *_: runner(model_of()))
    monkeypatch.setattr(sys, "argv", ["run_onnx.py", "a.fa", "--calibrated"])

    with pytest.raises(SystemExit, match="--calibrated: the model had no calibration"):
        onnx_runner.main()


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_programs_of_torch_export_give_identical_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.export.save
    model = model_of(strand_head="symmetric", stem_pool=2)
    model.save_pretrained(tmp_path / "model")

    saved: list[torch.export.ExportedProgram] = []
    monkeypatch.setattr(
        "torch.export.save", lambda program, path: (saved.append(program), save(program, path))
    )

    succeed("export", tmp_path / "model", "--torch-export", tmp_path / "out")

    assert {path.name for path in (tmp_path / "out").iterdir()} == set(TORCH_FILES)
    exported = Exported(model)
    tokens, keep = torch.randint(0, 5, (4, 8)), torch.arange(8) < torch.tensor([[5], [6], [7], [8]])
    segment = (tokens, keep, torch.randn(4, 2, 8), torch.rand(4, 10))
    programs = (
        ("segment", exported.segment, segment),
        ("head", exported.head, (segment[3][None, :2],)),
    )
    for (name, program, arguments), in_memory in zip(programs, saved, strict=True):
        loaded = torch.export.load(tmp_path / f"out/{name}.pt2").module()
        with torch.no_grad():
            found, expected = loaded(*arguments), in_memory.module()(*arguments)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
            torch.testing.assert_close(found, program(*arguments), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_a_model_whose_regressions_are_left_out_is_exported(tmp_path: Path) -> None:
    model = model_of(features=("kmer:2",), feature_head="regression")
    assert model.regressions is not None
    for regression in model.regressions:
        regression.weight.zero_()
        regression.bias.copy_(torch.tensor([0.5, -0.5, 0.25]))

    export_torch(model, tmp_path / "out")  # compares the results with those of the model

    assert {each.name for each in (tmp_path / "out").iterdir()} >= set(TORCH_FILES)


@pytest.mark.usefixtures("unchecked")
def test_what_differs_from_the_model_is_not_written() -> None:
    model = model_of()
    probabilities = model.predict_codes([np.zeros(1, np.uint8)])[0]

    with pytest.raises(RMTGenomicsError, match=r"differ from the model by .* must agree to 0.0001"):
        check_outputs(model, lambda records: ({"outputs": probabilities} for _ in records))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_weights_that_are_not_float32_are_refused(tmp_path: Path, dtype: str) -> None:
    model = model_of().to(getattr(torch, dtype))

    with pytest.raises(ConfigError, match=f"the weights are {dtype}, but must be float32"):
        export_torch(model, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_another_encoder_and_the_models_of_a_cross_validation_are_refused(tmp_path: Path) -> None:
    model = model_of()
    (tmp_path / "folds.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds the models of a cross-validation"):
        export_onnx(tmp_path, tmp_path / "out")

    model.encoder.step = torch.nn.Identity()  # type: ignore[assignment]
    with pytest.raises(
        ConfigError, match=r"with a pretrained encoder \(model.backbone\), but only"
    ):
        export_onnx(model, tmp_path / "out")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)

    error = fail("export", saved_model(tmp_path / "model"), "--onnx", tmp_path / "out")

    assert "pip install 'rmt-genomics[onnx]'" in error


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    model, out = saved_model(tmp_path / "model"), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "model.json").write_text("{}")

    for option in ("--onnx", "--torch-export"):
        message = fail("export", model, option, out)
        assert message.endswith(f"Add --overwrite, or give another {option}."), message
    error = fail("export", model, "--onnx", out, "--overwrite")

    assert "model.json: would be replaced, but no model.json of rmt-genomics is beside it" in error
    assert error.endswith("or give another --onnx.")
    assert sorted(path.name for path in out.iterdir()) == ["model.json", "notes.txt"]


def test_what_an_earlier_export_left_is_replaced_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = saved_model(tmp_path / "model"), tmp_path / "out"
    monkeypatch.setattr(Exported, "programs", lambda _: iter([]))
    succeed("export", model, "--torch-export", out)
    for name in (*ONNX_FILES, "notes.txt"):
        (out / name).touch()
    assert json.loads((out / "model.json").read_text())["classes"] == ["at", "gc"]

    succeed("export", model, "--torch-export", out, "--overwrite")

    assert {path.name for path in out.iterdir()} == {"model.json", "notes.txt"}


@pytest.mark.parametrize("options", [[], ["--onnx", "a", "--torch-export", "a"]])
def test_one_or_two_folders_are_needed(options: list[str]) -> None:
    assert run("export", "model", *options).exit_code == 2
