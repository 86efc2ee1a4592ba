"""``predict_table``, ``calibrated=`` and ``batch_size=``: the command ``predict``, from Python."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.errors import CheckpointError, ConfigError, RMTGenomicsWarning
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.fold_ensemble import FoldEnsemble
from rmt_genomics.prediction.calibration import Calibration
from tests.cli.toys import succeed
from tests.prediction.toys import TWO, dna, saved_model, write_fasta

pd = pytest.importorskip("pandas", reason="needs pandas, the extra pandas")

RECORDS = {f"r{number}": dna(7 * number + 5, seed=number) for number in range(6)}
TASKS: list[dict[str, Any]] = [
    TWO,
    {
        "classes": ("NA", "b", "c"),
        "task": "multilabel",
        "thresholds": (0.999, 0.5, 0.999),
        "thresholds_from": "given",
    },
    {"classes": ("label",), "task": "regression", "target_mean": 3.0, "target_std": 2.0},
]


def calibrated_model(folder: Path) -> RMTClassifier:
    saved_model(folder)
    Calibration("binary", ("at", "gc"), 0.25, np.linspace(0, 0.7, 9)).save(folder)
    return RMTClassifier.from_pretrained(folder)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["task"])
def test_the_table_is_that_of_the_command(tmp_path: Path, task: dict[str, Any]) -> None:
    model = saved_model(tmp_path / "model", **task)
    fasta = write_fasta(tmp_path / "x.fa", {**RECORDS, "unknown": "NNNN"})
    text = succeed("predict", model, fasta).stdout
    expected = pd.read_csv(io.StringIO(text), sep="\t", keep_default_na=False)
    numbers = [name for name in expected if name.startswith(("prob_", "score", "prediction"))]
    for name in numbers:
        expected[name] = pd.to_numeric(expected[name], errors="coerce")

    with pytest.warns(RMTGenomicsWarning, match="no known base: 1"):
        table = RMTClassifier.from_pretrained(model).predict_table(fasta)

    assert table.columns.tolist() == expected.columns.tolist()
    assert table["record"].tolist() == [*RECORDS, "unknown"]
    assert table["note"].tolist() == expected["note"].tolist()
    assert table["length"].tolist() == expected["length"].tolist()
    np.testing.assert_allclose(table[numbers], expected[numbers], rtol=1e-5)
    if "label" in table:
        assert table["label"][:6].tolist() == expected["label"][:6].tolist()
        assert table["label"].isna().tolist() == [False] * 6 + [True]


def test_calibrated_probabilities_are_those_of_the_folder(tmp_path: Path) -> None:
    model = calibrated_model(tmp_path / "model")
    fasta, letters = write_fasta(tmp_path / "x.fa", RECORDS), list(RECORDS.values())
    plain = model.predict_proba(letters)

    found = model.predict_proba(letters, calibrated=True)

    odds = np.log(plain[:, 1] / plain[:, 0]) / 0.25  # a temperature divides the log odds
    np.testing.assert_allclose(np.log(found[:, 1] / found[:, 0]), odds)
    table = model.predict_table(fasta, calibrated=True)
    np.testing.assert_allclose(table[["prob_at", "prob_gc"]], found)
    np.testing.assert_allclose(table["score"], found.max(axis=1))


def test_without_a_calibration_it_is_refused(tmp_path: Path) -> None:
    loaded = RMTClassifier.from_pretrained(saved_model(tmp_path / "model"))
    fasta = write_fasta(tmp_path / "x.fa", RECORDS)
    with pytest.raises(CheckpointError, match=r"has no calibration\.json"):
        loaded.predict_table(fasta, calibrated=True)
    loaded.folder = None
    with pytest.raises(ConfigError, match="the model was not loaded from a folder"):
        loaded.predict_proba(["ACGT"], calibrated=True)
    regression = RMTClassifier.from_pretrained(saved_model(tmp_path / "other", **TASKS[2]))
    with pytest.raises(ConfigError, match="only probabilities are calibrated"):
        regression.predict_table(fasta, calibrated=True)


@pytest.mark.parametrize("method", ["predict_proba", "embed", "predict_table"])
def test_a_batch_size_bounds_the_batches_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    model = RMTClassifier.from_pretrained(saved_model(tmp_path / "model")).double()
    fasta, sizes = write_fasta(tmp_path / "x.fa", RECORDS), []
    for name in ("predict_codes", "embed_codes"):
        compute = getattr(model, name)
        monkeypatch.setattr(
            model,
            name,
            lambda codes, compute=compute, **kw: sizes.append(len(codes)) or compute(codes, **kw),
        )
    given: Any = fasta if method == "predict_table" else list(RECORDS.values())

    one, four = (getattr(model, method)(given, batch_size=size) for size in (1, 4))

    assert sizes == [1] * 6 + [4, 2]
    if method == "predict_table":
        pd.testing.assert_frame_equal(one, four)
    else:
        np.testing.assert_allclose(one, four, atol=1e-7)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8"])
def test_what_is_no_batch_size_is_refused(tmp_path: Path, size: Any) -> None:
    model = RMTClassifier.from_pretrained(saved_model(tmp_path / "model"))
    write_fasta(tmp_path / "x.fa", RECORDS)
    calls = [lambda: model.predict(["ACGT"], batch_size=size)]
    calls.append(lambda: model.predict_table(tmp_path / "x.fa", batch_size=size))
    for call in calls if isinstance(size, int) else []:
        with pytest.raises(ConfigError, match=f"batch_size is {size!r}, but must be a whole"):
            call()


def test_the_models_of_a_cross_validation_give_a_table_as_well(tmp_path: Path) -> None:
    model = RMTClassifier.from_pretrained(saved_model(tmp_path / "model"))
    fasta = write_fasta(tmp_path / "x.fa", RECORDS)

    ensemble = FoldEnsemble([model, model], tmp_path / "model")

    pd.testing.assert_frame_equal(ensemble.predict_table(fasta), model.predict_table(fasta))
    with pytest.raises(CheckpointError, match=r"has no calibration\.json"):
        ensemble.predict_proba(["ACGT"], calibrated=True)


def test_without_pandas_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RMTClassifier.from_pretrained(saved_model(tmp_path / "model"))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pip install 'rmt-genomics\[pandas\]'"):
        model.predict_table(write_fasta(tmp_path / "x.fa", RECORDS))
