"""Records as vectors: the both-strand encoding that the head sees, for other methods to use.

Files are whole or not there, and are written as records come: memory does not grow with them, but
by their names.
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from rmt_genomics.atomic_io import atomic_file, write_lines
from rmt_genomics.dna import EncodedRecord, Interval
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier
from rmt_genomics.prediction.predictor import Shard, encode_records
from rmt_genomics.prediction.progress import ProgressCallback

_SUFFIXES = (".tsv", ".npy", ".npz")


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One record, or a part of it, as a vector."""

    record: str
    length: int
    """In bp."""

    vector: np.ndarray
    """``(width,)`` float32: forward strand, reverse strand, then the compositions."""

    interval: Interval | None = None
    """What was read of the record, if not all of it."""


def embed_records(
    model: RMTClassifier, records: Iterable[EncodedRecord], *, watch: ProgressCallback | None = None
) -> Iterator[Embedding]:
    """Embed records as they come.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one batch and one record.
        watch: Is told how far it is, if given.

    Yields:
        One embedding a record, in the order of the records.
    """
    for batch, encoding in encode_records(model, records, Shard(), watch or ProgressCallback()):
        rows = encoding.float().cpu().numpy()
        for record, vector in zip(batch.records, rows, strict=True):
            yield Embedding(record.name, record.length, vector, record.interval)
        del batch, record  # before the next is read


def check_embedding_file(path: Path) -> None:
    """Raise ConfigError unless the ending of a file says how it is to be written."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(
            f"{path}: ends in {path.suffix or 'nothing'}, but must end in one of "
            f"{', '.join(_SUFFIXES)}, which says how it is written."
        )


def embedding_lines(
    embeddings: Iterable[Embedding], places: Sequence[str], num_features: int
) -> Iterator[str]:
    """Yield a header and one line an embedding: record, places, length and the features."""
    names = (f"feature_{number}" for number in range(num_features))
    for row, each in enumerate(embeddings):
        if row == 0:
            yield "\t".join(["record", *places, "length", *names])
        where = (str(getattr(each.interval, place)) for place in places)
        features = (f"{feature:.8g}" for feature in each.vector)
        yield "\t".join([each.record, *where, str(each.length), *features])


def write_embeddings(
    path: Path, embeddings: Iterable[Embedding], places: Sequence[str], num_features: int
) -> None:
    """Write a file, whole or not at all; its ending says how.

    ``.tsv``: text. ``.npy``: the array ``(n, width)`` alone, rows in input order. ``.npz``: that
    array as ``embedding``, with ``record``, ``length`` and ``places`` beside it.
    """
    check_embedding_file(path)
    if path.suffix == ".tsv":
        write_lines(path, embedding_lines(embeddings, places, num_features))
        return
    with atomic_file(path) as temporary:
        if path.suffix == ".npy":
            _write_array(temporary, embeddings, num_features)
        else:
            _write_archive(temporary, embeddings, places, num_features)


def _write_array(path: Path, embeddings: Iterable[Embedding], num_features: int) -> None:
    """Write rows as they come; the header leaves room for their number."""
    with path.open("wb") as file:
        _write_header(file, 0, num_features)
        count = sum(file.write(each.vector.astype("<f4").tobytes()) > 0 for each in embeddings)
        file.seek(0)
        _write_header(file, count, num_features)


def _write_header(file: IO[bytes], rows: int, num_features: int) -> None:
    """NumPy pads the header, so that the first axis can grow without moving what follows."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, num_features)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_archive(
    path: Path, embeddings: Iterable[Embedding], places: Sequence[str], num_features: int
) -> None:
    """Write the vectors beside the archive, and then everything into it."""
    columns: dict[str, list[str | int]] = {name: [] for name in ("record", "length", *places)}
    array = path.with_name(f"{path.name}.npy")
    try:
        _write_array(array, _noted(embeddings, columns), num_features)
        with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
            archive.write(array, "embedding.npy")
            for name, values in columns.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(values), allow_pickle=False)
    finally:
        array.unlink(missing_ok=True)


def _noted(
    embeddings: Iterable[Embedding], columns: dict[str, list[str | int]]
) -> Iterator[Embedding]:
    """Pass embeddings on and note what they are of."""
    for each in embeddings:
        for name, values in columns.items():
            values.append(getattr(each if name in ("record", "length") else each.interval, name))
        yield each
