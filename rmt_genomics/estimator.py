"""scikit-learn estimators: ``RMTEstimator`` trains a classifier, ``RMTTransformer`` embeds DNA.

``RMTEstimator`` trains as ``rmt-genomics train`` does, by the same code, in a temporary folder that
is removed afterwards. It can be cloned, searched over, calibrated and put into a pipeline.

Dimensions: n sequences, c classes.
"""

import tempfile
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.utilities.seed import isolate_rng
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.validation import check_is_fitted, column_or_1d

from rmt_genomics.atomic_io import write_lines
from rmt_genomics.datasets import Example, LabelSource
from rmt_genomics.datasets.examples import without_small_classes
from rmt_genomics.datasets.label_checks import first_few
from rmt_genomics.datasets.splits import IN_A_COLUMN
from rmt_genomics.dna.alphabet import decode
from rmt_genomics.dna.record_types import Interval, RecordInfo
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.evaluation.result_files import read_epochs
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import encode_sequences
from rmt_genomics.model.metrics import predicted_classes
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.parsing import shown, shown_type
from rmt_genomics.training import ExperimentConfig, read_config, runtime
from rmt_genomics.training.control import TrainingJob
from rmt_genomics.training.distributed import DistributedSetup
from rmt_genomics.training.train import run_training

_CALLER = "RMTEstimator.fit"
_SEVERAL = (list, tuple, set, frozenset)  # types of the labels of one sequence


class RMTEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """Classify DNA, or predict numbers, as an estimator of scikit-learn.

    The validation part, by which the best epoch is chosen, is drawn from the sequences of ``fit``.

    Args:
        settings: ``KEY=VALUE``, as for ``rmt-genomics train --set``: ``["model.preset=tiny"]``.
            What is not given is chosen by the data. ``data.task=regression`` makes it a regressor.
        seed: Seed of everything random: the validation part, initial weights, order, dropout.
        device: auto, cpu, cuda or mps.
        verbose: Show messages and the metrics of each epoch on stderr.

    Attributes:
        model_: The trained ``RMTClassifier``. ``model_.save_pretrained(folder)`` saves it.
        classes_: The classes, sorted, as they are in ``y``: the columns of ``predict_proba``. A
            regression has none.
        history_: The metrics of each epoch, as in ``metrics.jsonl``.
    """

    classes_: np.ndarray

    def __init__(
        self,
        settings: Sequence[str] = (),
        *,
        seed: int = 0,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def fit(self, X: Iterable[Any], y: Any = None, groups: Any = None) -> "RMTEstimator":
        """Train a model.

        Args:
            X: DNA letters, 5' to 3': strings, ``Bio.Seq`` or ``SeqRecord``, in a list, a pandas
                Series or a NumPy array.
            y: One label per sequence: text or whole numbers. Numbers with decimals are predicted
                as numbers (regression). Several labels per sequence are lists of names, or a matrix
                or data frame of 0 and 1 with one column per label.
            groups: One name or number per sequence. Sequences of one group (such as similar ones)
                are not divided between training and validation.

        Raises:
            DataError: If sequences, labels or groups cannot be used.
            ConfigError: If a setting is wrong.
        """
        settings = self._settings()
        targets = Targets.read(y, read_config(None, settings).data.task)
        config = read_config(None, [*settings, f"data.task={targets.task}"])
        _check_arguments(config, self.seed)
        codes = encode_sequences(X, caller=_CALLER)
        group_names = _group_names(groups)
        _check_lengths(codes, y=targets.values, groups=group_names)
        labels = _ArrayLabels("y", labels=targets.names_of_each(), groups=group_names)
        with tempfile.TemporaryDirectory(prefix="rmt-genomics-") as folder:
            self._train(Path(folder), map(decode, codes), labels, config)
        self._is_multilabel = targets.is_multilabel
        self._take_classes(targets)
        return self

    def _settings(self) -> list[str]:
        given = self.settings
        is_list = isinstance(given, list | tuple)
        if not is_list or not all(isinstance(each, str) for each in given):
            raise ConfigError(
                f"RMTEstimator: settings is {shown(given)}, but must be a list of KEY=VALUE. For "
                "example: settings=['model.preset=tiny']."
            )
        return list(given)

    def _train(
        self, folder: Path, sequences: Iterable[str], labels: "_ArrayLabels", config: Any
    ) -> None:
        """Train as the command line does; all files are within ``folder``."""
        fasta, run = folder / "X.fasta", folder / "run"
        write_lines(fasta, (f">{_name(row)}\n{text}" for row, text in enumerate(sequences)))
        job = TrainingJob(
            fasta=fasta,
            labels=labels,
            out=run,
            config=config,
            device=self.device,
            seed=self.seed,
            resume=False,
            overwrite=False,
            strict=False,
            cache=folder / "cache",
        )
        log = runtime.log_to_stderr_by_default() if self.verbose else nullcontext()
        try:
            with isolate_rng(), log:  # the random numbers of the caller go on as without the fit
                result = run_training(job, DistributedSetup())
        except RMTGenomicsError as error:  # its files are unknown to the caller
            text = str(error).replace(str(run), _CALLER).replace(str(fasta), "X")
            text = text.replace(IN_A_COLUMN, "")  # there is no table
            raise type(error)(text) from error
        except KeyboardInterrupt as stop:  # without advice on how to resume
            raise KeyboardInterrupt from stop
        assert result.model is not None, "there is one process"
        assert result.store is not None
        result.store.release()
        self.history_ = read_epochs(run / "metrics.jsonl")
        self.model_: RMTClassifier = result.model.to(choose_device(self.device))
        self.model_.folder = None

    def _take_classes(self, targets: "Targets") -> None:
        if targets.classes is None:
            if hasattr(self, "classes_"):  # of an earlier fit
                del self.classes_
            return
        is_known = [name in self.model_.classes_ for name in targets.names]
        if targets.has_matrix and not all(is_known):
            lost = [name for name, known in zip(targets.names, is_known, strict=True) if not known]
            warnings.warn(
                f"{_CALLER}: no sequence has {first_few(lost)} ({len(lost)} of {len(is_known)} "
                "columns of y), so the probability is 0 for all.",
                RMTGenomicsWarning,
                stacklevel=3,
            )
        self.classes_ = targets.classes if targets.has_matrix else targets.classes[is_known]

    def predict(self, X: Iterable[Any]) -> np.ndarray:
        """Return the class of each sequence ``(n,)``, or the number of a regression.

        With several labels per sequence it is 1 for each that is predicted, else 0: ``(n, c)``.
        """
        check_is_fitted(self, "model_")
        config = self.model_.config
        if config.task == "regression":
            return np.array(self.model_.predict(X), dtype=float)
        called = predicted_classes(self.model_.predict_proba(X), config.task, config.thresholds)
        rows = self._by_class(called)
        if self._is_multilabel:
            return rows.astype(int)
        predicted: np.ndarray = self.classes_[rows.argmax(axis=1)]
        return predicted

    def predict_proba(self, X: Iterable[Any]) -> np.ndarray:
        """Return the probabilities ``(n, c)`` of the classes, in the order of ``classes_``.

        Raises:
            ConfigError: If the model is a regression.
        """
        check_is_fitted(self, "model_")
        return self._by_class(self.model_.predict_proba(X))

    def score(self, X: Iterable[Any], y: Any) -> float:
        """Return the accuracy, or R2 of a regression.

        With several labels per sequence it is the fraction of sequences with all labels right.
        """
        predicted = self.predict(X)
        if self.model_.config.task == "regression":
            return float(r2_score(y, predicted))
        if self._is_multilabel and (lists := _label_lists(y)) is not None:
            y = [[name in map(str, row) for name in map(str, self.classes_)] for row in lists]
            y = np.array(y, dtype=int)
        return float(accuracy_score(y, predicted))

    def _by_class(self, rows: np.ndarray) -> np.ndarray:
        """Put the columns of the model into the order of ``classes_``; 0 for what it lacks."""
        ordered = np.zeros((len(rows), len(self.classes_)), dtype=rows.dtype)
        column_of = {name: column for column, name in enumerate(self.model_.classes_)}
        for column, name in enumerate(map(str, self.classes_)):
            if name in column_of:
                ordered[:, column] = rows[:, column_of[name]]
        return ordered

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of a classifier; of a regressor, if it is or will be one."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, False
        tags.input_tags.string = True
        tags.target_tags.required = True
        if hasattr(self, "model_"):
            is_regressor = self.model_.config.task == "regression"
        else:  # (no error here, whatever the settings are)
            given = self.settings if isinstance(self.settings, list | tuple) else ()
            texts = ["".join(str(each).split()) for each in given]
            tasks = [text for text in texts if text.startswith("data.task=")]
            is_regressor = bool(tasks) and "regression" in tasks[-1]
        tags.estimator_type = "regressor" if is_regressor else "classifier"
        if is_regressor:
            tags.regressor_tags = RegressorTags()
        else:
            tags.classifier_tags = ClassifierTags(multi_label=True)
        return tags


class RMTTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn DNA into the vectors that the head of a trained model reads: ``RMTClassifier.embed``.

    ``fit`` learns nothing: it loads the model.

    Args:
        model: A model folder (or ``hf://owner/name``), or an ``RMTClassifier``, such as the
            ``model_`` of a fitted ``RMTEstimator``.
        device: auto, cpu, cuda or mps.
        batch_size: Most sequences that are computed together; None = 64, or fewer if they are long.

    Attributes:
        model_: The model that is used.
    """

    def __init__(
        self,
        model: str | Path | RMTClassifier,
        *,
        device: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.batch_size = batch_size

    def fit(self, X: Any = None, y: Any = None) -> "RMTTransformer":
        """Load the model; sequences and labels are not read.

        Raises:
            CheckpointError: If there is no such model.
            ConfigError: If ``model`` is neither a path nor a model.
        """
        del X, y
        device = choose_device(self.device)
        if isinstance(self.model, RMTClassifier):
            self.model_ = deepcopy(self.model).to(device)
        elif isinstance(self.model, str | Path):
            self.model_ = RMTClassifier.from_pretrained(self.model, device=device)
        else:
            raise ConfigError(
                f"RMTTransformer: model is {shown_type(self.model)}, but must be a model folder or "
                "an RMTClassifier. Of a fitted RMTEstimator, pass its model_."
            )
        return self

    def transform(self, X: Iterable[Any]) -> np.ndarray:
        """Return one vector per sequence, ``(n, features)`` float32."""
        check_is_fitted(self, "model_")
        return self.model_.embed(X, batch_size=self.batch_size)

    @property
    def _n_features_out(self) -> int:
        """Number of features, for ``get_feature_names_out``."""
        return self.model_.config.encoding_width

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of a transformer of text."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The ``y`` of a fit, whatever form it had."""

    values: np.ndarray
    """A label or number per sequence ``(n,)``, or 0 and 1 ``(n, c)`` for several labels."""

    classes: np.ndarray | None
    """All labels, sorted, or in the order of columns; None for a regression."""

    has_matrix: bool = False  # y was a matrix of 0 and 1, whose columns are kept

    @classmethod
    def read(cls, y: Any, task: str) -> "Targets":
        """Read labels; ``task`` is the setting ``data.task``.

        Raises:
            DataError: If they are missing, of several types, or do not fit the task.
        """
        if y is None:
            raise DataError(
                f"{_CALLER}: requires y to be passed, but the target y is None. Pass one label per "
                "sequence."
            )
        lists = _label_lists(y)
        if lists is None:
            array = y.toarray() if issparse(y) else np.asarray(y)
            is_matrix = array.ndim == 2 and array.shape[1] > 1
            if not is_matrix:
                return cls._of_array(column_or_1d(array, warn=True), task)
            if not np.isin(array, (0, 1)).all():
                raise DataError(
                    f"{_CALLER}: y has {array.shape[1]} columns and other values than 0 and 1, but "
                    "several labels per sequence are a matrix of 0 and 1. Pass one column, or "
                    "lists of labels."
                )
            names = getattr(y, "columns", None)  # of a data frame
            classes = np.arange(array.shape[1]) if names is None else np.array(list(names))
            targets = cls(array.astype(int), classes, has_matrix=True)
        else:
            classes = _sorted_classes([label for row in lists for label in row])
            hot = [[label in row for label in classes.tolist()] for row in lists]
            targets = cls(np.array(hot, dtype=int).reshape(len(lists), -1), classes)
        if task == "regression":
            raise DataError(
                f"{_CALLER}: y has several labels per sequence, but data.task is 'regression', "
                "which needs one number for each. Leave the setting out, or pass numbers."
            )
        return targets

    @classmethod
    def _of_array(cls, array: np.ndarray, task: str) -> "Targets":
        for row, value in enumerate(array.tolist()):
            if _is_missing(value):
                raise DataError(
                    f"{_CALLER}: y is {value} for sequence {row}, but each sequence needs a label. "
                    "Fill it in, or leave the sequence out."
                )
        if array.dtype == object and not any(isinstance(value, str) for value in array):
            array = np.array(array.tolist())  # pandas may have numbers as objects
        is_float = np.issubdtype(array.dtype, np.floating)
        if task == "regression" or (task == "auto" and is_float and (array % 1 != 0).any()):
            try:
                return cls(array.astype(float), None)
            except ValueError as error:
                raise DataError(
                    f"{_CALLER}: y holds labels that are no numbers ({error}), but data.task is "
                    "'regression'. Leave the setting out, or pass numbers."
                ) from error
        return cls(array, _sorted_classes(array.tolist(), array.dtype))

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise DataError(
                f"{_CALLER}: two labels of y are the same as text, but must differ: "
                f"{first_few(sorted(self.names))}. Use one type."
            )

    @property
    def task(self) -> str:
        """The setting ``data.task``."""
        return "regression" if self.classes is None else "classification"

    @property
    def is_multilabel(self) -> bool:
        """Whether there are any number of labels per sequence."""
        return self.values.ndim == 2

    @property
    def names(self) -> list[str]:
        """The classes as text."""
        return [] if self.classes is None else [str(each) for each in self.classes]

    def names_of_each(self) -> list[tuple[str, ...]]:
        """Return the labels of each sequence as text."""
        if self.classes is None:
            return [(repr(value),) for value in self.values.tolist()]
        if self.is_multilabel:
            names = np.array(self.names, dtype=object)
            return [tuple(names[row == 1]) for row in self.values]
        return [(str(value),) for value in self.values]


def _label_lists(y: Any) -> list[Any] | None:
    """Return labels that are lists of names, one list per sequence; None if they are an array."""
    if issparse(y) or hasattr(y, "columns") or getattr(y, "ndim", 1) != 1:
        return None
    rows = y if isinstance(y, list | tuple) else np.asarray(y).tolist()
    if (
        not isinstance(rows, list | tuple)
        or not rows
        or not all(isinstance(row, _SEVERAL) for row in rows)
    ):
        return None
    is_numeric = not any(isinstance(label, str) for row in rows for label in row)
    is_ordered = all(isinstance(row, list | tuple) for row in rows)
    is_matrix = is_numeric and is_ordered and len({len(row) for row in rows}) == 1
    return None if is_matrix else list(rows)


def _sorted_classes(labels: list[Any], dtype: Any = None) -> np.ndarray:
    try:
        unique = sorted(set(labels))
    except TypeError as error:
        raise DataError(
            f"{_CALLER}: y holds labels of several types, but they must be all text or all "
            "numbers. Convert them: [str(label) for label in y]."
        ) from error
    return np.array(unique, dtype=dtype)


def _is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, or one of pandas' marks of a missing value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and not np.isfinite(value)


@dataclass(frozen=True, slots=True)
class _ArrayLabels(LabelSource):
    """Labels and groups in the order of the records."""

    labels: Sequence[tuple[str, ...]] = ()
    groups: Sequence[str] | None = None

    @property
    def table(self) -> None:
        """There is none."""
        return

    @property
    def new_split(self) -> str:
        """The split is made from the groups."""
        return "Give similar sequences the same group: fit(X, y, groups=...)."

    def __str__(self) -> str:
        return "y"

    def check(self) -> None:
        """Everything has been checked."""

    def has_intervals(self) -> bool:
        """Labels are those of whole sequences."""
        return False

    def read(
        self,
        records: Sequence[RecordInfo],
        *,
        group_column: str = "group",
        task: str = "auto",
        unlabelled: str = "error",
        min_class_size: int = 1,
    ) -> list[Example]:
        """Return the examples; every record has labels, so nothing else can be missing."""
        del group_column, unlabelled
        examples = []
        for row, record in enumerate(records):
            group = None if self.groups is None else self.groups[row]
            interval = Interval(record.name, 0, record.length)
            examples.append(Example(interval, whole=True, labels=self.labels[row], group=group))
        return without_small_classes("y", examples, min_class_size, task)


def _name(row: int) -> str:
    return f"sequence_{row}"


def _group_names(groups: Any) -> list[str] | None:
    """Return a name for each group: its number in the order in which groups come."""
    if groups is None:
        return None
    values = column_or_1d(groups).tolist()
    if missing := [row for row, value in enumerate(values) if _is_missing(value)]:
        raise DataError(
            f"{_CALLER}: the group of sequence {missing[0]} is missing, but each sequence needs "
            "one. Fill it in, or leave groups out."
        )
    numbers: dict[Any, int] = {}
    return [str(numbers.setdefault(value, len(numbers))) for value in values]


def _check_arguments(config: ExperimentConfig, seed: Any) -> None:
    """Refuse settings that would have no effect, and what is no seed."""
    config.check_no_labels()
    if config.data.group != "group":
        raise ConfigError(
            f"RMTEstimator: data.group is {shown(config.data.group)}, but there is no table with "
            "such a column. Pass the groups to fit: fit(X, y, groups=...)."
        )
    is_whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not is_whole or not 0 <= seed < 2**32:
        raise ConfigError(
            f"RMTEstimator: seed is {shown(seed)}, but must be a whole number of 0 to 2**32 - 1."
        )


def _check_lengths(codes: Sequence[Any], **others: Any) -> None:
    if not codes:
        raise DataError(f"{_CALLER}: X has no sequence, but training needs some. Pass them.")
    for name, values in others.items():
        if values is not None and len(values) != len(codes):
            raise DataError(
                f"{_CALLER}: X has {len(codes)} sequences, but {name} has {len(values)} values, "
                "and needs one for each. Pass both of the same examples."
            )
