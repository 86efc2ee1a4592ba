"""Cross-validation: folds are ordinary runs, and their mean is a model."""

import csv
import json
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from rmt_genomics import RMTClassifier
from rmt_genomics.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    RMTGenomicsError,
    RMTGenomicsWarning,
)
from rmt_genomics.evaluation import evaluate, evaluate_folds
from rmt_genomics.model.fold_ensemble import FoldEnsemble
from rmt_genomics.training import cross_validate, read_config
from rmt_genomics.training.cross_validation import is_cross_validation
from rmt_genomics.training.module import ClassifierModule
from tests.cli.toys import fail, succeed
from tests.training.toys import TINY, run, settings, weights_of, write_data

Data = tuple[Path, Path]
pytestmark = pytest.mark.slow
EPOCH = {"training__max_epochs": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return write_data(tmp_path_factory.mktemp("data"), num_records=24)


def validate(data: Data, out: Path, *, folds: int | None = 2, **options: Any) -> list[Path]:
    changes = {name: options.pop(name) for name in list(options) if "__" in name}
    config = settings(**(changes or EPOCH))
    return cross_validate(*data, out, config, folds=folds, device="cpu", **options)


@pytest.fixture(scope="module")
def finished(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """By the command line, with thresholds of their own; not changed by a test."""
    out = tmp_path_factory.mktemp("runs") / "cv"
    changed = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    options = ["--set", "training.max_epochs=1", "--folds", "2", "--threshold", "0.4"]
    labels = ["--labels", data[1], "--out", out, "--device", "cpu"]
    result = succeed("train", data[0], *labels, *changed, *options)
    assert result.stdout.startswith("metric\tmodel\tmajority\tkmer_logistic")
    assert "Fold 2 of 2." in result.stderr
    assert "Over 2 folds MCC is " in result.stderr
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    yield out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_each_example_is_predicted_by_the_fold_that_has_not_seen_it(finished: Path) -> None:
    rows = rows_of(finished / "out_of_fold.tsv")

    assert sorted(row["record"] for row in rows) == sorted(f"r{index}" for index in range(24))
    assert list(rows[0]) == [
        *("record", "length", "truth", "label", "score", "prob_poor", "prob_rich", "fold"),
    ]
    for number in (1, 2):
        fold = finished / f"fold-{number}"
        own = [row | {"fold": str(number)} for row in rows_of(fold / "predictions.tsv")]
        assert [row for row in rows if row["fold"] == str(number)] == own
        split = rows_of(fold / "split.tsv")
        tested = [row["record"] for row in split if row["split"] == "test"]
        assert [row["record"] for row in own] == tested
        assert {"train", "validation", "test"} == {row["split"] for row in split}
        for name in ("report.html", "README.md", "metrics.json", "calibration.json"):
            assert (fold / name).is_file()


def test_the_metrics_are_those_of_all_predictions_and_of_each_fold(finished: Path) -> None:
    metrics, rows = read(finished / "metrics.json"), rows_of(finished / "out_of_fold.tsv")

    truth = [row["truth"] == "rich" for row in rows]
    called = [row["label"] == "rich" for row in rows]
    scores = [float(row["prob_rich"]) for row in rows]
    assert called == [score >= 0.4 for score in scores]
    assert metrics["n"] == 24
    assert metrics["mcc"] == pytest.approx(matthews_corrcoef(truth, called))
    assert metrics["auroc"] == pytest.approx(roc_auc_score(truth, scores))
    assert metrics["intervals"].keys() >= {"mcc", "auroc"}
    of_folds = [read(finished / f"fold-{number}/metrics.json") for number in (1, 2)]
    for found, expected in (
        (metrics, of_folds),
        (
            metrics["baselines"]["kmer_logistic"],
            [m["baselines"]["kmer_logistic"] for m in of_folds],
        ),
    ):
        values = [one["auprc"] for one in expected]
        assert [fold["auprc"] for fold in found["folds"]] == values
        assert found["mean"]["auprc"] == pytest.approx(statistics.fmean(values))
        assert found["sd"]["auprc"] == pytest.approx(statistics.stdev(values))
        assert [fold["n"] for fold in found["folds"]] == [12, 12]
    assert metrics["baselines"]["kmer_logistic"]["n"] == 24
    assert metrics["differences"].keys() == metrics["baselines"].keys() - {
        "kmer4_logistic",
        "kmer6_logistic",
    }
    assert "Each example was predicted by the one of 2 models" in metrics["notes"][0]
    page = (finished / "report.html").read_text()
    assert "fold 2" in page
    assert "k-mer counts, standard deviation" in page


def test_predict_averages_the_folds(data: Data, finished: Path, tmp_path: Path) -> None:
    models = [RMTClassifier.from_pretrained(finished / f"fold-{n}") for n in (1, 2)]
    letters = [block.split()[1] for block in data[0].read_text().split(">")[1:]]
    expected = np.mean([model.predict_proba(letters) for model in models], axis=0)
    predict = ["predict", finished, data[0], "--device", "cpu", "--out"]

    succeed(*predict, tmp_path / "whole.tsv")
    for shard in ("1/2", "2/2"):
        succeed(*predict, tmp_path / f"{shard[0]}.tsv", "--shard", shard)
    parts = [tmp_path / "1.tsv", tmp_path / "2.tsv"]
    succeed("join", *parts, "--out", tmp_path / "joined.tsv")
    succeed(*predict, tmp_path / "calibrated.tsv", "--calibrated", "--coverage", "0.8")

    rows = rows_of(tmp_path / "whole.tsv")
    found = [[float(row["prob_poor"]), float(row["prob_rich"])] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    labels = ["rich" if row[1] >= 0.4 else "poor" for row in expected]
    assert [row["label"] for row in rows] == labels
    assert (tmp_path / "joined.tsv").read_text() == (tmp_path / "whole.tsv").read_text()
    assert [row["label"] for row in rows_of(tmp_path / "calibrated.tsv")] == labels
    ensemble = FoldEnsemble.from_pretrained(finished)
    np.testing.assert_allclose(ensemble.predict_proba(letters), expected)
    assert ensemble.predict(letters) == labels
    with pytest.warns(RMTGenomicsWarning) as warned:
        metrics = evaluate(finished, *data, tmp_path / "evaluated", device="cpu")
    assert "examples were used to train this model" in str(warned[0].message)
    truth = [row["label"] == "rich" for row in rows_of(data[1])]
    assert metrics["mcc"] == matthews_corrcoef(truth, [label == "rich" for label in labels])
    assert len(metrics["provenance"]["model_sha256"].split()) == 2


def test_a_single_model_is_needed_for_embeddings(data: Data, finished: Path) -> None:
    words = "holds the models of a cross-validation, but one model is needed here"
    assert words in fail("embed", finished, data[0])
    with pytest.raises(CheckpointError, match=words):
        RMTClassifier.from_pretrained(finished)


def test_a_stopped_cross_validation_is_resumed_bit_for_bit(data: Data, tmp_path: Path) -> None:
    """Stopped in the second epoch of the second fold."""
    validate(data, tmp_path / "whole", training__max_epochs=2)
    steps: list[int] = []
    plain = ClassifierModule.training_step

    def interrupted(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        steps.append(batch_idx)
        if len(steps) == 10:  # 3 batches an epoch
            raise KeyboardInterrupt
        return plain(self, batch, batch_idx)

    out = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match=f"--out {out} --resume"):
            validate(data, out, training__max_epochs=2)
    first = (out / "fold-1/model.safetensors").stat().st_mtime_ns
    with pytest.raises(CheckpointError, match=r"fold 2 of 2 is not trained yet.*--resume"):
        evaluate_folds(out, data[0])
    trained = []

    folders = validate(
        data,
        out,
        folds=None,
        training__max_epochs=2,
        resume=True,
        on_fold=lambda _, result: trained.append(result is not None),
    )

    assert folders == [out / "fold-1", out / "fold-2"]
    assert trained == [False, True]
    assert (out / "fold-1/model.safetensors").stat().st_mtime_ns == first
    for number in (1, 2):
        ours, theirs = (
            weights_of(tmp_path / f"{name}/fold-{number}") for name in ("stopped", "whole")
        )
        assert all(ours[name].equal(theirs[name]) for name in theirs)
    metrics = [evaluate_folds(tmp_path / name, data[0]) for name in ("stopped", "whole")]
    assert metrics[0] == metrics[1]
    texts = [(tmp_path / name / "out_of_fold.tsv").read_text() for name in ("stopped", "whole")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": 3}, r"folds.json: the number of folds was 2 when the cross-validation started"),
        ({"seed": 1}, "the seed was 0"),
        ({"training__max_epochs": 3}, "max_epochs is now 3, more than at the start"),
        ({"training__learning_rate": 0.5}, "learning_rate was 0.01 when the run started"),
    ],
)
def test_a_resumed_one_must_not_change(
    data: Data, finished: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RMTGenomicsError, match=words):
        validate(data, finished, resume=True, **{**EPOCH, "training__threshold": 0.4, **changes})


def test_other_sequences_are_not_resumed(finished: Path, tmp_path: Path) -> None:
    other = write_data(tmp_path, num_records=24, seed=1)
    with pytest.raises(CheckpointError, match="the checksum of the sequences was"):
        validate(other, finished, resume=True, training__threshold=0.4, **EPOCH)


def test_overwrite_replaces_only_what_is_of_a_cross_validation(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "cv"
    validate(data, out, folds=3)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="the folder is not empty"):
        validate(data, out)

    validate(data, out, overwrite=True)

    assert (out / "notes.txt").read_text() == "mine"
    assert {path.name for path in (out / "fold-3").iterdir()} <= {"README.md"}
    assert read(out / "folds.json")["folds"] == 2
    with pytest.raises(CheckpointError, match="holds a cross-validation, but --resume continues"):
        run(data, out, resume=True, **EPOCH)
    run(data, out, overwrite=True, **EPOCH)  # one run instead
    assert not is_cross_validation(out)
    assert not (out / "fold-1/model.safetensors").exists()
    with pytest.raises(CheckpointError, match="holds one run, without folds"):
        validate(data, out, resume=True)


def test_a_folder_that_is_not_ours_is_refused_before_training(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "cv"
    (out / "fold-2").mkdir(parents=True)
    (out / "fold-2/metrics.json").write_text("theirs")

    with pytest.raises(ConfigError, match=r"fold-2/metrics.json: would be replaced, but no fold-2"):
        validate(data, out, overwrite=True)

    assert [path.name for path in out.iterdir()] == ["fold-2"]
    assert (out / "fold-2/metrics.json").read_text() == "theirs"


def test_an_earlier_run_is_kept_where_the_settings_are_wrong(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(data, out, **EPOCH)
    rows = data[1].read_text().replace("r0\tpoor", "r0\tother").replace("r3\trich", "r3\tother")
    labels = tmp_path / "three.tsv"
    labels.write_text(rows)

    with pytest.raises(ConfigError, match="needs two classes"):
        validate((data[0], labels), out, overwrite=True, training__threshold="auto")
    (out / "fold-2").write_text("mine")
    with pytest.raises(ConfigError, match="fold-2: is a file, but the folder of a fold is needed"):
        validate(data, out, overwrite=True)

    assert RMTClassifier.from_pretrained(out).classes_ == ("poor", "rich")
    (out / "fold-2").unlink()
    validate(data, out, overwrite=True)
    assert is_cross_validation(out)
    assert not (out / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--folds", "1"], "--folds is 1, but must be from 2"),
        (["--folds", "13"], "the class 'poor' has only 12 examples, and each fold needs one"),
        (["--folds", "2", "--control", "memory-reset"], "--folds and --control cannot be combined"),
        (["--folds", "2", "--devices", "2"], "in one process, but --devices or --num-nodes asks"),
        (["--folds", "2", "--set", "data.split=column"], "--folds divides all examples itself"),
    ],
)
def test_what_cannot_be_combined_is_refused(
    data: Data, tmp_path: Path, options: list[str], words: str
) -> None:
    out = tmp_path / "cv"

    assert words in fail("train", data[0], "--labels", data[1], "--out", out, *options)
    assert not out.exists()


def test_a_time_budget_is_of_one_training(data: Data, tmp_path: Path) -> None:
    config = settings(training__time_budget="5min")
    with pytest.raises(ConfigError, match=r"time_budget is '5min', but --folds trains several"):
        cross_validate(*data, tmp_path / "cv", config, folds=2)


def test_each_fold_chooses_its_features_and_all_have_the_same_sizes(
    data: Data, tmp_path: Path
) -> None:
    automatic = {key: value for key, value in TINY.items() if key != "model.features"}
    automatic.pop("model.pooling")
    config = read_config(None, [f"{key}={value}" for key, value in automatic.items()])

    cross_validate(*data, tmp_path / "cv", config, folds=2)

    of_all = read_config(tmp_path / "cv/config.toml").model
    of_folds = [read_config(tmp_path / f"cv/fold-{number}/config.toml").model for number in (1, 2)]
    assert of_all.features == "auto"
    assert "auto" not in [each.features for each in of_folds]
    assert {each.pooling for each in of_folds} == {of_all.pooling} == {"mean"}


def test_simulated_examples_have_no_folds(data: Data, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"simulation\.task is 'order', but --folds divides"):
        cross_validate(data[0], None, tmp_path / "cv", settings(simulation__task="order"), folds=2)


@pytest.mark.parametrize("content", [b"", b"x" * 99, save({"model": np.zeros((12, 3))}), save({})])
def test_damaged_predictions_of_a_fold_are_named(
    finished: Path, data: Data, tmp_path: Path, content: bytes
) -> None:
    out = tmp_path / "cv"
    shutil.copytree(finished, out)
    (out / "fold-2/test_predictions.safetensors").write_bytes(content)

    with pytest.raises(DataError, match=r"fold-2/test_predictions.safetensors: is damaged .*Remov"):
        evaluate_folds(out, data[0])
    (out / "fold-2/test_predictions.safetensors").unlink()
    assert evaluate_folds(out, data[0]) == read(finished / "metrics.json")


def test_a_regression_has_the_mean_of_the_values(tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path, num_records=24)
    rows = [f"r{index}\t{index % 2 * 5 + index / 16}" for index in range(24)]
    labels.write_text("\n".join(["record\tlabel", *rows]) + "\n")
    out = tmp_path / "cv"
    validate((fasta, labels), out, data__task="regression", **EPOCH)

    metrics = evaluate_folds(out, fasta)

    assert [metrics["task"], metrics["n"]] == ["regression", 24]
    assert metrics["mean"].keys() == {"pearson", "spearman", "r2", "mae", "rmse"}
    models = [RMTClassifier.from_pretrained(out / f"fold-{n}") for n in (1, 2)]
    expected = np.mean([model.predict(["ACGT" * 9]) for model in models])
    assert FoldEnsemble.from_pretrained(out).predict(["ACGT" * 9]) == [pytest.approx(expected)]
    rows_out = rows_of(out / "out_of_fold.tsv")
    assert list(rows_out[0]) == ["record", "length", "truth", "prediction", "fold"]
