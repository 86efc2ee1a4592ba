"""Calibrated probabilities, and sets of labels with a guaranteed coverage.

One number, the *temperature*, divides the logits: it changes no label of a single-label task, but
corrects over-confidence (Guo et al. 2017, arXiv:1706.04599, section 4.2). With it come the scores
of split-conformal prediction (Angelopoulos & Bates 2021, arXiv:2107.07511, section 1): a set of
labels that holds the true one with a chosen probability, for examples from the same distribution
as those it was fitted on.

Dimensions: n examples, c classes.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.fold_ensemble import AnyModel
from rmt_genomics.model.kmer_regression import KmerRegression
from rmt_genomics.model.metrics import logits_of, one_hot, probabilities_of
from rmt_genomics.model.pretrained import find_model_file
from rmt_genomics.model.settings import as_toml
from rmt_genomics.parsing import read_json, read_text

FILE_NAME = "calibration.json"
FORMAT = 1
_REMEDY = "Remove the file, or evaluate the run again."
_LOWEST, _HIGHEST = 0.02, 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A temperature and conformal scores, fitted on examples the model was not trained on."""

    task: str
    classes: tuple[str, ...]  # label names, in the order of the probabilities
    temperature: float
    """Logits are divided by this: above 1 the model was over-confident, below 1 under-confident."""

    scores: np.ndarray
    """``(n,)`` sorted: 1 - the calibrated probability of the true label; multi-label: of the least
    probable of the true labels, and 0 for an example that has none."""

    fitted_on: str = "validation"  # the part of the split that the examples are from

    @classmethod
    def fit(
        cls,
        logits: np.ndarray,
        targets: np.ndarray,
        task: str,
        classes: Sequence[str],
        *,
        fitted_on: str = "validation",
    ) -> "Calibration":
        """Fit the temperature that minimises the log loss, and compute the scores with it.

        If every prediction is right, the log loss has no minimum and the temperature stays 1; if
        the model is no better than chance, it is the highest allowed, 50.

        Logits ``(n, c)`` are of examples that were not trained on; targets are class indices
        ``(n,)``, or 0/1 per class ``(n, c)`` for multi-label.

        Raises:
            DataError: If there is no example.
            ConfigError: If the task has no probabilities (regression).
        """
        if task not in ("binary", "multiclass", "multilabel"):
            raise ConfigError(
                f"the task is {task!r}, but only probabilities are calibrated: it must be binary, "
                "multiclass or multilabel."
            )
        if not len(logits):
            raise DataError("there is no example to calibrate on, but at least 1 is needed.")
        temperature = _best_temperature(logits, targets, task)
        probabilities = probabilities_of(logits / temperature, task)
        has_label = one_hot(targets, logits.shape[1]) == 1
        scores = np.where(has_label, 1 - probabilities, 0.0).max(axis=1)  # of the least likely one
        return cls(task, tuple(classes), temperature, np.sort(scores), fitted_on)

    @property
    def n(self) -> int:
        """Examples it was fitted on."""
        return len(self.scores)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities ``(n, c)`` for those of the model."""
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.classes):
            raise DataError(
                f"the probabilities have shape {probabilities.shape}, but must have one column "
                f"for each of {', '.join(self.classes)}."
            )
        return probabilities_of(logits_of(probabilities, self.task) / self.temperature, self.task)

    def label_sets(self, probabilities: np.ndarray, coverage: float) -> list[tuple[str, ...]]:
        """Return for each row of probabilities ``(n, c)``, not calibrated yet, the possible labels.

        Of examples from the same distribution as those it was fitted on, a fraction of at least
        ``coverage`` have their true label in the set (multi-label: all of their true labels). In
        single-label tasks the most probable label is always in it. If it was fitted on too few
        examples for this coverage, a set holds all labels.

        Raises:
            ConfigError: If the coverage is not above 0 and below 1.
        """
        threshold = self.threshold(coverage)
        rows = self.apply(probabilities)
        is_in = 1 - rows <= threshold + 1e-12
        if self.task != "multilabel":
            is_in[np.arange(len(rows)), rows.argmax(axis=1)] = True
        return [tuple(compress(self.classes, row)) for row in is_in]

    def threshold(self, coverage: float) -> float:
        """Return the score up to which a label is in the set: the finite-sample quantile.

        Infinite where ``n`` examples are too few for the coverage.
        """
        if not 0 < coverage < 1:
            raise ConfigError(f"the coverage is {coverage}, but must be above 0 and below 1.")
        rank = math.ceil((self.n + 1) * coverage - 1e-9)
        return float(self.scores[rank - 1]) if rank <= self.n else math.inf

    def save(self, folder: str | Path) -> None:
        """Write ``calibration.json`` into a model folder, atomically."""
        folder = Path(folder)
        content = {
            "format": FORMAT,
            "task": self.task,
            "classes": list(self.classes),
            "temperature": self.temperature,
            "n": self.n,
            "fitted_on": self.fitted_on,
            "conformal": {"scores": self.scores.tolist()},
        }
        write_text(folder / FILE_NAME, json.dumps(content, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> "Calibration | None":
        """Read what ``save`` wrote; None if the folder has no such file.

        Raises:
            CheckpointError: If the file is cut, or holds something else.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            return None
        try:
            text = read_text(path, "a calibration", CheckpointError)
            content = read_json(text, str(path), _REMEDY, CheckpointError)
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {as_toml(content['format'])}, not {FORMAT}")
            scores = np.array(content["conformal"]["scores"], dtype=float)
            names = [*content["classes"], content["task"], content["fitted_on"]]
            if not all(isinstance(name, str) and name.isprintable() for name in names):
                raise ValueError("its classes, task or part are not text")
            calibration = cls(
                content["task"],
                tuple(content["classes"]),
                float(content["temperature"]),
                scores,
                content["fitted_on"],
            )
            if not _LOWEST / 2 < calibration.temperature < 2 * _HIGHEST:
                raise ValueError(f"its temperature is not in {_LOWEST} to {_HIGHEST}")
            if scores.ndim != 1 or not 0 < calibration.n == content["n"]:
                raise ValueError("the number of its scores is not its n")
            # (>=: probabilities add up to 1 but for rounding.)
            if not (scores[0] >= -1e-9 and (np.diff(scores) >= 0).all() and scores[-1] <= 1 + 1e-9):
                raise ValueError("its scores are not sorted numbers of 0 to 1")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise CheckpointError(
                f"{path}: is not a calibration ({error}), but must be one that an evaluation "
                f"wrote. {_REMEDY}"
            ) from error
        return calibration


def check_same_classes(
    path: Path, fitted: Calibration | KmerRegression, model: ClassifierConfig
) -> None:
    """Raise CheckpointError if the content of a file was fitted for another model."""
    if (fitted.classes, fitted.task) != (model.classes, model.task):
        raise CheckpointError(
            f"{path}: has the classes {', '.join(fitted.classes)} ({fitted.task}), but the "
            f"model beside it has {', '.join(model.classes)} ({model.task}). Remove the file."
        )


def find_calibration(model_dir: str | Path, model: ClassifierConfig) -> Calibration:
    """Read the calibration of a model: in its folder, or from the hub.

    Raises:
        CheckpointError: If there is none, or it is of another model.
    """
    try:
        path = find_model_file(model_dir, FILE_NAME)
    except CheckpointError as error:
        raise CheckpointError(
            f"{model_dir}: has no {FILE_NAME}, but --calibrated and --coverage need one. "
            "A training writes it if it has validation examples; train again, or leave both out."
        ) from error
    calibration = Calibration.load(path.parent)
    assert calibration is not None, "the file is there"
    check_same_classes(path, calibration, model)
    return calibration


def calibration_of(model: AnyModel) -> Calibration:
    """Return the calibration in the folder that a model was loaded from.

    Raises:
        CheckpointError: If there is none, or it is of another model.
        ConfigError: If the model was not loaded, or is a regression.
    """
    if model.config.task == "regression":
        raise ConfigError(
            "calibrated: the model is a regression, but only probabilities are calibrated. Leave "
            "it out."
        )
    if model.folder is None:
        raise ConfigError(
            f"calibrated: the model was not loaded from a folder, but its calibration is a file "
            f"({FILE_NAME}) in the folder of a training. Load it: "
            "RMTClassifier.from_pretrained(folder)."
        )
    return find_calibration(model.folder, model.config)


def log_loss(logits: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Return the mean log loss in nats per example; multi-label: per example and class."""
    from scipy.special import log_softmax

    if task == "multilabel":
        return float((np.logaddexp(0, logits) - targets * logits).mean())
    return float(-log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean())


def _best_temperature(logits: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Minimise the log loss, which is convex in 1 / temperature."""
    from scipy.optimize import minimize_scalar

    if _all_right(logits, targets, task):
        return 1.0  # the log loss falls with the temperature, and has no minimum
    result = minimize_scalar(
        lambda log_temperature: log_loss(logits / math.exp(log_temperature), targets, task),
        bounds=(math.log(_LOWEST), math.log(_HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(result.x)


def _all_right(logits: np.ndarray, targets: np.ndarray, task: str) -> bool:
    if task == "multilabel":
        return bool(((logits > 0) == targets.astype(bool)).all())
    rows = np.arange(len(targets))
    others = logits.copy()
    others[rows, targets] = -np.inf
    return bool((logits[rows, targets] > others.max(axis=1)).all())
