"""Every command that computes, on a GPU: it runs, and gives what the CPU gives."""

import csv
import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from rmt_genomics import RMTEstimator
from tests.cli.toys import succeed
from tests.model.encoders import save_encoder
from tests.prediction.toys import dna, saved_model, write_fasta
from tests.training.test_pretraining import CHANGES, write_records
from tests.training.toys import TINY, write_data

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # advice is no failure
DEVICES = ("cpu", "cuda")
FEATURES = ("kmer:2", "protein:1", "wide:4-5")


@pytest.fixture(autouse=True)
def _cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch.cuda.is_available() is False on this machine")


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    return write_data(tmp_path, num_records=24)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    letters = {"long": dna(400), "short": dna(5), "n": "N" * 30, "other": dna(90, seed=1)}
    return write_fasta(tmp_path / "x.fa", letters)


def options(settings: Mapping[str, object]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def agree(outputs: list[str], *, tolerance: float = 1e-4) -> None:
    """Two tables say the same: equal words, and numbers that are close."""
    here, there = (list(csv.reader(text.splitlines(), delimiter="\t")) for text in outputs)
    assert [len(row) for row in here] == [len(row) for row in there]
    for one, other in zip(chain(*here), chain(*there), strict=True):
        if is_number(one):
            assert float(one) == pytest.approx(float(other), rel=tolerance, abs=tolerance)
        else:
            assert one == other


MODELS = {
    "plain": {},
    "pooled": {"stem_width": 11, "stem_pool": 4, "pooling": "mean", "depth": 2},
    "symmetric": {"strand_head": "symmetric", "memory_gate": True},
    "features": {"features": FEATURES, "orf_codons": 3, "pooling": "mean"},
    "tokens": {"pooling": "attention", "readout": "written"},
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("command", ["predict", "embed"])
def test_predictions_and_embeddings_are_those_of_the_cpu(
    fasta: Path, tmp_path: Path, name: str, command: str
) -> None:
    model = saved_model(tmp_path / "model", **MODELS[name])

    outputs = []
    for number, device in enumerate(DEVICES):
        out = tmp_path / f"{number}.tsv"
        succeed(command, model, fasta, "--device", device, "--out", out)
        outputs.append(out.read_text())

    agree(outputs)


def test_attributions_are_those_of_the_cpu(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model", pooling="mean", features=("kmer:2",))
    fasta = write_fasta(tmp_path / "x.fa", {"one": dna(60), "two": dna(22)})

    for number, device in enumerate(DEVICES):
        succeed("explain", model, fasta, "--device", device, "--out", tmp_path / f"{number}")

    for method in ("gradient", "integrated_gradients", "occlusion"):
        texts = [(tmp_path / d / f"{method}.bedgraph").read_text() for d in ("0", "1")]
        values = [[float(row.split("\t")[3]) for row in text.splitlines()] for text in texts]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-3, atol=1e-5)


def test_effects_of_variants_are_those_of_the_cpu(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model", pooling="mean")
    letters = dna(120)
    fasta = write_fasta(tmp_path / "x.fa", {"one": letters})
    lines = [
        f"one\t{pos}\t.\t{letters[pos - 1]}\t{'A' if letters[pos - 1] != 'A' else 'C'}\t.\t.\t."
        for pos in range(1, 120, 7)
    ]
    vcf = tmp_path / "x.vcf"
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf.write_text(head + "\n".join(lines) + "\n")

    outputs = []
    for number, device in enumerate(DEVICES):
        out = tmp_path / f"{number}.tsv"
        succeed("variants", model, vcf, "--fasta", fasta, "--device", device, "--out", out)
        outputs.append(out.read_text())

    agree(outputs)


TRAININGS = {
    "automatic": {"training.max_epochs": 2},
    "replay": {**TINY, "training.replay": "true"},
    "stored graphs": {**TINY, "training.replay": "false"},
    "truncated": {**TINY, "training.bptt_depth": 1},
    "pooled": {**TINY, "model.stem_pool": 4, "model.pooling": "mean"},
    "average, warm-up": {**TINY, "training.weight_average": 0.9},
    "features": {**TINY, "model.features": '["kmer:2", "protein:1"]'},
    "micro-batches": {**TINY, "training.batch_size": "auto"},
    "fp32": {**TINY, "training.precision": "fp32"},
    "bf16": {**TINY, "training.precision": "bf16"},
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_run_on_the_gpu_predicts_on_both(
    data: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    fasta, labels = data
    words = ["--out", run, "--device", "cuda", *options(TRAININGS[name])]

    succeed("train", fasta, "--labels", labels, *words)

    outputs = [succeed("predict", run, fasta, "--device", d).stdout for d in DEVICES]
    agree(outputs, tolerance=1e-3)
    words = ["--labels", labels, "--out", tmp_path / "evaluation", "--device", "cuda"]
    succeed("evaluate", run, fasta, *words)


def test_a_stopped_run_goes_on_where_it_was(data: tuple[Path, Path], tmp_path: Path) -> None:
    fasta, labels = data
    settings = options({**TINY, "training.max_epochs": 1})
    words = ["train", fasta, "--labels", labels, "--device", "cuda"]

    succeed(*words, "--out", tmp_path / "run", *settings)
    more = ["--resume", "--set", "training.max_epochs=2"]
    succeed(*words, "--out", tmp_path / "run", *settings, *more)

    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [1, 2]


@pytest.mark.parametrize("words", [("--time-budget", "30s"), ("--folds", "3")])
def test_budget_and_folds(data: tuple[Path, Path], tmp_path: Path, words: tuple[str, str]) -> None:
    fasta, labels = data

    settings = options(TINY)
    out = ["--out", tmp_path / "run", "--device", "cuda"]
    succeed("train", fasta, "--labels", labels, *out, *words, *settings)

    succeed("predict", tmp_path / "run", fasta, "--device", "cuda")


def test_plan_measures_the_gpu(data: tuple[Path, Path]) -> None:
    fasta, labels = data

    output = succeed("plan", fasta, "--labels", labels, "--device", "cuda").stdout

    assert "device\tcuda" in output


def test_pretraining_and_a_training_from_it(data: tuple[Path, Path], tmp_path: Path) -> None:
    fasta, labels = data
    dna_file = write_records(tmp_path / "dna.fa")
    encoder, run = tmp_path / "encoder", tmp_path / "run"

    succeed("pretrain", dna_file, "--out", encoder, "--device", "cuda", *options(CHANGES))
    words = ["--init-from", encoder, "--freeze", "encoder", "--device", "cuda"]
    succeed(
        *("train", fasta, "--labels", labels, "--out", run, *words),
        *("--set", "training.max_epochs=1", "--set", "model.features=none"),
    )

    agree([succeed("predict", run, fasta, "--device", d).stdout for d in DEVICES])


@pytest.mark.parametrize("kind", ["bert", "esm-rotary", "modernbert"])
def test_a_pretrained_encoder_as_the_step(
    data: tuple[Path, Path], tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("transformers", reason="needs the extra hf")
    fasta, labels = data
    settings = {
        "model.backbone": save_encoder(tmp_path / "encoder", kind),
        "model.features": "none",
        "model.num_memory_tokens": 2,
        "model.segment_length": 40,
        "training.max_epochs": 1,
    }
    words = ["--out", tmp_path / "run", "--device", "cuda"]

    succeed("train", fasta, "--labels", labels, *words, *options(settings))

    run = tmp_path / "run"
    outputs = [succeed("predict", run, fasta, "--device", d).stdout for d in DEVICES]
    agree(outputs, tolerance=1e-3)


def test_the_estimator() -> None:
    sequences = [dna(60, seed=seed, letters="AATC" if seed % 2 else "GGCA") for seed in range(16)]
    labels = ["at" if seed % 2 else "gc" for seed in range(16)]
    settings = [f"{key}={value}" for key, value in TINY.items()]

    estimator = RMTEstimator(settings=settings, device="cuda").fit(sequences, labels)

    assert estimator.predict_proba(sequences).shape == (16, 2)
