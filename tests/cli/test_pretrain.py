"""``pretrain``: DNA in, a model folder out, which other commands take or refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.toys import fail, run, succeed
from tests.training.test_pretraining import CHANGES, write_records

SETTINGS = [word for key, value in CHANGES.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    fasta = write_records(folder / "toy.fa", length_bp=200)
    out = succeed("pretrain", fasta, "--out", folder / "run", *SETTINGS).stdout
    (folder / "stdout").write_text(out)
    return folder / "run"


def test_bits_per_base_are_printed_beside_those_of_models_that_count(pretrained: Path) -> None:
    head, *rows = (pretrained.parent / "stdout").read_text().splitlines()
    metrics = json.loads((pretrained / "metrics.json").read_text())

    assert head == "predictor\tbits_per_base"
    names = [row.split("\t")[0] for row in rows]
    markov = [f"markov_{order}" for order in range(13)]
    assert names == ["model", "memory_reset", *markov, *(f"context_{k}" for k in range(1, 7))]
    assert all(1 < float(row.split("\t")[1]) < 3 for row in rows)
    assert list(metrics["baselines"]) == names[2:]
    assert metrics["task"] == "pretraining"
    row = json.loads((pretrained / "metrics.jsonl").read_text().splitlines()[-1])
    bits = metrics["model"]["bits_per_base"]
    assert bits == pytest.approx(row["val_bits_per_base"], abs=0.05)
    assert metrics["memory_reset"]["bits_per_base"] != bits
    parts = [metrics["model"][f"bits_per_{kind}"] for kind in ("single_base", "base_in_spans")]
    assert min(parts) < bits < max(parts)
    assert "does not see what follows" in metrics["notes"][0]


def test_the_card_says_what_it_was_trained_on_and_how_well_it_predicts(pretrained: Path) -> None:
    card = (pretrained / "README.md").read_text()
    metrics = json.loads((pretrained / "metrics.json").read_text())

    assert "PytorchModelHubMixin" not in card
    assert "an encoder of DNA that was pretrained without labels" in card
    assert "Sequences of `toy.fa`:" in card
    assert "- train: 7 records, 1,400 bp\n- validation: 1 record, 200 bp\n" in card
    assert "nucleotide identity of 95% on) are in one part" in card
    bits = {name: values["bits_per_base"] for name, values in metrics["baselines"].items()}
    for row, value in {
        "this network": metrics["model"]["bits_per_base"],
        "memory set to zero before each segment": metrics["memory_reset"]["bits_per_base"],
        "bases before a base)": min(bits[f"markov_{order}"] for order in range(13)),
        "bases on each side)": min(bits[f"context_{order}"] for order in range(1, 7)),
    }.items():
        assert f"{row} | {value:.4f} |" in card
    assert "--init-from FOLDER" in card
    assert "rmt-genomics embed" in card
    assert "predict(" not in card


def test_a_finished_run_is_evaluated_again_and_one_in_use_is_refused(pretrained: Path) -> None:
    fasta, before = pretrained.parent / "toy.fa", (pretrained / "metrics.json").read_text()

    again = succeed("pretrain", fasta, "--out", pretrained, "--resume")

    assert "Nothing to resume" in again.stderr
    assert (pretrained / "metrics.json").read_text() == before
    assert "the folder is not empty" in fail("pretrain", fasta, "--out", pretrained)
    changed = fail(
        "pretrain", fasta, "--out", pretrained, "--resume", "--set", "pretraining.span_bp=3"
    )
    assert "pretraining.span_bp was 12 when the run started and is now 3" in changed


def test_embed_takes_the_model_and_other_commands_refuse_it(
    pretrained: Path, tmp_path: Path
) -> None:
    fasta, out = pretrained.parent / "toy.fa", tmp_path / "out"
    labels = tmp_path / "labels.tsv"
    labels.write_text("record\tlabel\n" + "".join(f"r{i}\t{'ab'[i % 2]}\n" for i in range(8)))

    succeed("embed", pretrained, fasta, "--out", tmp_path / "e.npy")
    embedding = np.load(tmp_path / "e.npy")
    assert embedding.shape == (8, 16)
    table = tmp_path / "e.tsv"
    succeed("embed", pretrained, fasta, "--out", table)
    assert table.read_text() == succeed("embed", pretrained, fasta).stdout
    lines = table.read_text().splitlines(keepends=True)
    table.unlink()
    run("embed", pretrained, fasta, "--out", table, "--resume")
    assert table.read_text() == "".join(lines)
    sentence = "the model was pretrained without labels, so it has no classes to predict"
    for arguments in (
        ("predict", pretrained, fasta),
        ("predict", pretrained, fasta, "--out", out),
        ("evaluate", pretrained, fasta, "--labels", labels, "--out", out),
        ("explain", pretrained, fasta, "--out", out),
        ("explain", pretrained, fasta, "--out", out, "--class", "a"),
    ):
        assert sentence in fail(*arguments), arguments
        assert not out.exists()
    assert "lacks classes" in fail("compare", pretrained, pretrained)


@pytest.mark.slow
def test_a_classifier_is_trained_from_it(pretrained: Path, tmp_path: Path) -> None:
    fasta, labels = pretrained.parent / "toy.fa", tmp_path / "labels.tsv"
    labels.write_text("record\tlabel\n" + "".join(f"r{i}\t{'ab'[i % 2]}\n" for i in range(8)))
    arguments = ("train", fasta, "--labels", labels, "--out", tmp_path / "run", "--init-from")
    rest = ("--freeze", "encoder", "--set", "training.max_epochs=1", "--set", "model.features=none")

    result = succeed(*arguments, pretrained, *rest)

    assert f"{pretrained}: 17 tensors loaded" in result.stderr
    assert "The encoder is frozen" in result.stderr
    assert "mcc" in result.stdout
    kept = run(*arguments[:5], tmp_path / "other", "--init-from", pretrained, "--keep-head")
    assert kept.exit_code == 1
    assert "--keep-head needs one with classes" in kept.stderr.splitlines()[-1]
    assert run("pretrain", "--out", tmp_path / "x").exit_code == 2


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    assert "no.fa" in fail("pretrain", tmp_path / "no.fa", "--out", tmp_path / "run")
