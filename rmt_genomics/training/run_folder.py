"""The run folder: its files, the rules for using it, and what ``--overwrite`` removes.

A folder in use is refused, and one in which another process is writing. ``--overwrite`` removes
only the files that a run writes, where ``environment.txt`` proves that they are of this program.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from rmt_genomics.atomic_io import is_disk_full, staged_files
from rmt_genomics.errors import CheckpointError, ConfigError, DataError, out_of_memory
from rmt_genomics.locks import check_replaceable, is_unused, locked
from rmt_genomics.model.pretrained import BEST_MODEL, FOLDS

_OF_BEST = (
    "config.json",
    "model.safetensors",
    "backbone.json",
    "README.md",
    "training_range.safetensors",
    "config.toml",
    "split.tsv",
    "environment.txt",
)
_FILES = (
    "config.json",
    "model.safetensors",
    "backbone.json",
    "config.toml",
    "metrics.jsonl",
    "metrics.csv",
    "metrics.json",
    "predictions.tsv",
    "confusion.tsv",
    "evidence.json",
    "calibration.json",
    "training_range.safetensors",
    "report.html",
    "split.tsv",
    "leakage.json",
    "kmer_logistic.safetensors",
    "stranded_kmer_logistic.safetensors",
    "composition_logistic.safetensors",
    "protein_logistic.safetensors",
    "folds.json",
    "out_of_fold.tsv",
    "test_predictions.safetensors",
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
    *(f"checkpoints/best/{name}" for name in _OF_BEST),
)
_PROOF = "environment.txt"  # that the other files are of a run: it names this program
_CONTROL = "control"  # the run folder of a control, within that of its model
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
    def best_model(self) -> Path:
        """The model folder of the best epoch so far, while the run lasts."""
        return self.path / BEST_MODEL

    @property
    def last(self) -> Path:
        """Everything that is needed to resume the run."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def control(self) -> "RunFolder":
        """The run folder of the control that is trained beside the model, if there is one."""
        return RunFolder(self.path / _CONTROL)

    @property
    def _within(self) -> list["RunFolder"]:
        return [self.control, *self.folds]

    @property
    def folds(self) -> list["RunFolder"]:
        """The run folders of a cross-validation that are there, if this is its folder."""
        if not (self.path / FOLDS).is_file():
            return []
        folders = (
            each for each in self.path.glob("fold-*") if re.fullmatch(r"fold-\d+", each.name)
        )
        return [RunFolder(each) for each in sorted(folders)]

    @property
    def is_finished(self) -> bool:
        """Whether there is a model: it is saved at the end of its training."""
        return all((self.path / name).is_file() for name in ("config.json", "model.safetensors"))

    def check_usable(
        self,
        *,
        inputs: Sequence[Path | None],
        resume: bool,
        overwrite: bool,
        is_cross_validation: bool = False,
        num_folds: int = 0,
    ) -> None:
        """Refuse a folder in use, before anything is read or written.

        The run must not write one of its ``inputs``. A cross-validation also writes the run folders
        of ``num_folds`` folds.

        Raises:
            DataError: If it is in use, or inputs would be overwritten.
            ConfigError: If ``overwrite`` would remove what is not proved to be of a run.
            CheckpointError: If there is nothing to resume.
        """
        if resume and overwrite:
            raise DataError(
                f"{self.path}: resume keeps what overwrite removes, but only one of them may be "
                "asked for. Leave one out."
            )
        if resume and not self.config.is_file():
            raise CheckpointError(
                f"{self.path}: has no config.toml, but --resume needs the folder of an earlier "
                "run. Start it without --resume."
            )
        if resume and (self.path / FOLDS).is_file() != is_cross_validation:
            there = "one run, without folds" if is_cross_validation else "a cross-validation"
            raise CheckpointError(
                f"{self.path}: holds {there}, but --resume continues what is there. Start a new "
                "one in another folder."
            )
        within = {run.path.name for run in self._within} | self._fold_names(num_folds)
        if resume or overwrite:
            # Not from within the folders, which may be links.
            for prefix in ("", *(f"{name}/" for name in sorted(within))):
                names = [prefix + name for name in (*_FILES, _PROOF)]
                marker = prefix + _PROOF
                check_replaceable(self.path, names, marker=marker, text="rmt-genomics: ")
        if not (resume or overwrite or is_unused(self.path)):
            raise DataError(
                f"{self.path}: the folder is not empty, but a new run needs an empty one. Pass "
                "another --out, or --overwrite to replace an earlier run, or --resume to resume it."
            )
        written = {
            os.path.realpath(folder / name)
            for folder in (self.path, *(self.path / name for name in within))
            for name in (*_FILES, _PROOF)
        }
        for file in inputs:
            if file is not None and os.path.realpath(file) in written:
                raise DataError(
                    f"{file}: is an input, but a run in {self.path} writes its own file there. "
                    "Copy it to another folder first."
                )

    def _fold_names(self, num_folds: int) -> set[str]:
        """Return the names of the folders that folds will have; none of them may be a file."""
        names = {f"fold-{number}" for number in range(1, num_folds + 1)}
        for path in (self.path / name for name in sorted(names)):
            if path.exists() and not path.is_dir():
                raise ConfigError(
                    f"{path}: is a file, but the folder of a fold is needed there. Give another "
                    "--out."
                )
        return names

    def clear(self) -> None:
        """Remove the files of an earlier run, of its control and of its folds.

        But for the proof that they were of one, and for a model card, which may have been edited.
        """
        for run in self._within:
            if not run.path.is_dir():
                continue
            for name in (*_FILES, _PROOF):
                (run.path / name).unlink(missing_ok=True)
            for folder in (run.best_model, run.last.parent, run.path):
                with suppress(OSError):  # it is in use, or does not exist
                    folder.rmdir()
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        self.remove_best_model()

    def remove_best_model(self) -> None:
        """Remove the model of the best epoch so far."""
        for name in _OF_BEST:
            (self.best_model / name).unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or it has other files
            self.best_model.rmdir()

    def write(self, texts: Mapping[str, str]) -> None:
        """Write small files by name, each atomically."""
        with staged_files(self.path) as stage:
            for name, text in texts.items():
                (stage / name).write_text(
                    text, encoding="utf-8", errors="backslashreplace", newline="\n"
                )

    @contextmanager
    def writing(self, *, locks: bool = True) -> Iterator[None]:
        """Lock the folder; turn a full disk and missing permissions into errors with a remedy.

        A ``KeyboardInterrupt`` gets a message on how to resume, if there is a run. ``locks`` is
        False for the processes that only compute.
        """
        try:
            with locked(self.path, is_folder=True) if locks else nullcontext():
                yield
        except KeyboardInterrupt as stop:
            if stop.args or not self.config.exists():
                raise
            remedy = f"Resume with the same command: ... --out {self.path} --resume"
            raise KeyboardInterrupt(remedy) from stop
        except (MemoryError, RuntimeError) as error:
            if (message := out_of_memory(error)) is None:
                raise
            raise ConfigError(f"{self.path}: {message}") from error
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
