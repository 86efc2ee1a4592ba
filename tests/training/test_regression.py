"""Regression: training, evaluation and prediction in the unit of the labels."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmt_genomics import RMTClassifier
from rmt_genomics.datasets import LabelScheme
from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.model.metrics import regression_metrics
from rmt_genomics.training.loss import RegressionLoss, make_loss, target_scale
from tests.cli.toys import fail, succeed
from tests.cli.toys import run as run_command
from tests.training.toys import no_log_handlers, run, sequence, settings

TINY = [f"--set={key}" for key in (
    *("model.dim=8", "model.depth=1", "model.heads=2", "model.segment_length=16"),
    *("model.num_memory_tokens=2", "model.stem_width=3", "model.pooling=mean"),
    *("training.batch_size=4", "training.learning_rate=0.01", "training.max_epochs=4"),
)]  # fmt: skip
UNIT = (300.0, 50.0)  # labels are 300 + 50 x GC content, as a temperature might be


def write_csv(path: Path, *, count: int = 80, seed: int = 0) -> Path:
    """Write sequences of 30 to 60 bp, and a number that is linear in their GC content."""
    random = np.random.default_rng(seed)
    rows = ["name,sequence,label"]
    for index in range(count):
        letters = sequence(random, random.uniform(0.1, 0.9), int(random.integers(30, 60)))
        gc = sum(letters.count(base) for base in "GC") / len(letters)
        rows.append(f"r{index},{letters},{UNIT[0] + UNIT[1] * gc:.4f}")
    path.write_text("\n".join(rows) + "\n")
    return path


def write_random(path: Path, *, count: int) -> Path:
    """Write records r0, r1 and so on of random letters."""
    random = np.random.default_rng(0)
    path.write_text("".join(f">r{index}\n{sequence(random, 0.5, 40)}\n" for index in range(count)))
    return path


def labels_of(table: Path) -> np.ndarray:
    return np.array([float(line.split(",")[2]) for line in table.read_text().splitlines()[1:]])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy.csv, new.csv, and a run trained on the first by the command line."""
    folder = tmp_path_factory.mktemp("regression")
    write_csv(folder / "toy.csv")
    write_csv(folder / "new.csv", count=40, seed=1)
    result = succeed(
        "train", folder / "toy.csv", "--labels", "column", "--out", folder / "run", *TINY
    )
    assert "predicted as numbers (regression)" in result.stderr
    assert result.stdout.splitlines()[0].startswith("metric\tmodel\tmean\tkmer_ridge")
    (folder / "stdout").write_text(result.stdout)
    return folder


def test_class_weights_are_refused_for_regression(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "toy.csv")
    message = fail(
        "train", table, "--labels", "column", "--out", tmp_path / "run", *TINY,
        "--set=training.class_weights=none",
    )  # fmt: skip
    assert "training.class_weights is 'none', but has no effect: the labels are numbers" in message
    assert not (tmp_path / "run").exists()


class TestFromAFileToPredictions:
    """Train, predict and evaluate on the command line."""

    def test_new_sequences_are_predicted(self, trained: Path) -> None:
        result = succeed("predict", trained / "run", trained / "new.csv")

        header, *rows = [line.split("\t") for line in result.stdout.splitlines()]
        assert header == ["record", "length", "prediction", "note"]
        truth, values = labels_of(trained / "new.csv"), np.array([float(row[2]) for row in rows])
        assert regression_metrics(truth, values, classes=("label",))["r2"] > 0.3
        assert 250 < values.min() < values.max() < 400  # in the label's unit

    def test_the_loss_falls_and_each_epoch_has_regression_metrics(self, trained: Path) -> None:
        rows = [
            json.loads(line)
            for line in (trained / "run/metrics.jsonl").read_text().split("\n")[:-1]
        ]
        assert len(rows) == 4
        assert rows[-1]["val_loss"] < 0.8 * rows[0]["val_loss"]
        assert rows[-1]["val_r2"] > 0.3
        assert -1 <= rows[-1]["val_pearson"] <= 1
        assert "val_mcc" not in rows[0]
        table = (trained / "run/metrics.csv").read_text().splitlines()
        assert table[0].split(",") == list(rows[0])
        assert len(table) == 5

    def test_the_model_has_mean_and_deviation_of_the_training_part(self, trained: Path) -> None:
        config = json.loads((trained / "run/config.json").read_text())
        rows = [line.split("\t") for line in (trained / "run/split.tsv").read_text().splitlines()]
        column = rows[0].index("label")
        train = np.array([float(row[column]) for row in rows[1:] if row[-1] == "train"])
        assert config["task"] == "regression"
        assert config["classes"] == ["label"]
        assert config["target_mean"] == pytest.approx(train.mean(), rel=1e-12)
        assert config["target_std"] == pytest.approx(train.std(), rel=1e-12)

    def test_metrics_are_those_of_a_regression(self, trained: Path) -> None:
        metrics = json.loads((trained / "run/metrics.json").read_text())
        assert metrics["task"] == "regression"
        assert {"n", "pearson", "spearman", "r2", "mae", "rmse"} <= metrics.keys()
        assert metrics["baselines"]["mean"]["r2"] <= 0
        assert metrics["baselines"]["kmer_ridge"]["r2"] > 0.9  # k-mers measure GC content directly
        assert "confusion" not in metrics

    def test_evaluate_compares_with_the_numbers_of_a_table(
        self, trained: Path, tmp_path: Path
    ) -> None:
        succeed(
            *("evaluate", trained / "run", trained / "new.csv", "--labels", "column"),
            *("--out", tmp_path / "out"),
        )
        metrics = json.loads((tmp_path / "out/metrics.json").read_text())
        assert metrics["n"] == 40
        assert metrics["r2"] > 0.3
        header, first, *_ = (tmp_path / "out/predictions.tsv").read_text().splitlines()
        assert header == "record\tlength\ttruth\tprediction"
        truth, prediction = map(float, first.split("\t")[2:])
        assert abs(truth - prediction) < 100

    def test_evaluate_refuses_labels_that_are_not_numbers(
        self, trained: Path, tmp_path: Path
    ) -> None:
        bad = tmp_path / "bad.csv"
        bad.write_text("name,sequence,label\na,ACGT,1.5\nb,GGCC,high\n")
        message = fail(
            *("evaluate", trained / "run", bad, "--labels", "column", "--out", tmp_path / "out")
        )
        assert "1 of 2 labels cannot be read as numbers ('high' at record 'b')" in message
        assert not (tmp_path / "out").exists()

    def test_a_run_is_resumed(self, trained: Path, tmp_path: Path) -> None:
        """Mean and deviation follow from the training part, so no checkpoint contains them."""
        shutil.copytree(trained / "run", tmp_path / "run")
        arguments = ("train", trained / "toy.csv", "--labels", "column", "--out", tmp_path / "run")
        with no_log_handlers():
            resumed = succeed(*arguments, "--resume")
        assert "Nothing to resume" in resumed.stderr
        assert resumed.stdout == (trained / "stdout").read_text() != ""

    def test_split_counts_labels_in_bins(self, trained: Path, tmp_path: Path) -> None:
        result = succeed(
            *("split", trained / "toy.csv", "--labels", "column", "--out", tmp_path / "s.tsv"),
            *("--by", "stratified"),
        )
        rows = [line.split("\t") for line in result.stdout.splitlines()]
        assert rows[0] == ["label", "train", "validation", "test"]
        assert rows[-1] == ["(all)", "64", "8", "8"]
        assert len(rows) == 7
        assert all(" to " in row[0] and int(row[1]) > 9 for row in rows[1:-1])

    def test_inspect_reports_the_range_of_labels(self, trained: Path) -> None:
        result = succeed("inspect", trained / "toy.csv", "--labels", "column")
        lowest, highest = labels_of(trained / "toy.csv").min(), labels_of(trained / "toy.csv").max()
        (line,) = [each for each in result.stderr.splitlines() if "labelled examples" in each]
        assert line.startswith("80 labelled examples, ")
        assert f"77 distinct values: lowest {lowest:g}, median " in line
        assert line.endswith(f"highest {highest:g}")
        assert "  task: regression" in result.stderr.splitlines()

    def test_split_with_task_regression_accepts_whole_numbers(self, tmp_path: Path) -> None:
        fasta, labels = write_random(tmp_path / "toy.fa", count=40), tmp_path / "l.tsv"
        labels.write_text("record\tlabel\n" + "".join(f"r{n}\t{n}\n" for n in range(40)))
        arguments = ("split", fasta, "--labels", labels, "--out", tmp_path / "s.tsv")
        result = run_command(*arguments, "--by", "stratified")
        assert result.exit_code == 1
        assert "the labels are 40 different whole numbers" in result.stderr
        assert "set data.task (split: --task) to 'regression'" in result.stderr

        result = succeed(*arguments, "--by", "stratified", "--task", "regression")
        assert result.stdout.splitlines()[1].startswith("0 to 7\t")


class TestSettings:
    """The setting ``data.task``."""

    def test_task_regression_accepts_whole_numbers(self, tmp_path: Path) -> None:
        fasta = write_random(tmp_path / "toy.fa", count=10)
        labels = tmp_path / "l.tsv"
        labels.write_text("record\tlabel\n" + "".join(f"r{n}\t{n % 3}\n" for n in range(10)))

        result = run((fasta, labels), tmp_path / "run", data__task="'regression'")

        model = RMTClassifier.from_pretrained(result.model_dir)
        assert model.config.task == "regression"
        assert all(isinstance(value, float) for value in model.predict(["ACGT", "GG"]))

    @pytest.mark.parametrize("task", ["rank", 1])
    def test_another_task_is_refused(self, task: object) -> None:
        with pytest.raises(
            ConfigError, match=r"data.task is .*, but must be 'auto' or 'classifica"
        ):
            settings(data__task=repr(task))

    def test_equal_labels_in_the_training_part_are_refused(self, tmp_path: Path) -> None:
        fasta, labels = write_random(tmp_path / "toy.fa", count=4), tmp_path / "l.tsv"
        parts = ["1.5\ttrain", "1.5\ttrain", "1.5\ttrain", "2.5\tvalidation"]
        rows = "".join(f"r{index}\t{part}\n" for index, part in enumerate(parts))
        labels.write_text("record\tlabel\tsplit\n" + rows)
        with pytest.raises(DataError, match=r"all 3 labels of the training part are 1.5, but"):
            run((fasta, labels), tmp_path / "run", data__task="'regression'")


class TestTheScale:
    """The loss standardises labels, the model reverses it."""

    def test_predicting_the_mean_has_a_loss_of_one(self) -> None:
        targets = np.array([300.0, 310, 320, 390])
        scale = target_scale(targets)
        scheme = LabelScheme(("label",), "regression")
        loss = make_loss(scheme, targets, "balanced", scale)
        assert isinstance(loss, RegressionLoss)
        assert loss(torch.zeros(4, 1), torch.from_numpy(targets).float()).item() == pytest.approx(1)

    def test_a_perfect_prediction_has_no_loss_and_equals_the_label(self) -> None:
        from tests.model.toys import toy

        targets = np.array([-3.0, 4, 12.5])
        scale = target_scale(targets)
        model = toy(task="regression", classes=("label",), **scale)
        logits = torch.from_numpy((targets - targets.mean()) / targets.std())[:, None]
        np.testing.assert_allclose(model.outputs(logits)[:, 0].numpy(), targets, rtol=1e-12)
        loss = RegressionLoss(scale["target_mean"], scale["target_std"])
        assert loss(logits, torch.from_numpy(targets)).item() < 1e-12

    @pytest.mark.parametrize(
        ("numbers", "message"),
        [
            ([1e9, 1e9 + 1], "differences of a ten-thousandth of their size"),
            ([1e300, 2e300], "must fit into float32 numbers"),
            ([-1e308, 1e308], "must fit into float32 numbers"),
            ([2.0, 2.0], "all 2 labels of the training part are 2"),
        ],
    )
    def test_labels_that_float32_does_not_resolve_are_refused(
        self, numbers: list[float], message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            target_scale(np.array(numbers))


class TestTheModel:
    """A regression model in Python."""

    def regression(self, **changes: Any) -> RMTClassifier:
        from tests.model.toys import toy

        settings = {"task": "regression", "classes": ("tm",), "target_mean": 60.0}
        return toy(**{**settings, "target_std": 4.0, **changes})

    def test_predict_gives_floats_in_the_labels_unit(self) -> None:
        model = self.regression()
        values = model.predict(["ACGT", "GATTACA", "N"])
        assert [type(value) for value in values] == [float] * 3
        other = self.regression(target_mean=0.0, target_std=1.0).predict(["ACGT", "GATTACA", "N"])
        np.testing.assert_allclose(values, [60 + 4 * float(value) for value in other], rtol=1e-9)
        assert model.predict([]) == []
        assert model.label_of(np.array([61.25])) == "61.25"

    def test_predict_proba_is_refused(self) -> None:
        model = self.regression()
        with pytest.raises(ConfigError, match="predict_proba: the model is a regression of 'tm',"):
            model.predict_proba(["ACGT"])

    def test_a_single_string_is_refused(self) -> None:
        with pytest.raises(DataError, match="predict: got one string, but needs a list"):
            self.regression().predict("ACGT")

    def test_a_saved_regression_predicts_the_same(self, tmp_path: Path) -> None:
        model = self.regression(target_mean=1 / 3, target_std=1e-7)
        model.save_pretrained(tmp_path)
        loaded = RMTClassifier.from_pretrained(tmp_path)
        assert loaded.config == model.config
        assert loaded.predict(["ACGT", "GG"]) == model.predict(["ACGT", "GG"])

    def test_both_strands_have_one_value_with_the_symmetric_head(self) -> None:
        one, other = self.regression(strand_head="symmetric").predict(["AACGTTG", "CAACGTT"])
        assert one == pytest.approx(other, rel=1e-12)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"classes": ("a", "b")}, "but a regression has one name: that of its number"),
            ({"target_std": 0.0}, "target_std is 0.0, but must be a number above 0"),
            ({"target_mean": float("nan")}, "target_mean is nan, but must be a number"),
            (
                {"task": "binary", "classes": ("a", "b")},
                "have no effect: the task is 'binary'",
            ),
        ],
    )
    def test_wrong_settings_are_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            self.regression(**changes)

    def test_a_config_file_with_a_wrong_deviation_is_reported(self, tmp_path: Path) -> None:
        self.regression().save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "target_std": -1}))
        with pytest.raises(CheckpointError, match=r"config.json: target_std is -1, but must be "):
            RMTClassifier.from_pretrained(tmp_path)
