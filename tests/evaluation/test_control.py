"""The same network trained without memory is compared with the model, if it is its control."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics import RMTClassifier
from rmt_genomics.datasets import EncodedStore, read_labels
from rmt_genomics.errors import CheckpointError, RMTGenomicsWarning
from rmt_genomics.evaluation import evaluate, evaluate_run, predict_examples
from rmt_genomics.evaluation.tables import baseline_name
from rmt_genomics.model.metrics import compute_metrics
from tests.evaluation.toys import write_run
from tests.prediction.toys import saved_model

KEY = "memory_reset_trained"


def run_with_control(folder: Path) -> tuple[Path, Path]:
    """Write a run, and a control of other weights in it; return run and sequences."""
    run, fasta = write_run(folder, "train validation test")
    saved_model(run, pooling="mean")
    control = saved_model(run / "control", pooling="mean", memory_reset="segment")
    (control / "split.tsv").write_text((run / "split.tsv").read_text())
    for each, reset in ((run, "never"), (control, "segment")):
        (each / "config.toml").write_text(
            f'[model]\nmemory_reset = "{reset}"\n[training]\nmax_epochs = 2\n'
        )
        (each / "environment.txt").write_text("seed: 3\n")
        (each / "metrics.jsonl").write_text('{"epoch": 2, "step": 8}\n')
    return run, fasta


def test_a_run_is_compared_with_its_control(tmp_path: Path) -> None:
    run, fasta = run_with_control(tmp_path)

    metrics = evaluate_run(run, fasta, device="cpu")

    store = EncodedStore.open(fasta)
    examples = read_labels(run / "split.tsv", store.lengths)
    test = [example for example in examples if example.split == "test"]
    control = RMTClassifier.from_pretrained(run / "control")
    targets = np.array([control.classes_.index(example.labels[0]) for example in test])
    outputs = predict_examples(control, store, test)
    expected = compute_metrics(targets, outputs, classes=control.classes_, task="binary")
    assert metrics["baselines"][KEY] == expected
    assert metrics["baselines"][KEY].keys() == metrics["baselines"]["majority"].keys()
    sentence = metrics["differences"][KEY]["sentence"]
    assert "the same network trained without memory" in sentence
    assert sentence in metrics["summary"]["sentence"]
    assert not any("control" in note for note in metrics["notes"])
    assert baseline_name(KEY) == "trained without memory"


def test_other_data_are_evaluated_with_the_control(tmp_path: Path) -> None:
    run, fasta = run_with_control(tmp_path)

    metrics = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out", device="cpu")

    assert list(metrics["baselines"])[-1] == KEY
    assert KEY in metrics["differences"]


def replace_in(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(control: Path) -> None:
        text = (control / name).read_text()
        assert old in text
        (control / name).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda control: (control / "config.json").unlink(), "its training has not finished; "),
        (replace_in("config.json", '"segment"', '"never"'), "the model must have a memory, and "),
        (replace_in("config.json", '"mean"', '"max"'), "its pooling is max, and that of the model"),
        (
            replace_in("config.toml", "max_epochs = 2", "max_epochs = 9"),
            "its training.max_epochs was 9 in training, and that of the model 2",
        ),
        (replace_in("environment.txt", "3", "4"), "it was trained with another seed"),
        (replace_in("split.tsv", "test", "train"), "it was trained on other examples, or another"),
    ],
)
def test_what_is_no_control_of_the_model_is_left_out_with_a_reason(
    tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    run, fasta = run_with_control(tmp_path)
    change(run / "control")

    with pytest.warns(RMTGenomicsWarning, match=f"control: the control is left out: {reason}"):
        metrics = evaluate_run(run, fasta, device="cpu")

    assert KEY not in metrics["baselines"]
    assert "memory" not in metrics["summary"]
    assert any(reason in note for note in metrics["notes"])


def test_a_damaged_control_is_an_error(tmp_path: Path) -> None:
    run, fasta = run_with_control(tmp_path)
    (run / "control" / "model.safetensors").write_bytes(b"cut")

    with pytest.raises(CheckpointError, match=r"control/model\.safetensors: is not a comp"):
        evaluate_run(run, fasta, device="cpu")


def test_notes_tell_what_limits_the_comparison(tmp_path: Path) -> None:
    run, fasta = run_with_control(tmp_path)
    for each in (run, run / "control"):
        replace_in("config.json", '"mean"', '"last"')(each)
    replace_in("metrics.jsonl", '"step": 8', '"step": 1234')(run)

    notes = evaluate_run(run, fasta, device="cpu")["notes"]

    assert "The model was trained for 1,234 steps, and its control for 8." in notes
    assert any("reads only the last segment of each strand, since" in note for note in notes)


def test_a_folder_control_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train test")
    (run / "control").mkdir()
    (run / "control" / "notes.txt").write_text("mine")

    metrics = evaluate_run(run, fasta, device="cpu")

    assert KEY not in metrics["baselines"]
    assert json.loads((run / "metrics.json").read_text()) == metrics
