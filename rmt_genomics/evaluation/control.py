"""The trained control of a model: the same network without memory, or from random weights.

``train --control`` makes it, in the folder of the model. It is compared with the model only if it
is the same network, trained on the same data with the same settings: else a difference could have
another cause than memory, or than the weights that the model started from.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.evaluation.baselines import BaselinePredictions
from rmt_genomics.evaluation.evaluation_set import EvaluationSet, log_stage, predict_examples
from rmt_genomics.evaluation.result_files import read_epochs
from rmt_genomics.evaluation.summary import CONTROL, RANDOM_TWIN
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.pretrained import CONFIG, read_config
from rmt_genomics.parsing import read_text, read_toml

FOLDER = "control"
_MEMORY, _SETTINGS = "memory_reset", "config.toml"
_MAY_DIFFER = {
    CONTROL: ("model.memory_reset", "training.checkpoint_minutes"),
    RANDOM_TWIN: (
        *("model.backbone_weights", "training.init_from", "training.keep_head"),
        *("training.encoder_lr_factor", "training.checkpoint_minutes"),
    ),
}
_NAMES = {
    CONTROL: "the same network trained without memory",
    RANDOM_TWIN: "the same network trained from random weights",
}

_CHOSEN = ("thresholds", "thresholds_from")  # by each network's own predictions


@dataclass(frozen=True, slots=True, eq=False)
class TrainedControl:
    """The control in a model folder."""

    model: RMTClassifier | None
    """None if it cannot be compared."""

    key: str = CONTROL
    """That of its metrics: ``CONTROL`` or ``RANDOM_TWIN``."""

    notes: tuple[str, ...] = ()
    """Why not, or what limits the comparison; for the notes of ``metrics.json``."""

    def predictions(self, eval_set: EvaluationSet) -> list[BaselinePredictions]:
        """Return its predictions of the evaluated examples; none if it cannot be compared."""
        if self.model is None:
            return []
        log_stage("predictions of the control", eval_set.examples)
        outputs = predict_examples(self.model, eval_set.store, eval_set.examples)
        thresholds = self.model.config.thresholds
        return [BaselinePredictions(self.key, _NAMES[self.key], outputs, thresholds=thresholds)]


def load_control(model_dir: Path, model: RMTClassifier) -> TrainedControl | None:
    """Load the control of a model from its folder; None if there is none.

    Warns of one that cannot be compared with the model.

    Raises:
        RMTGenomicsError: If a file of it is damaged.
    """
    folder = model_dir / FOLDER
    if not any((folder / name).is_file() for name in (CONFIG, _SETTINGS)):
        return None
    key = control_kind(model_dir, folder)
    problem = next(_problems(model_dir, model, folder, key), None)
    if problem is not None:
        note = f"{folder}: the control is left out: {problem}."
        warnings.warn(note, RMTGenomicsWarning, stacklevel=3)
        return TrainedControl(None, key, (note,))
    return TrainedControl(
        RMTClassifier.from_pretrained(folder, device=model.device),
        key,
        tuple(_limits(model_dir, model, folder)),
    )


def control_kind(model_dir: Path, folder: Path) -> str:
    """Return what the settings of a control say that it is: ``CONTROL`` or ``RANDOM_TWIN``."""
    settings, others = (_flat_settings(each / _SETTINGS) for each in (model_dir, folder))
    keys = ("model.backbone_weights", "training.init_from")
    is_random = any(settings.get(key) != others.get(key) for key in keys)
    return RANDOM_TWIN if is_random and settings and others else CONTROL


def _problems(model_dir: Path, model: RMTClassifier, folder: Path, kind: str) -> Iterator[str]:
    """Yield why a control cannot be compared with the model."""
    if not (folder / CONFIG).is_file():
        yield "its training has not finished; train --resume continues it"
        return
    config = read_config(folder / CONFIG)
    if kind == CONTROL and (model.config.memory_reset, config.memory_reset) != ("never", "segment"):
        yield "the model must have a memory, and the control none"
    may_differ = (_MEMORY, *_CHOSEN) if kind == CONTROL else _CHOSEN
    for key, value in model.config:
        if key not in may_differ and value != (other := getattr(config, key)):
            yield f"its {key} is {other}, and that of the model {value}"
    settings, others = (_flat_settings(each / _SETTINGS) for each in (model_dir, folder))
    for key in settings.keys() & others.keys() - set(_MAY_DIFFER[kind]):
        if settings[key] != others[key]:
            yield f"its {key} was {others[key]} in training, and that of the model {settings[key]}"
    if _seed(model_dir) != _seed(folder):
        yield "it was trained with another seed"
    if _text(model_dir / "split.tsv") != _text(folder / "split.tsv"):
        yield "it was trained on other examples, or another split of them (split.tsv)"


def _limits(model_dir: Path, model: RMTClassifier, folder: Path) -> Iterator[str]:
    """Yield what limits the comparison."""
    steps, others = (_steps(each / "metrics.jsonl") for each in (model_dir, folder))
    if steps != others:
        yield f"The model was trained for {steps:,} steps, and its control for {others:,}."
    if model.config.pooling == "last" and control_kind(model_dir, folder) == CONTROL:
        yield (
            "The control (trained without memory) reads only the last segment of each strand, "
            "since model.pooling is 'last'; with another pooling it reads every segment."
        )


def _flat_settings(path: Path) -> dict[str, Any]:
    """Return the settings of a run by dotted key; empty if the file is not there."""
    remedy = "Copy it again, or remove the folder of the control."
    tables = read_toml(_text(path), str(path), remedy)
    return {
        f"{name}.{key}": value
        for name, table in tables.items()
        if isinstance(table, dict)
        for key, value in table.items()
    }


def _seed(folder: Path) -> list[str]:
    lines = _text(folder / "environment.txt").splitlines()
    return [line for line in lines if line.startswith("seed: ")]


def _steps(path: Path) -> int:
    rows = read_epochs(path) if path.is_file() else []
    return int(rows[-1].get("step") or 0) if rows else 0


def _text(path: Path) -> str:
    return read_text(path, "a file of a training") if path.is_file() else ""
