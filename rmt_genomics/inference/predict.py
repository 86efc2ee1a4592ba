"""Predict records while they are read, in the memory of one batch.

Consecutive records share a padded batch; predictions do not depend on which (a law). A record of
many Mb is a batch of its own: the model reads it segment by segment, so only its base codes, one
byte each, grow with it.

Dimensions: c classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from rmt_genomics.datasets import EncodedStore, read_intervals
from rmt_genomics.dna import EncodedRecord, Interval, read_encoded, sequence_files
from rmt_genomics.dna.windows import check_windows, cut_windows
from rmt_genomics.model import RMTClassifier

MAX_ROWS = 64
MAX_BP = 262_144


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says about one record, or a part of it."""

    record: str
    """Name of the record."""

    length: int
    """Length in bp of what was read."""

    label: str
    """The most probable class; multi-label: all at 0.5 and above, joined by ``;``, or none."""

    score: float | None
    """Probability of the label; multi-label: the smallest of those named, None if none is."""

    probabilities: np.ndarray
    """One a class ``(c,)``, in the order of the model's ``classes_``."""

    interval: Interval | None = None
    """What was read of the record, if not all of it."""


def read_fastas(paths: Sequence[Path]) -> Iterator[EncodedRecord]:
    """Read the records of several files or folders, one after the other; ``-`` is standard input.

    Raises:
        DataError: At once if a file is missing; while reading, at the first rule broken.
    """
    return chain.from_iterable(map(read_encoded, sequence_files(paths)))


def read_windows(paths: Sequence[Path], window: int, step: int) -> Iterator[EncodedRecord]:
    """Read the same records cut into windows (see ``dna.windows``), in the memory of one record.

    Raises:
        ConfigError: At once if windows of this length and step would leave bases out.
        DataError: As ``read_fastas``.
    """
    check_windows(window, step)
    return cut_windows(read_fastas(paths), window, step)


def read_stretches(paths: Sequence[Path], intervals: Path) -> Iterator[EncodedRecord]:
    """Read intervals of records, each on its strand; the files are encoded once (see ``store``).

    Args:
        paths: Files or folders; no standard input, since it is read in any order.
        intervals: BED, or a table that has record, start and end.

    Raises:
        DataError: At once if a file breaks a rule.
    """
    store = EncodedStore.open(paths)
    places = read_intervals(intervals, store.lengths)
    return (EncodedRecord(each.record, "", store.codes(each), interval=each) for each in places)


def predict_records(model: RMTClassifier, records: Iterable[EncodedRecord]) -> Iterator[Prediction]:
    """Predict records as they come.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one batch and one record.

    Yields:
        One prediction a record, in the order of the records.
    """
    for batch in _batches(records):
        rows = model.predict_codes([record.codes for record in batch])
        for record, probabilities in zip(batch, rows, strict=True):
            prediction = make_prediction(model, record.name, len(record.codes), probabilities)
            yield replace(prediction, interval=record.interval)


def make_prediction(
    model: RMTClassifier, name: str, length: int, probabilities: np.ndarray
) -> Prediction:
    """Name the label of one row of probabilities, and its score."""
    label = model.label_of(probabilities)
    if model.config.task == "multilabel":
        named = probabilities[probabilities >= 0.5]
        score = float(named.min()) if len(named) else None
    else:
        score = float(probabilities.max())
    return Prediction(name, length, label, score, probabilities)


def _batches(records: Iterable[EncodedRecord]) -> Iterator[list[EncodedRecord]]:
    """Group consecutive records so that a padded batch stays small; a long one is alone."""
    batch: list[EncodedRecord] = []
    widest = 0
    for record in records:
        wider = max(widest, len(record.codes))
        if batch and (len(batch) == MAX_ROWS or (len(batch) + 1) * wider > MAX_BP):
            yield batch
            batch, wider = [], len(record.codes)
        batch.append(record)
        widest = wider
    if batch:
        yield batch
