"""Predict records while they are read, in the memory of one batch (see ``encoding``).

Dimensions: c classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from rmt_genomics.datasets import EncodedStore, read_intervals
from rmt_genomics.dna import EncodedRecord, read_encoded, sequence_files
from rmt_genomics.dna.windows import check_windows, cut_windows
from rmt_genomics.inference.answers import Answers, Prediction, label_and_score
from rmt_genomics.inference.encoding import Share, encode_records
from rmt_genomics.inference.watch import Watch
from rmt_genomics.model import RMTClassifier

__all__ = [
    "Prediction",
    "make_prediction",
    "predict_records",
    "read_fastas",
    "read_stretches",
    "read_windows",
]


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


def predict_records(
    model: RMTClassifier,
    records: Iterable[EncodedRecord],
    *,
    answers: Answers = Answers(),  # noqa: B008 (frozen)
    share: Share = Share(),  # noqa: B008
    watch: Watch | None = None,
) -> Iterator[Prediction]:
    """Predict records as they come.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one batch and one record.
        answers: How probabilities are turned into answers.
        share: Which of the records are predicted; by default all.
        watch: Is told how far it is, if given.

    Yields:
        One prediction a record, in the order of the records.
    """
    for batch, encoding in encode_records(model, records, share, watch or Watch()):
        found = answers.answer(model, _rows(model, encoding))
        for place, (record, (label, score, row, labels)) in enumerate(
            zip(batch.records, found, strict=True), start=batch.first
        ):
            if place >= share.after:
                yield Prediction(
                    record.name, record.length, label, score, row, record.interval, labels, place
                )
        del batch, record  # before the next is read


def make_prediction(
    model: RMTClassifier, name: str, length: int, probabilities: np.ndarray
) -> Prediction:
    """Name the label of one row of probabilities, and its score."""
    return Prediction(name, length, *label_and_score(model, probabilities), probabilities)


def _rows(model: RMTClassifier, encoding: torch.Tensor) -> np.ndarray:
    """Return one probability a class for each row ``(n, c)``; a regression: the value."""
    with torch.inference_mode():
        found: np.ndarray = model.answers(model.head(encoding)).cpu().double().numpy()
    return found
