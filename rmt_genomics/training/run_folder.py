"""The run folder: its files, the rules for using it, and what ``--overwrite`` removes.

A folder in use is refused. ``--overwrite`` removes only the files that a run writes, so that
nothing else in the folder is ever lost.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from rmt_genomics.atomic_io import is_disk_full, staged_files
from rmt_genomics.errors import CheckpointError, DataError

_FILES = (
    "config.json",
    "model.safetensors",
    "config.toml",
    "metrics.jsonl",
    "metrics.csv",
    "metrics.json",
    "predictions.tsv",
    "confusion.tsv",
    "calibration.json",
    "report.html",
    "split.tsv",
    "leakage.json",
    "kmer_logistic.safetensors",
    "stranded_kmer_logistic.safetensors",
    "composition_logistic.safetensors",
    "protein_logistic.safetensors",
    "environment.txt",
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths in a run folder, and the rules for using it."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings, resolved."""
        return self.path / "config.toml"

    @property
    def best(self) -> Path:
        """The weights with the lowest validation loss."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """Everything that is needed to resume the run."""
        return self.path / "checkpoints" / "last.ckpt"

    def check_usable(self, *, inputs: Sequence[Path | None], resume: bool, overwrite: bool) -> None:
        """Refuse a folder in use, before anything is read or written.

        The run must not write one of its ``inputs``.

        Raises:
            DataError: If it is in use, is not a folder, or inputs would be overwritten.
            CheckpointError: If there is nothing to resume.
        """
        if resume and overwrite:
            raise DataError(
                f"{self.path}: resume keeps what overwrite removes. Pass only one of them."
            )
        if self.path.exists() and not self.path.is_dir():
            raise DataError(f"{self.path}: is a file, but --out must name a folder.")
        if resume and not self.config.is_file():
            raise CheckpointError(
                f"{self.path}: has no config.toml, but --resume needs the folder of an earlier "
                "run. Start it without --resume."
            )
        if not (resume or overwrite) and self.path.exists() and any(self.path.iterdir()):
            raise DataError(
                f"{self.path}: the folder is not empty, but a new run needs an empty one. Pass "
                "another --out, or --overwrite to replace an earlier run, or --resume to resume it."
            )
        written = {(self.path / name).resolve() for name in _FILES}
        for file in inputs:
            if file is not None and file.resolve() in written:
                raise DataError(
                    f"{file}: is an input, but a run in {self.path} writes its own file there. "
                    "Copy it to another folder first."
                )

    def clear(self) -> None:
        """Remove the files of an earlier run, but for a model card: it may have been edited."""
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)

    def write(self, texts: Mapping[str, str]) -> None:
        """Write small files by name, each atomically."""
        with staged_files(self.path) as stage:
            for name, text in texts.items():
                (stage / name).write_text(
                    text, encoding="utf-8", errors="backslashreplace", newline="\n"
                )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a full disk and missing permissions into errors with the folder and a remedy.

        A ``KeyboardInterrupt`` gets a message on how to resume.
        """
        try:
            yield
        except KeyboardInterrupt as stop:
            remedy = f"Resume with: rmt-genomics train ... --out {self.path} --resume"
            raise KeyboardInterrupt(remedy) from stop
        except (OSError, SafetensorError) as error:
            if is_disk_full(error):
                raise DataError(
                    f"{self.path}: no space is left on the disk, but the run must save its "
                    "weights. Free some space and continue with --resume."
                ) from error
            if isinstance(error, OSError) and error.errno in _NO_ACCESS:
                raise DataError(
                    f"{error.filename or self.path}: cannot be written ({error.strerror}), but "
                    "training writes its files there. Check the permissions, or pass another --out."
                ) from error
            raise
