"""The models of a cross-validation as one: the mean of their probabilities.

The folder of a cross-validation holds ``folds.json`` and the run folders ``fold-1``, ``fold-2`` and
so on.

Dimensions: b sequences of a batch, c classes.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.model.batching import compute_in_batches, encode_sequences
from rmt_genomics.model.classifier import RMTClassifier
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.metrics import predicted_classes
from rmt_genomics.model.pretrained import (
    CONFIG,
    FOLDS,
    WEIGHTS,
    find_model_file,
    find_model_folder,
    read_config,
)
from rmt_genomics.parsing import read_json, read_text

if TYPE_CHECKING:
    import pandas as pd

_MOST_FOLDS = 10_000


class FoldEnsemble:
    """The models of all folds; it predicts like a single ``RMTClassifier``.

    Args:
        models: At least one, of the same classes and task.
        folder: That of the cross-validation.
    """

    def __init__(self, models: Sequence[RMTClassifier], folder: Path) -> None:
        self.models = list(models)
        self.folder = folder
        self.config = joint_config([model.config for model in models])

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str | torch.device = "cpu"
    ) -> "FoldEnsemble":
        """Load the models of the folder of a cross-validation, ready to predict.

        Raises:
            CheckpointError: If a fold is missing, or its files are.
        """
        folder = find_model_folder(source)
        folders = model_folders(folder)
        return cls([RMTClassifier.from_pretrained(each, device=device) for each in folders], folder)

    @property
    def classes_(self) -> tuple[str, ...]:
        """Label names, in the order of the probabilities."""
        return self.config.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.models[0].device

    def predict_codes(
        self, codes: Sequence[np.ndarray], *, on_read: Callable[[int], object] = lambda _: None
    ) -> np.ndarray:
        """Return the mean of the probabilities (or values) of all models ``(b, c)``.

        The arguments are those of ``RMTClassifier.predict_codes``.
        """
        *others, last = self.models
        outputs = [model.predict_codes(codes) for model in others]
        outputs.append(last.predict_codes(codes, on_read=on_read))
        mean: np.ndarray = np.mean(outputs, axis=0)
        return mean

    def predict_proba(
        self, sequences: Iterable[Any], *, calibrated: bool = False, batch_size: int | None = None
    ) -> np.ndarray:
        """Return the mean probability of each class, as ``RMTClassifier.predict_proba`` does."""
        if self.config.task == "regression":
            raise ConfigError(
                "predict_proba: the models are regressions, but only models of classes have "
                "probabilities. Use predict, which returns the mean of their values."
            )
        calibration = None
        if calibrated:  # looked for before the work is done
            from rmt_genomics.prediction.calibration import calibration_of

            calibration = calibration_of(self)
        rows = self._outputs("predict_proba", sequences, batch_size)
        return rows if calibration is None else calibration.apply(rows)

    def predict_table(
        self, fasta: str | Path, *, calibrated: bool = False, batch_size: int | None = None
    ) -> "pd.DataFrame":
        """Return the predictions for a file, as ``RMTClassifier.predict_table`` does."""
        from rmt_genomics.prediction.run import predict_table

        return predict_table(self, fasta, calibrated=calibrated, batch_size=batch_size)

    def predict(
        self, sequences: Iterable[Any], *, batch_size: int | None = None
    ) -> list[str] | list[float]:
        """Return the label or value of each sequence, as ``RMTClassifier.predict`` does."""
        outputs = self._outputs("predict", sequences, batch_size)
        if self.config.task == "regression":
            return [float(value) for value in outputs[:, 0]]
        return [self.label_of(row) for row in outputs]

    def label_of(self, outputs: np.ndarray) -> str:
        """Return the label of one row of outputs, as ``RMTClassifier.label_of`` does."""
        if self.config.task == "regression":
            return f"{outputs[0]:.6g}"
        (called,) = predicted_classes(outputs[None], self.config.task, self.config.thresholds)
        return ";".join(compress(self.classes_, called))

    def _outputs(self, caller: str, sequences: Iterable[Any], batch_size: int | None) -> np.ndarray:
        codes = encode_sequences(sequences, caller=caller)
        return compute_in_batches(
            [len(sequence) for sequence in codes],
            lambda batch: self.predict_codes([codes[index] for index in batch]),
            (len(self.classes_),),
            batch_size=batch_size,
        )


AnyModel = RMTClassifier | FoldEnsemble


def load_model(source: str | Path, *, device: str | torch.device = "cpu") -> AnyModel:
    """Load a model, or those of a cross-validation as one.

    Raises:
        CheckpointError: If files are missing, cut, or of different models.
        ConfigError: If it has no classes.
    """
    folder = find_model_folder(source)
    kind = FoldEnsemble if (folder / FOLDS).is_file() else RMTClassifier
    model: AnyModel = kind.from_pretrained(folder, device=device)
    model.config.check_has_classes(source)
    return model


def read_joint_config(folder: Path, *, needs_classes: bool = True) -> ClassifierConfig:
    """Read the settings of a model, or those that a cross-validation has as one."""
    folders = model_folders(folder)
    config = joint_config([read_config(find_model_file(each, CONFIG)) for each in folders])
    if needs_classes:
        config.check_has_classes(folder)
    return config


def joint_config(configs: Sequence[ClassifierConfig]) -> ClassifierConfig:
    """Return the settings of several models as one.

    Lengths are those of all training examples, and thresholds are the mean.
    """
    first = configs[0]
    if len(configs) == 1:
        return first
    own = [each.thresholds for each in configs if each.thresholds is not None]
    half = (0.5,) * (len(own[0]) if own else 0)
    thresholds = np.mean([each.thresholds or half for each in configs], axis=0).tolist()
    origin = next((each.thresholds_from for each in configs if each.thresholds_from), None)
    return first.replace(
        min_train_bp=min(each.min_train_bp for each in configs),
        max_train_bp=max(each.max_train_bp for each in configs),
        thresholds=thresholds if own else None,
        thresholds_from=origin,
    )


def model_folders(folder: Path) -> list[Path]:
    """Return the model folders of a cross-validation, or the folder of any other model.

    Raises:
        CheckpointError: If a fold is not trained yet.
    """
    if not (folder / FOLDS).is_file():
        return [folder]
    num_folds = read_folds(folder)["folds"]
    folders = [folder / f"fold-{number}" for number in range(1, num_folds + 1)]
    for number, each in enumerate(folders, 1):
        if not all((each / name).is_file() for name in (CONFIG, WEIGHTS)):
            raise CheckpointError(
                f"{folder}: fold {number} of {num_folds} is not trained yet, but all folds predict "
                f"together. Continue: rmt-genomics train ... --out {folder} --resume"
            )
    return folders


def read_folds(folder: Path) -> dict[str, Any]:
    """Return the content of ``folds.json``: folds, seed, and checksums of the data.

    Raises:
        CheckpointError: If it is damaged.
    """
    path = folder / FOLDS
    remedy = "Copy it again, or start a new cross-validation."
    text = read_text(path, "the folds of a cross-validation", CheckpointError)
    content = read_json(text, str(path), remedy, CheckpointError)
    folds = content.get("folds") if isinstance(content, dict) else None
    if type(folds) is not int or not 2 <= folds <= _MOST_FOLDS:
        raise CheckpointError(
            f"{path}: has no number of folds, but must have one, as 'folds'. {remedy}"
        )
    return dict(content)
