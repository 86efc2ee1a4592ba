"""``training.threshold``: chosen on the validation part, saved, and used wherever labels are."""

import csv
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from rmt_genomics import RMTClassifier
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning
from rmt_genomics.evaluation import evaluate_run
from rmt_genomics.model.kmer_regression import KmerRegression
from tests.cli.toys import fail, succeed
from tests.training.toys import TINY, run, write_data

Data = tuple[Path, Path]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path, num_records=40)


def label_all(data: Data, labels: str, *, split: str = "") -> None:
    """Give record i the label i of ``labels`` (separated by blanks), in turn."""
    names, parts = labels.split(" "), split.split()
    rows = ["record\tlabel" + "\tsplit" * bool(parts)]
    for index in range(40):
        cells = [f"r{index}", names[index % len(names)]]
        rows.append("\t".join([*cells, *(parts and [parts[index % len(parts)]])]))
    data[1].write_text("\n".join(rows) + "\n")


def sequences_of(fasta: Path) -> dict[str, str]:
    records = fasta.read_text().removeprefix(">").split("\n>")
    return dict(map(str.split, records))  # type: ignore[arg-type]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_threshold_has_the_best_mcc_on_validation_and_gives_all_labels(
    data: Data, tmp_path: Path
) -> None:
    label_all(data, "poor rich poor poor")  # half of the GC-rich records
    folder = tmp_path / "run"

    result = run(data, folder, training__threshold="auto", training__max_epochs=1)
    metrics = evaluate_run(folder, data[0], device="cpu", trained=result)

    model, sequences = RMTClassifier.from_pretrained(folder), sequences_of(data[0])
    (threshold,) = model.config.thresholds or (None,)
    assert model.config.thresholds_from == "validation"
    assert result.model is not None
    assert result.model.config == model.config
    rows = [row for row in rows_of(folder / "split.tsv") if row["split"] == "validation"]
    scores = model.predict_proba([sequences[row["record"]] for row in rows])[:, 1]
    truth = np.array([row["label"] == "rich" for row in rows])
    cuts = [*scores, 1.0]
    best = max(matthews_corrcoef(truth, scores >= cut) for cut in cuts)
    assert threshold != 0.5
    assert metrics["mcc"] == pytest.approx(best) == matthews_corrcoef(truth, scores >= threshold)
    assert metrics["thresholds"] == [threshold]
    assert "instead of 0.5: rich " in metrics["notes"][0]
    assert "validation part" in metrics["notes"][0]
    predicted = model.predict(sequences.values())
    everywhere = model.predict_proba(sequences.values())[:, 1]
    assert predicted == ["rich" if score >= threshold else "poor" for score in everywhere]
    for options in ([], ["--calibrated"]):
        out = tmp_path / f"out{len(options)}.tsv"
        succeed("predict", folder, data[0], "--out", out, *options)
        table = rows_of(out)
        assert [row["label"] for row in table] == predicted
        assert all(row["score"] == row[f"prob_{row['label']}"] for row in table)
    kmers = KmerRegression.load(folder / "kmer_logistic.safetensors")
    assert kmers.thresholds is not None


def test_without_a_threshold_nothing_is_saved(data: Data, tmp_path: Path) -> None:
    run(data, tmp_path / "run", training__max_epochs=1)

    assert "threshold" not in (tmp_path / "run/config.json").read_text()


@pytest.mark.slow
def test_a_given_threshold_is_saved_and_repeated_by_resume(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    options = ["train", data[0], "--labels", data[1], "--out", out, "--device", "cpu"]

    succeed(*options, *settings, "--set", "training.max_epochs=1", "--threshold", "0.25")
    succeed(*options, "--resume")

    content = json.loads((out / "config.json").read_text())
    assert (content["thresholds"], content["thresholds_from"]) == ([0.25], "given")
    assert tomllib.loads((out / "config.toml").read_text())["training"]["threshold"] == 0.25
    assert "rich 0.250 (given with the training)" in (out / "report.html").read_text()
    assert "threshold was 0.25 when the run started and is now 'auto'" in fail(
        *options, "--resume", "--threshold", "auto"
    )


@pytest.mark.parametrize(
    ("labels", "threshold", "words"),
    [
        ("a b c", "auto", r"threshold is 'auto', but needs two classes.*: there are 3 classes"),
        ("a b c", "0.3", r"threshold is 0.3, but needs two classes"),
        (" ".join(f"{n}.5" for n in range(40)), "auto", "the labels are numbers"),
        ("a b", "1.5", "threshold is 1.5, but must be a number above 0 and below 1 or 'auto'"),
        ("a b", "best", "threshold is 'best', but must be a number above 0 and below 1 or 'auto'"),
    ],
)
def test_a_threshold_without_effect_is_refused(
    data: Data, tmp_path: Path, labels: str, threshold: str, words: str
) -> None:
    label_all(data, labels)

    with pytest.raises(ConfigError, match=words):
        run(data, tmp_path / "run", training__threshold=threshold)
    assert not (tmp_path / "run").exists()


def test_one_class_in_validation_keeps_a_half_with_a_warning(data: Data, tmp_path: Path) -> None:
    label_all(data, "poor rich poor rich poor", split="train train train train validation")

    with pytest.warns(RMTGenomicsWarning, match="threshold of 'rich' stays 0.5: on the 8 valid"):
        run(data, tmp_path / "run", training__threshold="auto", training__max_epochs=1)

    assert "threshold" not in (tmp_path / "run/config.json").read_text()


def test_each_label_of_several_has_its_own(data: Data, tmp_path: Path) -> None:
    label_all(data, "poor;x rich;y poor rich;y")

    run(data, tmp_path / "run", training__threshold="auto", training__max_epochs=1)

    content = json.loads((tmp_path / "run/config.json").read_text())
    assert len(content["thresholds"]) == len(content["classes"]) == 4
    assert len(set(content["thresholds"])) > 2
