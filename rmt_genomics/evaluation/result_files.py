"""The JSON files of a run or an evaluation, checked when they are read: they may be damaged."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from rmt_genomics.errors import DataError
from rmt_genomics.model.metrics import METRICS
from rmt_genomics.parsing import read_json, read_text, shown

_REMEDY = "Train or evaluate again."
_NUMBERS = (
    *METRICS,
    "n",
    "k",
    "fold",
    "bp",
    "low_bp",
    "high_bp",
    "share_shortened",
    "temperature",
    "low",
)
_NUMBERS += ("high", "confidence", "precision", "recall", "f1", "ece", "brier", "log_loss")
_NUMBERS += ("fold", "ece_before", "brier_before", "log_loss_before")


def _check_scores(values: Any) -> Any:
    """Refuse anything but a number or None under the key of a number, and text as a class."""
    if isinstance(values, dict) and not isinstance(name := values.get("class", ""), str):
        raise ValueError(f"has {shown(name)} as class, but must have a name")
    for key in _NUMBERS if isinstance(values, dict) else ():
        value = values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"has {shown(value)} as {key}, but must have a number or null")
    return values


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


Number = float  # or an integer
Scores = Annotated[dict[str, Any], BeforeValidator(_check_scores)]
_Counts = list[Annotated[int, Field(ge=0, le=2**53)]]
_MetricKey = Annotated[str, Field(pattern=f"^({'|'.join(METRICS)})$")]
_Interval = Annotated[list[Number | None], Field(min_length=2, max_length=2)]
_Intervals = dict[str, _Interval | None] | None


class _Difference(_Part):
    metric: _MetricKey
    difference: Number
    low: Number
    high: Number
    level: Number
    sentence: str


class _Context(_Part):
    metric: _MetricKey
    visible: list[Scores]
    memory_reset: Scores
    sentence: str


class _Bin(_Part):
    low: Number
    high: Number
    n: Annotated[int, Field(ge=0)]
    confidence: Number | None
    accuracy: Number | None


class _Calibration(_Part):
    fitted_on: str
    reliability: list[_Bin]
    intervals: _Intervals = None


class _Class(_Part):
    intervals: _Intervals = None


class _Summary(_Part):
    sentence: str
    rating: str


class _Metrics(_Part):
    n: Annotated[int, Field(ge=0)] = 0
    classes: list[str] = []
    task: str = ""
    split: str = ""
    intervals: _Intervals = None
    baselines: dict[str, Scores] | None = None
    differences: dict[str, _Difference] | None = None
    validation: Scores | None = None
    per_class: list[Annotated[_Class, BeforeValidator(_check_scores)]] = []
    length_bins: list[Scores] = []
    confusion: list[_Counts] | list[list[_Counts]] | None = None
    context: _Context | None = None
    calibration: Annotated[_Calibration, BeforeValidator(_check_scores)] | None = None
    notes: list[str] = []
    provenance: dict[str, str] = {}
    summary: _Summary | None = None
    folds: list[Scores] = []
    mean: Scores | None = None
    sd: Scores | None = None

    @model_validator(mode="after")
    def _check_classes(self) -> "_Metrics":
        """Compare the confusion matrix, or one 2 x 2 matrix per class, with the classes."""
        try:
            shape = None if self.confusion is None else np.shape(self.confusion)
        except ValueError:  # rows of different lengths
            shape = ()
        num = len(self.classes)
        if self.task == "regression" and num != 1:
            raise ValueError(f"has {num} classes, but a regression must have one")
        if shape is not None and (not num or shape not in ((num, num), (num, 2, 2))):
            raise ValueError("has a confusion matrix that is not of its classes, but must have")
        return self


class _Epoch(_Part):
    epoch: int
    __pydantic_extra__: dict[str, Number | None]


class _Leakage(_Part):
    warnings: list[str] = []
    near_duplicate_pairs: int | None = None
    touched: dict[str, Number | None] = {}
    overlapping: int | None = None
    not_compared: int | None = None
    near_duplicates: list[dict[str, str | Number | None]] = []
    of_sources: bool = False
    probes: dict[str, Number | None] = {}


class _EvidenceExample(_Part):
    record: str
    class_name: str = Field(alias="class")
    probability: Number
    pieces: str
    starts: Annotated[list[int], Field(min_length=1)]
    ends: list[int]
    effects: list[Number]
    through_memory: list[Number]

    @model_validator(mode="after")
    def _check_pieces(self) -> "_EvidenceExample":
        """Compare the number of values with that of pieces, which follow each other."""
        numbers = {len(each) for each in (self.ends, self.effects, self.through_memory)}
        if numbers != {len(self.starts)}:
            raise ValueError("has not one value for each piece, but must have")
        edges = [*self.starts, self.ends[-1]]
        if edges[1:] != self.ends or edges != sorted(set(edges)):
            raise ValueError("has pieces that do not follow each other, but must have")
        return self


class _Evidence(_Part):
    examples: list[_EvidenceExample]
    notes: list[str]


def read_metrics(path: Path) -> dict[str, Any]:
    """Return the content of ``metrics.json``.

    Raises:
        DataError: If it cannot be read, or an entry is not of the kind that this program writes.
    """
    text = read_text(path, "the metrics of an evaluation")
    return _checked(text, Annotated[_Metrics, BeforeValidator(_check_scores)], str(path))


def read_leakage(path: Path) -> dict[str, Any]:
    """Return the content of ``leakage.json``; errors as for ``read_metrics``."""
    return _checked(read_text(path, "a leakage audit"), _Leakage, str(path))


def read_evidence(path: Path) -> dict[str, Any]:
    """Return the content of ``evidence.json``; errors as for ``read_metrics``."""
    return _checked(read_text(path, "the effects of pieces"), _Evidence, str(path))


def read_epochs(path: Path) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.jsonl``, one per epoch; errors as for ``read_metrics``."""
    lines = read_text(path, "one line of metrics per epoch").splitlines()
    rows = [(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line]
    return [_checked(line, _Epoch, where) for where, line in rows]


def _checked(text: str, kind: Any, where: str) -> dict[str, Any]:
    """Return a JSON object unchanged if it is of a kind."""
    value = read_json(text, where, _REMEDY)
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        rule = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            rule = "is missing, but must be there"
        elif first["type"] != "value_error":
            rule = rule.partition(" should ")[2].partition(" or instance of")[0]
            rule = f"is {shown(first['input'])}, but must {rule.replace('dictionary', 'object')}"
        raise DataError(f"{where}: {key} {rule}. {_REMEDY}") from error
    return dict(value)
