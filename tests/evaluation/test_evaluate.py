"""Evaluation uses the right rows, metrics of scikit-learn, and baselines of the train rows."""

import json
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rmt_genomics import __version__
from rmt_genomics.datasets import EncodedStore, Example, Split, read_labels
from rmt_genomics.dna import Interval, read_records
from rmt_genomics.errors import CheckpointError, ConfigError, DataError, RMTGenomicsWarning
from rmt_genomics.evaluation import context_ablation, evaluate_run
from rmt_genomics.evaluation.evaluate import evaluate
from rmt_genomics.model import RMTClassifier, classification_metrics
from rmt_genomics.model.kmer_regression import (
    FILE_NAME,
    PROTEIN_FILE_NAME,
    KmerRegression,
    KmerSpec,
)
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.reports import write_report
from tests.evaluation.toys import read_table, write_run
from tests.prediction.toys import dna, saved_model, two_kinds, write_fasta, write_table

KEYS = {"n", "classes", "accuracy", "balanced_accuracy", "mcc", "macro_f1"}
KEYS |= {"auroc", "auprc", "confusion"}
MORE = {"task", "split", "intervals", "baselines", "differences", "per_class", "length_bins"}
MORE |= {"notes", "summary"}


def evaluate_toys(folder: Path, *, splits: str = "train test", **changes: Any) -> dict[str, Any]:
    """Evaluate a tiny model on twelve records; results are in ``folder / "out"``."""
    fasta, labels = two_kinds(folder, splits=splits)
    model = saved_model(folder / "model", **changes)
    return evaluate(model, fasta, labels, folder / "out")


def fitted_baseline(folder: Path) -> KmerRegression:
    """The baseline of the train rows of ``two_kinds``."""
    store = EncodedStore.open(folder / "toy.fa")
    examples = [e for e in read_labels(folder / "labels.tsv", store.lengths) if e.split == "train"]
    targets = np.array([("at", "gc").index(example.labels[0]) for example in examples])
    spec = KmerSpec(4)
    features = spec.features([store.codes(example.interval) for example in examples])
    return KmerRegression.fit(features, targets, ("at", "gc"), "binary", kmers=spec)


def test_only_test_rows_are_evaluated_if_there_are_any(tmp_path: Path) -> None:
    metrics = evaluate_toys(tmp_path)

    records = [row["record"] for row in read_table(tmp_path / "out" / "predictions.tsv")]
    assert (metrics["split"], metrics["n"]) == ("test", 6)
    assert records == ["at1", "gc1", "at3", "gc3", "at5", "gc5"]


@pytest.mark.parametrize("splits", ["", "train", "train validation"])
def test_all_rows_are_evaluated_if_none_is_marked_as_test(tmp_path: Path, splits: str) -> None:
    if not splits:
        with pytest.warns(RMTGenomicsWarning, match="baselines are left out"):
            metrics = evaluate_toys(tmp_path, splits=splits)
    else:
        metrics = evaluate_toys(tmp_path, splits=splits)

    assert (metrics["split"], metrics["n"]) == ("all", 12)


def test_metrics_are_those_of_the_models_predictions(tmp_path: Path) -> None:
    metrics = evaluate_toys(tmp_path)

    model = RMTClassifier.from_pretrained(tmp_path / "model")
    table = read_table(tmp_path / "out" / "predictions.tsv")
    store = EncodedStore.open(tmp_path / "toy.fa")
    sequences = {record.name: record.sequence for record in read_records(tmp_path / "toy.fa")}
    letters = [sequences[row["record"]] for row in table]
    probabilities = model.predict_proba(letters)
    targets = np.array([model.classes_.index(row["truth"]) for row in table])
    expected = classification_metrics(targets, probabilities, classes=model.classes_, task="binary")
    assert {key: metrics[key] for key in KEYS} == expected
    assert [store.lengths[row["record"]] for row in table] == [int(row["length"]) for row in table]
    assert [row["label"] for row in table] == model.predict(letters)
    np.testing.assert_allclose(
        [float(row["prob_gc"]) for row in table], probabilities[:, 1], atol=1e-5
    )


def test_the_files_contain_what_is_returned(tmp_path: Path) -> None:
    metrics = evaluate_toys(tmp_path)

    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    confusion = read_table(tmp_path / "out" / "confusion.tsv")
    assert names == ["confusion.tsv", "metrics.json", "predictions.tsv"]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert [[int(row["at"]), int(row["gc"])] for row in confusion] == metrics["confusion"]
    assert [row["truth"] for row in confusion] == ["at", "gc"]


def test_the_results_name_model_data_version_and_date(tmp_path: Path) -> None:
    provenance = evaluate_toys(tmp_path)["provenance"]

    assert provenance["model"] == str(tmp_path / "model")
    assert len(provenance["model_sha256"]) == len(provenance["fasta_sha256"]) == 64
    assert provenance["fasta"] == str(tmp_path / "toy.fa")
    assert provenance["rmt-genomics"] == __version__
    assert abs(datetime.now(UTC) - datetime.fromisoformat(provenance["date"])).days == 0
    cells = write_report(tmp_path / "out").read_text()
    assert provenance["model_sha256"] in cells
    assert provenance["date"] in cells


def test_the_baseline_is_fitted_on_train_rows_if_the_model_has_none(tmp_path: Path) -> None:
    metrics = evaluate_toys(tmp_path)

    baseline = metrics["baselines"]["kmer_logistic"]
    assert baseline.keys() == KEYS | {"k"}
    assert (baseline["n"], baseline["accuracy"]) == (6, 1.0)
    assert not (tmp_path / "model" / FILE_NAME).exists()


def test_the_baseline_of_the_model_folder_is_preferred(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, splits="train test")
    model = saved_model(tmp_path / "model")
    fitted = fitted_baseline(tmp_path)
    inverted = replace(fitted, coefficients=-fitted.coefficients, intercepts=-fitted.intercepts)
    inverted.save(model / FILE_NAME)

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    assert metrics["baselines"]["kmer_logistic"]["accuracy"] == 0.0
    assert metrics["baselines"]["stranded_kmer_logistic"]["accuracy"] == 1.0  # fitted: not there


def test_a_baseline_of_other_classes_is_refused(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, splits="train test")
    model = saved_model(tmp_path / "model", classes=("gc", "at"))
    fitted_baseline(tmp_path).save(model / FILE_NAME)

    with pytest.raises(CheckpointError, match=r"has the classes at, gc \(binary\), but the model"):
        evaluate(model, fasta, labels, tmp_path / "out")


def test_a_missing_baseline_warns_with_the_reason(tmp_path: Path) -> None:
    with pytest.warns(
        RMTGenomicsWarning, match=r"labels\.tsv: no row is marked as train.*left out"
    ):
        metrics = evaluate_toys(tmp_path, splits="test")

    assert metrics["baselines"].keys() == {"chunk_average"}
    assert any("k-mer baselines are left out" in note for note in metrics["notes"])
    assert any("most common label is left out" in note for note in metrics["notes"])
    assert any("Calibration is left out" in note for note in metrics["notes"])


def test_a_label_that_the_model_does_not_have_is_an_error(tmp_path: Path) -> None:
    words = r"labels\.tsv: at0: the label 'at' is unknown, but must be one of AT, gc"
    with pytest.raises(DataError, match=words):
        evaluate_toys(tmp_path, splits="test", classes=("AT", "gc"))

    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")

    with pytest.raises(ConfigError, match="not empty"):
        evaluate("nowhere", tmp_path / "gone.fa", tmp_path / "gone.tsv", out)


def test_overwriting_replaces_results_and_keeps_other_files(tmp_path: Path) -> None:
    first = evaluate_toys(tmp_path)
    out = tmp_path / "out"
    (out / "notes.txt").write_text("mine")
    (out / "predictions.tsv").write_text("old")

    files = tmp_path / "toy.fa", tmp_path / "labels.tsv"
    evaluate(tmp_path / "model", *files, out, overwrite=True)

    second = json.loads((out / "metrics.json").read_text())
    assert first.pop("provenance").keys() == second.pop("provenance").keys()
    assert second == first
    assert (out / "predictions.tsv").read_text() != "old"
    assert (out / "notes.txt").read_text() == "mine"


def test_intervals_are_evaluated_on_their_strand(tmp_path: Path) -> None:
    letters = dna(60)
    fasta = write_fasta(tmp_path / "toy.fa", {"chr1": letters})
    rows = ["chr1 10 40 + at test", "chr1 10 40 - gc test"]
    labels = write_table(tmp_path / "l.tsv", "record start end strand label split", *rows)
    model = saved_model(tmp_path / "model")

    with pytest.warns(RMTGenomicsWarning, match="no row is marked as train"):
        evaluate(model, fasta, labels, tmp_path / "out")

    forward, reverse = read_table(tmp_path / "out" / "predictions.tsv")
    expected = RMTClassifier.from_pretrained(model).predict_proba([letters[10:40]])[0, 0]
    assert (forward["record"], reverse["record"]) == ("chr1:10-40(+)", "chr1:10-40(-)")
    assert float(forward["prob_at"]) == pytest.approx(expected, abs=1e-5)
    assert float(reverse["prob_at"]) != pytest.approx(expected, abs=1e-5)


def test_multilabel_confusion_is_counted_per_class(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(4)})
    rows = ["r0 at;gc test", "r1 gc test", "r2 at train", "r3 gc train"]
    labels = write_table(tmp_path / "l.tsv", "record label split", *rows)
    model = saved_model(tmp_path / "model", task="multilabel")

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    confusion = read_table(tmp_path / "out" / "confusion.tsv")
    counts = [[int(count) for name, count in row.items() if name != "class"] for row in confusion]
    assert counts == np.array(metrics["confusion"]).reshape(2, 4).tolist()
    assert [row["truth"] for row in read_table(tmp_path / "out" / "predictions.tsv")] == [
        "at;gc",
        "gc",
    ]


def test_a_run_is_evaluated_on_its_test_part_and_on_validation(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation test")

    metrics = evaluate_run(run, fasta)

    assert (metrics["split"], metrics["n"]) == ("test", 4)
    assert metrics["validation"].keys() == KEYS
    assert metrics["validation"]["n"] == 4
    assert metrics["baselines"]["kmer_logistic"].keys() == KEYS | {"k", "validation_mcc"}
    assert json.loads((run / "metrics.json").read_text()) == metrics


LOCATIONS = [(0, 60, "+"), (0, 60, "-"), (5, 40, "-"), (0, 60, ".")]
NAMES_OF_TEST = ["r8", "r9:0-60(-)", "r10:5-40(-)", "r11"]


def run_of_intervals(folder: Path) -> tuple[Path, Path, Split]:
    """Write a run whose examples are records and intervals on both strands, in groups."""
    fasta = write_fasta(
        folder / "toy.fa", {f"r{index}": dna(60, seed=index) for index in range(12)}
    )
    examples, rows = [], ["record start end strand label group split"]
    for index in range(12):
        interval = Interval(f"r{index}", *LOCATIONS[index % 4])
        label, part = ("at", "gc")[index // 2 % 2], ("train", "validation", "test")[index // 4]
        examples.append(
            Example(interval, whole=index % 4 == 0, labels=(label,), group=interval.record)
        )
        cells = interval.record, interval.start, interval.end, interval.strand, label
        rows.append(" ".join(map(str, [*cells, interval.record, part])))
    run = saved_model(folder / "run")
    write_table(run / "split.tsv", *rows)
    return run, fasta, Split(*(tuple(examples[start : start + 4]) for start in (0, 4, 8)))


def files_of(run: Path) -> dict[str, str]:
    return {
        path.name: path.read_text() for path in run.iterdir() if path.suffix in (".json", ".tsv")
    }


def test_a_run_in_memory_is_evaluated_as_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, fasta, split = run_of_intervals(tmp_path)
    from_files, files = evaluate_run(run, fasta, device="cpu"), files_of(run)
    model = RMTClassifier.from_pretrained(run).train()
    trained = SimpleNamespace(model=model, store=EncodedStore.open(fasta), split=split)
    module = sys.modules[evaluate_run.__module__]
    monkeypatch.setattr(module, "open_sequences", lambda *_, **__: pytest.fail("hashed again"))
    monkeypatch.setattr(
        RMTClassifier, "from_pretrained", lambda *_, **__: pytest.fail("read again")
    )

    in_memory = evaluate_run(run, fasta, device="cpu", trained=trained)

    assert in_memory == from_files
    assert files_of(run) == files
    assert [row["record"] for row in read_table(run / "predictions.tsv")] == NAMES_OF_TEST
    assert model.training  # the caller's model is not changed


def test_a_run_without_test_part_is_evaluated_on_validation(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation")

    metrics = evaluate_run(run, fasta)

    assert (metrics["split"], metrics["n"]) == ("validation", 6)
    assert "validation" not in metrics


def test_a_run_keeps_the_baseline_of_its_train_part(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation")

    metrics = evaluate_run(run, fasta)

    saved = KmerRegression.load(run / FILE_NAME)
    assert (
        saved.kmers.k == metrics["baselines"]["kmer_logistic"]["k"] == 4
    )  # of equals, the shorter
    assert saved.coefficients.tolist() == fitted_baseline(tmp_path).coefficients.tolist()


def test_examples_that_the_model_was_trained_on_are_counted(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation")
    sha256 = EncodedStore.open(fasta).sha256
    (run / "environment.txt").write_text(f"seed: 0\nfasta_sha256: {sha256}\n")

    words = (
        r"split\.tsv: 6 of 12 examples were used to train this model, so the metrics are optimistic"
    )
    with pytest.warns(RMTGenomicsWarning, match=words):
        metrics = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")

    assert metrics["n"] == 12


def test_for_another_file_only_names_and_lengths_are_compared(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation")
    (run / "environment.txt").write_text("fasta_sha256: 0123\n")

    with pytest.warns(RMTGenomicsWarning, match="6 of 12 examples have the name and length of one"):
        evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")


def test_examples_held_out_in_training_are_evaluated_without_a_warning(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation test")

    assert evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")["n"] == 4


def test_an_example_with_none_of_the_labels_is_evaluated(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(5)})
    rows = ["r0 at;gc test", "r1  test", "r2 at train", "r3 gc train", "r4  train"]
    labels = write_table(tmp_path / "l.tsv", "record label split", *rows)
    model = saved_model(tmp_path / "model", task="multilabel")

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    assert [sum(counts[1]) for counts in metrics["confusion"]] == [1, 1]  # of two, one has it
    assert [row["truth"] for row in read_table(tmp_path / "out" / "predictions.tsv")] == [
        "at;gc",
        "",
    ]


def test_the_metrics_of_a_run_have_every_entry(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation test")

    metrics = evaluate_run(run, fasta)

    assert metrics.keys() == KEYS | MORE | {"calibration", "context", "validation"}
    names = ["majority", "kmer_logistic", "kmer4_logistic", "kmer6_logistic"]
    names += ["stranded_kmer_logistic", "composition_logistic", "chunk_average"]
    assert list(metrics["baselines"]) == names
    assert list(metrics["differences"]) == [names[0], names[1], *names[4:]]
    words = "The model (is (ahead of|behind)|and) the same network on single segments"
    assert re.match(words, metrics["differences"]["chunk_average"]["sentence"])
    assert [row["class"] for row in metrics["per_class"]] == ["at", "gc"]
    assert sum(row["n"] for row in metrics["length_bins"]) == metrics["n"]
    assert metrics["intervals"]["accuracy"][0] <= metrics["accuracy"]
    assert metrics["intervals"]["accuracy"][1] >= metrics["accuracy"]
    assert metrics["calibration"]["n"] == metrics["validation"]["n"]
    assert metrics["notes"][:2] == [
        "Only 4 examples were evaluated: metrics from so few vary widely by chance.",
        "Classes with fewer than 10 evaluated examples: at (2), gc (2).",
    ]
    others = [note for note in metrics["notes"][2:] if not note.startswith("What is 1 here (")]
    assert others == []
    assert (len(metrics["notes"]) == 3) == (1 in (metrics["auroc"], metrics["auprc"]))


def test_long_examples_are_also_evaluated_with_less_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_ablation, "_SHORTEST_BP", 16)
    monkeypatch.setattr(context_ablation, "_MIN_EXAMPLES", 2)
    run, fasta = write_run(tmp_path, "train validation test")

    metrics = evaluate_run(run, fasta)

    assert [row["bp"] for row in metrics["context"]["visible"]] == [16, None]
    assert metrics["context"]["visible"][-1]["auroc"] == metrics["auroc"]
    assert metrics["context"]["memory_reset"]["n"] == metrics["n"]


def test_the_calibration_is_fitted_on_validation_and_kept(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train train validation test test")

    metrics = evaluate_run(run, fasta)
    again = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")

    kept = Calibration.load(run)
    assert kept is not None
    assert (kept.n, metrics["n"]) == (2, 4)
    assert (kept.classes, kept.fitted_on) == (("at", "gc"), "validation")
    assert kept.temperature == metrics["calibration"]["temperature"]
    assert again["calibration"] == metrics["calibration"]


def test_without_a_test_part_a_note_calls_the_metrics_optimistic(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation")

    metrics = evaluate_run(run, fasta)

    assert any("the metrics are optimistic" in note for note in metrics["notes"])
    assert metrics["calibration"]["n"] == metrics["n"]


def test_a_run_keeps_its_predictions(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation test")

    evaluate_run(run, fasta)

    assert [row["record"] for row in read_table(run / "predictions.tsv")] == [
        "at2",
        "gc2",
        "at5",
        "gc5",
    ]
    assert len(read_table(run / "confusion.tsv")) == 2
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_calibration_of_other_classes_is_refused(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, splits="train test")
    model = saved_model(tmp_path / "model")
    Calibration("binary", ("gc", "at"), 1.0, np.array([0.5])).save(model)

    with pytest.raises(
        CheckpointError, match=r"calibration\.json: has the classes gc, at \(binary"
    ):
        evaluate(model, fasta, labels, tmp_path / "out")


def test_validation_rows_of_the_labels_calibrate_and_choose_the_baseline(tmp_path: Path) -> None:
    metrics = evaluate_toys(tmp_path, splits="train validation test")

    assert metrics["calibration"]["n"] == 4
    assert not any("favours the baseline" in note for note in metrics["notes"])


def test_without_validation_rows_the_evaluated_rows_choose_with_a_note(tmp_path: Path) -> None:
    metrics = evaluate_toys(tmp_path, splits="train test")

    assert "calibration" not in metrics
    assert any("which favours the baseline" in note for note in metrics["notes"])


def test_the_split_of_a_run_gives_the_most_common_label(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation test")
    evaluate_run(run, fasta)
    rows = ["record label", "at2 at", "gc2 gc", "at5 at"]
    labels = write_table(tmp_path / "few.tsv", *rows)
    names = {"at2", "gc2", "at5"}
    letters = {
        record.name: record.sequence for record in read_records(fasta) if record.name in names
    }

    metrics = evaluate(run, write_fasta(tmp_path / "few.fa", letters), labels, tmp_path / "out")

    assert metrics["baselines"]["majority"]["n"] == 3
    assert metrics["baselines"]["kmer_logistic"]["k"] == 4
    assert "kmer6_logistic" not in metrics["baselines"]


def test_a_model_that_reads_protein_kmers_keeps_their_baseline(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation test")
    saved_model(run, features=("protein:2",), orf_codons=3)

    first = evaluate_run(run, fasta)
    later = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "out")
    (run / PROTEIN_FILE_NAME).unlink()
    refitted = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "refitted")
    rows = (tmp_path / "labels.tsv").read_text()
    (tmp_path / "labels.tsv").write_text(rows.replace("train", "test"))
    with pytest.warns(RMTGenomicsWarning, match="that this model was trained on"):
        without = evaluate(run, fasta, tmp_path / "labels.tsv", tmp_path / "without")

    assert first["baselines"]["protein_logistic"]["k"] == 2
    assert "protein_logistic" in first["differences"]
    assert later["baselines"]["protein_logistic"] == first["baselines"]["protein_logistic"]
    assert refitted["baselines"]["protein_logistic"] == first["baselines"]["protein_logistic"]
    assert "protein_logistic" not in without["baselines"]
    assert "kmer_logistic" in without["baselines"]
    assert (
        "The baseline 'protein k-mer counts' is left out: there is none in the model folder."
        in without["notes"]
    )


def test_an_evaluation_repeats_exactly(tmp_path: Path) -> None:
    run, fasta = write_run(tmp_path, "train validation test")

    assert evaluate_run(run, fasta) == evaluate_run(run, fasta)


def test_a_regression_is_evaluated_with_its_baselines(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(12)})
    parts = ("train", "validation", "test")
    rows = [f"r{i} {i / 4} {parts[i % 3]}" for i in range(12)]
    labels = write_table(tmp_path / "l.tsv", "record label split", *rows)
    model = saved_model(tmp_path / "model", task="regression", classes=("label",))

    metrics = evaluate(model, fasta, labels, tmp_path / "out")

    numbers = {"n", "classes", "pearson", "spearman", "r2", "mae", "rmse"}
    names = ["mean", "kmer_ridge", "kmer4_ridge", "kmer6_ridge", "stranded_kmer_ridge"]
    names += ["composition_ridge", "chunk_average"]
    assert metrics.keys() == numbers | MORE | {"context", "provenance"}
    assert list(metrics["baselines"]) == names
    assert metrics["baselines"]["mean"].keys() == numbers
    assert metrics["differences"]["mean"]["metric"] == "r2"
    assert metrics["per_class"] == []
    assert not (tmp_path / "out" / "confusion.tsv").exists()
