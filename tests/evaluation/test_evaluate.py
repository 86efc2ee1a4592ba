"""Evaluation: the right rows, the metrics of scikit-learn, the baseline beside the model."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.datasets import EncodedStore, read_labels
from rmt_genomics.dna import read_records
from rmt_genomics.errors import CheckpointError, ConfigError, DataError, RMTGenomicsWarning
from rmt_genomics.evaluation import context_ablation as context
from rmt_genomics.evaluation import evaluate_run
from rmt_genomics.evaluation.evaluate import evaluate
from rmt_genomics.model import RMTClassifier, classification_metrics
from rmt_genomics.model.kmer_regression import FILE_NAME, PROTEIN_FILE_NAME, KmerBaseline
from rmt_genomics.prediction.calibration import Calibration
from tests.prediction.toys import dna, saved_model, two_kinds, write_fasta, write_table

KEYS = {"n", "classes", "accuracy", "balanced_accuracy", "mcc", "macro_f1"}
KEYS |= {"auroc", "auprc", "confusion"}
MORE = {"task", "split", "baselines", "differences", "per_class", "length_bins", "notes"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def evaluated(folder: Path, *, splits: str = "train test", **changes: Any) -> dict[str, Any]:
    """Evaluate a tiny model on twelve records; results are in ``folder / "out"``."""
    fasta, labels = two_kinds(folder, splits=splits)
    model = saved_model(folder / "model", **changes)
    return evaluate(model, fasta, labels, folder / "out")


def fitted_baseline(folder: Path) -> KmerBaseline:
    """The baseline of the train rows of ``two_kinds``."""
    store = EncodedStore.open(folder / "toy.fa")
    examples = [e for e in read_labels(folder / "labels.tsv", store.lengths) if e.split == "train"]
    targets = np.array([("at", "gc").index(example.labels[0]) for example in examples])
    codes = [store.codes(example.interval) for example in examples]
    return KmerBaseline.fit(codes, targets, ("at", "gc"), "binary")


def test_only_test_rows_are_judged_if_there_are_any(tmp_path: Path) -> None:
    metrics = evaluated(tmp_path)

    judged = [row["record"] for row in rows_of(tmp_path / "out" / "predictions.tsv")]
    assert (metrics["split"], metrics["n"]) == ("test", 6)
    assert judged == ["at1", "gc1", "at3", "gc3", "at5", "gc5"]


@pytest.mark.parametrize("splits", ["", "train", "train validation"])
def test_all_rows_are_judged_if_none_is_marked_as_test(tmp_path: Path, splits: str) -> None:
    if not splits:
        with pytest.warns(RMTGenomicsWarning, match="baseline is left out"):
            metrics = evaluated(tmp_path, splits=splits)
    else:
        metrics = evaluated(tmp_path, splits=splits)

    assert (metrics["split"], metrics["n"]) == ("all", 12)


def test_metrics_are_those_of_the_models_own_answers(tmp_path: Path) -> None:
    metrics = evaluated(tmp_path)

    model = RMTClassifier.from_pretrained(tmp_path / "model")
    table = rows_of(tmp_path / "out" / "predictions.tsv")
    store = EncodedStore.open(tmp_path / "toy.fa")
    sequences = {record.name: record.sequence for record in read_records(tmp_path / "toy.fa")}
    letters = [sequences[row["record"]] for row in table]
    answers = model.predict_proba(letters)
    targets = np.array([model.classes_.index(row["truth"]) for row in table])
    expected = classification_metrics(targets, answers, classes=model.classes_, task="binary")
    assert {key: metrics[key] for key in KEYS} == expected
    assert [store.lengths[row["record"]] for row in table] == [int(row["length"]) for row in table]
    assert [row["label"] for row in table] == model.predict(letters)
    np.testing.assert_allclose([float(row["prob_gc"]) for row in table], answers[:, 1], atol=1e-5)


def test_the_files_hold_what_is_returned(tmp_path: Path) -> None:
    metrics = evaluated(tmp_path)

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    confusion = rows_of(tmp_path / "out" / "confusion.tsv")
    assert names == ["confusion.tsv", "metrics.json", "predictions.tsv"]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert [[int(row["at"]), int(row["gc"])] for row in confusion] == metrics["confusion"]
    assert [row["truth"] for row in confusion] == ["at", "gc"]


def test_the_baseline_is_fitted_on_train_rows_if_the_model_has_none(tmp_path: Path) -> None:
    metrics = evaluated(tmp_path)

    baseline = metrics["baselines"]["kmer_logistic"]
    assert baseline.keys() == KEYS | {"k"}
    assert (baseline["n"], baseline["accuracy"]) == (6, 1.0)
    assert not (tmp_path / "model" / FILE_NAME).exists()


def test_the_baseline_of_the_model_folder_comes_first(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, splits="train test")
    model = saved_model(tmp_path / "model")
    right = fitted_baseline(tmp_path)
    wrong_way_round = replace(right, coefficients=-right.coefficients, intercepts=-right.intercepts)
    wrong_way_round.save(model / FILE_NAME)

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    assert metrics["baselines"]["kmer_logistic"]["accuracy"] == 0.0


def test_a_baseline_of_other_classes_is_refused(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, splits="train test")
    model = saved_model(tmp_path / "model", classes=("gc", "at"))
    fitted_baseline(tmp_path).save(model / FILE_NAME)

    with pytest.raises(CheckpointError, match=r"has the classes at, gc \(binary\), but the model"):
        evaluate(model, fasta, labels, tmp_path / "out")


def test_a_missing_baseline_is_told_with_the_reason(tmp_path: Path) -> None:
    with pytest.warns(
        RMTGenomicsWarning, match=r"labels\.tsv: no row is marked as train.*left out"
    ):
        metrics = evaluated(tmp_path, splits="test")

    assert metrics["baselines"].keys() == {"chunk_average"}
    assert any("k-mer baseline is left out" in note for note in metrics["notes"])
    assert any("most common answer is left out" in note for note in metrics["notes"])
    assert any("Calibration is left out" in note for note in metrics["notes"])


def test_a_label_that_the_model_does_not_know_is_an_error(tmp_path: Path) -> None:
    words = r"labels\.tsv: at0: the label 'at' is unknown, but must be one of AT, gc"
    with pytest.raises(DataError, match=words):
        evaluated(tmp_path, splits="test", classes=("AT", "gc"))

    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")

    with pytest.raises(ConfigError, match="not empty"):
        evaluate("nowhere", tmp_path / "gone.fa", tmp_path / "gone.tsv", out)


def test_overwriting_replaces_results_and_keeps_other_files(tmp_path: Path) -> None:
    first = evaluated(tmp_path)
    out = tmp_path / "out"
    (out / "notes.txt").write_text("mine")
    (out / "metrics.json").write_text("old")

    files = tmp_path / "toy.fa", tmp_path / "labels.tsv"
    evaluate(tmp_path / "model", *files, out, overwrite=True)

    assert json.loads((out / "metrics.json").read_text()) == first
    assert (out / "notes.txt").read_text() == "mine"


def test_intervals_are_judged_on_their_strand(tmp_path: Path) -> None:
    letters = dna(60)
    fasta = write_fasta(tmp_path / "toy.fa", {"chr1": letters})
    rows = ["chr1 10 40 + at test", "chr1 10 40 - gc test"]
    labels = write_table(tmp_path / "l.tsv", "record start end strand label split", *rows)
    model = saved_model(tmp_path / "model")

    with pytest.warns(RMTGenomicsWarning, match="no row is marked as train"):
        evaluate(model, fasta, labels, tmp_path / "out")

    forward, reverse = rows_of(tmp_path / "out" / "predictions.tsv")
    answer = RMTClassifier.from_pretrained(model).predict_proba([letters[10:40]])[0, 0]
    assert (forward["record"], reverse["record"]) == ("chr1:10-40(+)", "chr1:10-40(-)")
    assert float(forward["prob_at"]) == pytest.approx(answer, abs=1e-5)
    assert float(reverse["prob_at"]) != pytest.approx(answer, abs=1e-5)


def test_several_labels_are_counted_class_by_class(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(4)})
    rows = ["r0 at;gc test", "r1 gc test", "r2 at train", "r3 gc train"]
    labels = write_table(tmp_path / "l.tsv", "record label split", *rows)
    model = saved_model(tmp_path / "model", task="multilabel")

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    confusion = rows_of(tmp_path / "out" / "confusion.tsv")
    counts = [[int(count) for name, count in row.items() if name != "class"] for row in confusion]
    assert counts == np.array(metrics["confusion"]).reshape(2, 4).tolist()
    assert [row["truth"] for row in rows_of(tmp_path / "out" / "predictions.tsv")] == [
        "at;gc",
        "gc",
    ]


def a_run(folder: Path, splits: str) -> tuple[Path, Path]:
    """Lay out what a training leaves: a model, and how the examples were used."""
    fasta, labels = two_kinds(folder, splits=splits)
    run = saved_model(folder / "run")
    lengths = EncodedStore.open(fasta).lengths
    rows = [
        f"{example.interval.record} 0 {len(example.interval)} + {example.labels[0]} {example.split}"
        for example in read_labels(labels, lengths)
    ]
    write_table(run / "split.tsv", "record start end strand label split", *rows)
    return run, fasta


def test_a_run_is_judged_on_its_test_part_with_validation_beside_it(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation test")

    metrics = evaluate_run(run, fasta)

    assert (metrics["split"], metrics["n"]) == ("test", 4)
    assert metrics["validation"].keys() == KEYS
    assert metrics["validation"]["n"] == 4
    assert metrics["baselines"]["kmer_logistic"].keys() == KEYS | {"k"}
    assert json.loads((run / "metrics.json").read_text()) == metrics


def test_a_run_without_test_part_is_judged_on_validation(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation")

    metrics = evaluate_run(run, fasta)

    assert (metrics["split"], metrics["n"]) == ("validation", 6)
    assert "validation" not in metrics


def test_a_run_keeps_the_baseline_of_its_train_part(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation")

    metrics = evaluate_run(run, fasta)

    saved = KmerBaseline.load(run / FILE_NAME)
    assert (
        saved.kmers.k == metrics["baselines"]["kmer_logistic"]["k"] == 4
    )  # of equals, the shorter
    assert saved.coefficients.tolist() == fitted_baseline(tmp_path).coefficients.tolist()


def test_examples_that_the_model_was_trained_on_are_counted(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation")
    sha256 = EncodedStore.open(fasta).sha256
    (run / "environment.txt").write_text(f"seed: 0\nfasta_sha256: {sha256}\n")

    words = r"split\.tsv: 6 of 12 examples were trained on by this model, so the figures flatter it"
    with pytest.warns(RMTGenomicsWarning, match=words):
        metrics = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")

    assert metrics["n"] == 12


def test_of_other_sequences_only_name_and_length_are_known(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation")
    (run / "environment.txt").write_text("fasta_sha256: 0123\n")

    with pytest.warns(RMTGenomicsWarning, match="6 of 12 examples have the name and length of one"):
        evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")


def test_examples_held_out_in_training_are_judged_without_a_warning(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation test")

    assert evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")["n"] == 4


def test_an_example_with_none_of_the_labels_is_judged(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(5)})
    rows = ["r0 at;gc test", "r1  test", "r2 at train", "r3 gc train", "r4  train"]
    labels = write_table(tmp_path / "l.tsv", "record label split", *rows)
    model = saved_model(tmp_path / "model", task="multilabel")

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    assert [sum(counts[1]) for counts in metrics["confusion"]] == [1, 1]  # of two, one has it
    assert [row["truth"] for row in rows_of(tmp_path / "out" / "predictions.tsv")] == ["at;gc", ""]


def test_all_that_is_known_of_a_run_is_in_its_metrics(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation test")

    metrics = evaluate_run(run, fasta)

    assert metrics.keys() == KEYS | MORE | {"calibration", "context", "validation"}
    names = ["majority", "kmer_logistic", "kmer4_logistic", "kmer6_logistic", "chunk_average"]
    assert list(metrics["baselines"]) == names
    assert list(metrics["differences"]) == ["majority", "kmer_logistic", "chunk_average"]
    words = "The model (is (ahead of|behind)|and) the same network reading each segment by itself"
    assert re.match(words, metrics["differences"]["chunk_average"]["sentence"])
    assert [each["class"] for each in metrics["per_class"]] == ["at", "gc"]
    assert sum(each["n"] for each in metrics["length_bins"]) == metrics["n"]
    assert metrics["calibration"]["n"] == metrics["validation"]["n"]
    assert metrics["notes"] == [
        "Only 4 examples were judged: figures from so few move a lot by chance.",
        "Classes with fewer than 10 judged examples: at (2), gc (2).",
    ]


def test_long_examples_are_judged_with_less_context_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "_FIRST", 16)
    monkeypatch.setattr(context, "_FEWEST", 2)
    run, fasta = a_run(tmp_path, "train validation test")

    metrics = evaluate_run(run, fasta)

    assert [each["bp"] for each in metrics["context"]["visible"]] == [16, None]
    assert metrics["context"]["visible"][-1]["auroc"] == metrics["auroc"]
    assert metrics["context"]["memory_reset"]["n"] == metrics["n"]


def test_the_calibration_is_fitted_on_validation_and_kept(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train train validation test test")

    metrics = evaluate_run(run, fasta)
    again = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")

    kept = Calibration.load(run)
    assert kept is not None
    assert (kept.n, metrics["n"]) == (2, 4)
    assert (kept.classes, kept.fitted_on) == (("at", "gc"), "validation")
    assert kept.temperature == metrics["calibration"]["temperature"]
    assert again["calibration"] == metrics["calibration"]


def test_without_a_test_part_it_is_said_that_figures_flatter(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation")

    metrics = evaluate_run(run, fasta)

    assert any("the figures are optimistic" in note for note in metrics["notes"])
    assert metrics["calibration"]["n"] == metrics["n"]


def test_a_run_leaves_its_predictions(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation test")

    evaluate_run(run, fasta)

    assert [row["record"] for row in rows_of(run / "predictions.tsv")] == [
        "at2",
        "gc2",
        "at5",
        "gc5",
    ]
    assert len(rows_of(run / "confusion.tsv")) == 2
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_calibration_of_other_classes_is_refused(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, splits="train test")
    model = saved_model(tmp_path / "model")
    Calibration("binary", ("gc", "at"), 1.0, np.array([0.5])).save(model)

    with pytest.raises(
        CheckpointError, match=r"calibration\.json: has the classes gc, at \(binary"
    ):
        evaluate(model, fasta, labels, tmp_path / "out")


def test_validation_rows_of_the_labels_calibrate_and_choose(tmp_path: Path) -> None:
    with_them = evaluated(tmp_path, splits="train validation test")

    assert with_them["calibration"]["n"] == 4
    assert not any("favours the baseline" in note for note in with_them["notes"])


def test_without_validation_rows_the_judged_rows_choose_and_it_is_said(tmp_path: Path) -> None:
    metrics = evaluated(tmp_path, splits="train test")

    assert "calibration" not in metrics
    assert any("which favours the baseline" in note for note in metrics["notes"])


def test_what_a_run_was_trained_on_gives_the_most_common_answer(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation test")
    evaluate_run(run, fasta)
    rows = ["record label", "at2 at", "gc2 gc", "at5 at"]
    labels = write_table(tmp_path / "few.tsv", *rows)
    names = {"at2", "gc2", "at5"}
    letters = {each.name: each.sequence for each in read_records(fasta) if each.name in names}

    metrics = evaluate(run, write_fasta(tmp_path / "few.fa", letters), labels, tmp_path / "out")

    assert metrics["baselines"]["majority"]["n"] == 3
    assert metrics["baselines"]["kmer_logistic"]["k"] == 4
    assert "kmer6_logistic" not in metrics["baselines"]


def test_a_model_that_reads_proteins_keeps_their_baseline(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation test")
    saved_model(run, protein_k=2, orf_codons=3)

    first = evaluate_run(run, fasta)
    later = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")
    (run / PROTEIN_FILE_NAME).unlink()
    anew = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "anew")
    rows = (tmp_path / "labels.tsv").read_text()
    (tmp_path / "labels.tsv").write_text(rows.replace("train", "test"))
    with pytest.warns(RMTGenomicsWarning, match="that this model was trained on"):
        without = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "without")

    assert first["baselines"]["protein_logistic"]["k"] == 2
    assert "protein_logistic" in first["differences"]
    assert later["baselines"]["protein_logistic"] == first["baselines"]["protein_logistic"]
    assert anew["baselines"]["protein_logistic"] == first["baselines"]["protein_logistic"]
    assert "protein_logistic" not in without["baselines"]
    assert "kmer_logistic" in without["baselines"]
    assert "The protein k-mer baseline is left out: none lies beside the model." in without["notes"]


def test_a_judgement_repeats_to_the_last_digit(tmp_path: Path) -> None:
    run, fasta = a_run(tmp_path, "train validation test")

    assert evaluate_run(run, fasta) == evaluate_run(run, fasta)


def test_numbers_are_judged_beside_their_baselines(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(12)})
    parts = ("train", "validation", "test")
    rows = [f"r{i} {i / 4} {parts[i % 3]}" for i in range(12)]
    labels = write_table(tmp_path / "l.tsv", "record label split", *rows)
    model = saved_model(tmp_path / "model", task="regression", classes=("label",))

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    numbers = {"n", "classes", "pearson", "spearman", "r2", "mae", "rmse"}
    names = ["mean", "kmer_ridge", "kmer4_ridge", "kmer6_ridge", "chunk_average"]
    assert metrics.keys() == numbers | MORE | {"context"}
    assert list(metrics["baselines"]) == names
    assert metrics["baselines"]["mean"].keys() == numbers
    assert metrics["differences"]["mean"]["metric"] == "r2"
    assert metrics["per_class"] == []
    assert not (tmp_path / "out" / "confusion.tsv").exists()
