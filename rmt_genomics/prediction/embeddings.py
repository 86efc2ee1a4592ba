"""Records as vectors, for other methods to use: the both-strand encoding that the head reads.

Files are complete or not there, and are written as records come: only the names of the records are
held in memory.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

import numpy as np

from rmt_genomics.atomic_io import atomic_file, write_lines
from rmt_genomics.dna import EncodedRecord, Interval
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning, counted
from rmt_genomics.model import RMTClassifier
from rmt_genomics.parsing import first_line
from rmt_genomics.prediction.predictor import Shard, compute_rows
from rmt_genomics.prediction.progress import ProgressCallback, progress_bar
from rmt_genomics.prediction.run import PredictionConfig, PredictionRun, write_rows

_SUFFIXES = (".tsv", ".npy", ".npz")
_HEADER = re.compile(r"record\t(start\tend\t(strand\t)?)?length\tfeature_0(\t|$)")


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One record, or a part of it, as a vector."""

    record: str
    length: int  # in bp
    vector: np.ndarray
    """``(width,)`` float32, as of ``RMTClassifier.embed``: forward strand, reverse strand, ...; NaN
    if the record has no sequence."""

    interval: Interval | None = None  # the part of the record that was read, if not all of it


def embed_records(
    model: RMTClassifier,
    records: Iterable[EncodedRecord],
    *,
    progress: ProgressCallback | None = None,
    first_row: int = 0,
) -> Iterator[Embedding]:
    """Embed records as they come.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one window.
        progress: Receives the bp that were computed.
        first_row: Records before this one are read, but not embedded.

    Yields:
        One embedding per record, in the order of the records.

    Warns:
        RMTGenomicsWarning: Once, at the end, with the number of records without a sequence.
    """
    num_empty = 0
    shard = Shard(first_row=first_row)
    for _, record, vector in compute_rows(
        records, model.embed_codes, shard=shard, progress=progress
    ):
        if record.is_empty:
            num_empty += 1
            vector = np.full_like(vector, np.nan)
        yield Embedding(record.name, record.length, vector, record.interval)
        del record  # frees the memory before the next is read
    if num_empty:
        text = f"{counted(num_empty, 'record')} without a sequence: the features are nan."
        warnings.warn(text, RMTGenomicsWarning, stacklevel=2)


def check_embedding_file(path: Path) -> None:
    """Raise ConfigError unless the suffix of a file tells its format."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(
            f"{path}: ends in {path.suffix or 'nothing'}, but must end in one of "
            f"{', '.join(_SUFFIXES)}, which tells the format."
        )


def is_embedding_file(path: Path) -> bool:
    """Whether a file is one that ``write_embeddings`` may have written, by its suffix."""
    if path.suffix == ".tsv":
        return _HEADER.match(first_line(path)) is not None
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError, BadZipFile):
        return False
    if isinstance(found, np.ndarray):
        return path.suffix == ".npy" and found.dtype == np.float32 and found.ndim == 2
    with found:
        return path.suffix == ".npz" and {"record", "length", "embedding"} <= set(found.files)


def embedding_lines(
    embeddings: Iterable[Embedding], interval_columns: Sequence[str], num_features: int
) -> Iterator[str]:
    """Yield a header and one line per embedding: record, interval, length and the features."""
    for row, embedding in enumerate(embeddings):
        if row == 0:
            yield _header(interval_columns, num_features)
        yield _line(embedding, interval_columns)


def _header(interval_columns: Sequence[str], num_features: int) -> str:
    names = (f"feature_{number}" for number in range(num_features))
    return "\t".join(["record", *interval_columns, "length", *names])


def _line(embedding: Embedding, interval_columns: Sequence[str]) -> str:
    where = (str(getattr(embedding.interval, name)) for name in interval_columns)
    features = (f"{feature:.8g}" for feature in embedding.vector)
    return "\t".join([embedding.record, *where, str(embedding.length), *features])


def write_embedding_table(config: PredictionConfig, out: Path, *, resume: bool) -> None:
    """Write the table of all embeddings, or those that an interrupted run has not written.

    Args:
        config: The model and what is read.
        out: The output file. Until it is complete, its rows are in ``OUT.part``.
        resume: Keep the rows of an interrupted run.

    Raises:
        RMTGenomicsError: If the input is wrong, or an interrupted run had other settings or input.
    """
    config.input.check_rereadable()
    run = PredictionRun(replace(config, embeds=True))
    columns = config.input.interval_columns
    model = RMTClassifier.from_pretrained(run.folder, device=run.device)
    key = {**run.key(), "output": "embeddings"}
    header = [_header(columns, model.config.encoding_width)]
    with (
        run.resumable_output(out, key, header, resume=resume) as file,
        progress_bar(config.input.total_bp) as progress,
    ):
        first_row = sum(1 for _ in file.lines()) - len(header)
        embeddings = embed_records(model, run.reader, progress=progress, first_row=first_row)
        lines = ((row, _line(each, columns)) for row, each in enumerate(embeddings, first_row))
        write_rows(file, run.with_state(lines))


def write_embeddings(
    path: Path, embeddings: Iterable[Embedding], interval_columns: Sequence[str], num_features: int
) -> None:
    """Write a file atomically; its suffix tells the format.

    ``.tsv``: text. ``.npy``: the array ``(n, width)`` alone, rows in input order. ``.npz``: that
    array as ``embedding``, with ``record``, ``length`` and ``interval_columns`` beside it.
    """
    check_embedding_file(path)
    if path.suffix == ".tsv":
        write_lines(path, embedding_lines(embeddings, interval_columns, num_features))
        return
    with atomic_file(path) as temporary:
        if path.suffix == ".npy":
            _write_array(temporary, embeddings, num_features)
        else:
            _write_archive(temporary, embeddings, interval_columns, num_features)


def _write_array(path: Path, embeddings: Iterable[Embedding], num_features: int) -> None:
    with path.open("wb") as file:
        _write_header(file, 0, num_features)
        num_rows = 0
        for embedding in embeddings:
            file.write(embedding.vector.astype("<f4").tobytes())
            num_rows += 1
        file.seek(0)
        _write_header(file, num_rows, num_features)  # NumPy pads it: it has the same size


def _write_header(file: IO[bytes], num_rows: int, num_features: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (num_rows, num_features)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_archive(
    path: Path, embeddings: Iterable[Embedding], interval_columns: Sequence[str], num_features: int
) -> None:
    """Write the vectors to a temporary file, whose size may exceed the memory, then the archive."""
    columns: dict[str, list[str | int]] = {
        name: [] for name in ("record", "length", *interval_columns)
    }

    def collect_columns() -> Iterator[Embedding]:
        for embedding in embeddings:
            columns["record"].append(embedding.record)
            columns["length"].append(embedding.length)
            for name in interval_columns:
                columns[name].append(getattr(embedding.interval, name))
            yield embedding

    array = path.with_name(f"{path.name}.npy")
    try:
        _write_array(array, collect_columns(), num_features)
        with path.open("wb") as file:  # to a path, NumPy would add .npz
            arrays = {name: np.array(values) for name, values in columns.items()}
            arrays["embedding"] = np.load(array, mmap_mode="r")
            np.savez(file, **arrays)  # type: ignore[arg-type]  # for its option allow_pickle
    finally:
        array.unlink(missing_ok=True)
