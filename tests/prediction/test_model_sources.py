"""A model of the hub is looked up once in a run; a folder may have any name."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.evaluation import evaluate
from rmt_genomics.model import RMTClassifier
from rmt_genomics.prediction import PredictionInput
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.predictor import DecisionRule
from rmt_genomics.prediction.run import PredictionConfig, write_predictions
from tests.prediction.toys import TWO, saved_model, two_kinds

HUB = "hf://owner/phages"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = saved_model(tmp_path / "model")
    Calibration(TWO["task"], TWO["classes"], 3.0, np.linspace(0.3, 0.52, 30)).save(folder)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def asked(model: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every question to the hub, which has the model as it is on the disk."""
    names: list[str] = []

    def download(hub_id: str, **_: object) -> str:
        names.append(hub_id)
        return str(model)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return names


def test_predict_asks_the_hub_once(tmp_path: Path, model: Path, asked: list[str]) -> None:
    fasta, _ = two_kinds(tmp_path)
    outputs = []
    for source in (str(model), HUB):
        settings = PredictionInput(fasta=(fasta,))
        rule = DecisionRule(calibrated=True)
        config = PredictionConfig(model_dir=source, input=settings, decision_rule=rule)
        write_predictions(config, tmp_path / "out.tsv", resume=False)
        outputs.append((tmp_path / "out.tsv").read_text())

    assert asked == ["owner/phages"]
    assert outputs[0] == outputs[1]


def test_evaluate_asks_the_hub_once_and_uses_the_calibration(
    tmp_path: Path, model: Path, asked: list[str]
) -> None:
    files = two_kinds(tmp_path, splits="train test")

    outputs = {"folder": str(model), "hub": HUB}
    metrics = [evaluate(source, *files, tmp_path / name) for name, source in outputs.items()]
    sources = [each.pop("provenance")["model"] for each in metrics]

    assert sources == [str(model), HUB]
    assert asked == ["owner/phages"]
    assert metrics[0]["calibration"]["temperature"] == 3.0
    assert metrics[0] == metrics[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_not_utf8_works(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    files = two_kinds(tmp_path, splits="train validation test")
    model = RMTClassifier.from_pretrained(saved_model(folder / "model"))

    evaluate(folder / "model", *files, folder / "out")
    model.save_pretrained(folder / "copy")

    again = RMTClassifier.from_pretrained(folder / "copy")
    np.testing.assert_array_equal(again.predict_proba(["ACGT"]), model.predict_proba(["ACGT"]))
