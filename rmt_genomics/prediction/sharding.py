"""A share of the predictions in a file of its own, and the shares joined again in input order.

A shard file holds the lines of one share, each after the number of its row. So nothing is lost,
doubled or out of order when shares are joined, and a share that is missing or of another run is
noticed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import IO

import torch

from rmt_genomics.atomic_io import (
    Key,
    check_key,
    key_as_json,
    resumable_file,
    write_lines,
    write_text,
)
from rmt_genomics.dna.compression import check_is_file
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.prediction.output_formats import OutputFormat
from rmt_genomics.prediction.predictor import Shard
from rmt_genomics.prediction.progress import PARENT, ProgressToParent, ShardProgress, shown_progress
from rmt_genomics.prediction.run import PredictionConfig, PredictionRun, num_lines, write_anew

TRIES = 4
"""How often a shard is begun before its being killed is taken for an error."""

_SECONDS_BETWEEN_LOOKS = 0.1

Start = Callable[[Sequence[str], Mapping[str, str], Path], "subprocess.Popen[bytes]"]


def folder_of(out: Path) -> Path:
    """Return where the shards of a file stand until they are joined."""
    return out.with_name(f"{out.name}.shards")


def check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise ConfigError if a stopped run has left shards that would be lost."""
    folder = folder_of(out)
    if folder.exists() and not resume and not overwrite:
        raise ConfigError(
            f"{folder}: a run that was stopped has left shards here, but nothing is overwritten "
            "unasked. Add --resume to go on with them, or --overwrite to begin anew."
        )


def predict_in_processes(
    job: PredictionConfig,
    out: Path,
    num_processes: int,
    *,
    resume: bool,
    start: Start | None = None,
) -> None:
    """Predict with several processes and write the very file that one would write.

    Args:
        job: What is to be done; its input must be files.
        out: The file.
        num_processes: How many run at a time; the cores are divided among them, and so are GPUs.
        resume: Go on with the shards that a stopped run has left.
        start: Starts a process, given a command, its environment and the file for its talk.

    Raises:
        RMTGenomicsError: What the first shard to fail says.
    """
    folder = folder_of(out)
    _prepare(folder, {**job.key(), "processes": num_processes}, resume=resume)
    shards = [folder / f"{number}-of-{num_processes}" for number in range(1, num_processes + 1)]
    try:
        workers = [
            _Worker(job, shard, place, num_processes)
            for place, shard in enumerate(shards)
            if not shard.exists()
        ]
        _run(workers, start or _start)
        _pass_on_warnings(shards[0])
        write_joined(shards, out)
    except KeyboardInterrupt as stop:
        where = f"{folder} holds what was done. Go on with it: add --resume."
        raise KeyboardInterrupt(where) from stop
    except BaseException:
        if not resume:
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _prepare(folder: Path, key: Key, *, resume: bool) -> None:
    """Make the folder, or check that what is in it is of the same job."""
    note = folder / "job.json"
    if resume and note.exists():
        check_key(folder, note, key)
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    write_text(note, key_as_json(key))


class _Worker:
    """A process that writes a shard, and the next one if it is killed."""

    def __init__(self, job: PredictionConfig, shard: Path, place: int, num_processes: int) -> None:
        self.shard = shard
        self.talk = shard.with_name(f"{shard.name}.log")
        self.environment = _environment(job, place, num_processes)
        number = shard.name.replace("-of-", "/")
        own = ["--shard", number, "--out", str(shard), "--resume"]
        self.command = [sys.executable, "-m", "rmt_genomics.cli", "predict", *own, *arguments(job)]
        self.tries = 0
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self, start: Start) -> None:
        """Start the process; it goes on where the one before it ended."""
        self.tries += 1
        self.process = start(self.command, self.environment, self.talk)

    def is_done(self, start: Start) -> bool:
        """Tell whether the shard is there; begin it again if its process was killed.

        Raises:
            RMTGenomicsError: What the process said if it failed, or that it is killed every time.
        """
        assert self.process is not None, "begun"
        code = self.process.poll()
        if code is None or code == 0:
            return code == 0
        if code > 0:
            raise RMTGenomicsError(_error_in(self.talk))
        if self.tries == TRIES:
            raise RMTGenomicsError(
                f"{self.shard}: the process was killed {TRIES} times (signal {-code}), but must "
                "finish. Is there memory for so many? Use fewer --processes."
            )
        warnings.warn(
            f"{self.shard.name}: the process was killed (signal {-code}); its shard is gone on "
            "with.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
        self.begin(start)
        return False

    def stop(self) -> None:
        """End the process if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def _run(workers: Sequence[_Worker], start: Start) -> None:
    """Run all at once until all are done; if one fails the others are stopped."""
    running = list(workers)
    try:
        for each in running:
            each.begin(start)
        while running := [each for each in running if not each.is_done(start)]:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        for each in workers:
            each.stop()


def arguments(job: PredictionConfig) -> list[str]:
    """Return the words of the command line that ask for a job."""
    reading, answers = job.reading, job.answers
    options = {
        "--window": reading.window,
        "--step": reading.step,
        "--intervals": reading.intervals,
        "--format": job.format,
        "--class": job.class_name,
        "--device": job.device,
        "--abstain-below": answers.abstain_below,
        "--coverage": answers.coverage,
    }
    words = [f"{name}={value}" for name, value in options.items() if value is not None]
    flags = ["--calibrated"] if answers.calibrated else []
    return [*words, *flags, "--", job.model_dir, *map(str, reading.fasta)]


def _environment(job: PredictionConfig, place: int, num_processes: int) -> dict[str, str]:
    """Divide cores and GPUs, and say who is asking."""
    threads = str(max(1, torch.get_num_threads() // num_processes))
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONPATH": os.pathsep.join(paths),
        PARENT: str(os.getpid()),
    }
    if choose_device(job.device).type == "cuda":
        own["CUDA_VISIBLE_DEVICES"] = _gpu(place)
    return {**os.environ, **own}


def _gpu(place: int) -> str:
    """Return the GPU of a process; they take turns."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named else [str(each) for each in range(torch.cuda.device_count())]
    return gpus[place % len(gpus)]


def _start(
    command: Sequence[str], environment: Mapping[str, str], talk: Path
) -> "subprocess.Popen[bytes]":
    with talk.open("ab") as log:
        return subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _pass_on_warnings(shard: Path) -> None:
    """Repeat what one process warned of: all read the same input."""
    talk = shard.with_name(f"{shard.name}.log")
    if talk.exists():
        for line in talk.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Warning: "):
                warnings.warn(line.removeprefix("Warning: "), RMTGenomicsWarning, stacklevel=2)


def _error_in(talk: Path) -> str:
    """Return the last thing a process said."""
    said = talk.read_text(encoding="utf-8", errors="replace").splitlines() or ["it said nothing"]
    return said[-1].removeprefix("Error: ")


_MARK, _HEADER, _END = "#rmt-genomics shard", "#header", "#end"


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """How a share of the predictions stands in its file."""

    layout: OutputFormat
    number: int
    of: int
    key: Key
    """What all shares must have in common."""

    def header(self) -> list[str]:
        """Return which share it is, and the header of the whole."""
        name = hashlib.sha256(json.dumps(dict(self.key), sort_keys=True).encode()).hexdigest()
        lines = [f"{_MARK} {self.number}/{self.of} {name}"]
        return [*lines, *(f"{_HEADER} {each}" for each in self.layout.header())]

    def line(self, row: int, line: str) -> str:
        """Return a line of the whole with its place."""
        return f"{row}\t{line}"

    def footer(self, num_rows: int) -> str:
        """Return the last line: how many rows the whole has."""
        return f"{_END} {num_rows}"

    @staticmethod
    def is_footer(line: str) -> bool:
        """Tell whether a line is the last one."""
        return line.startswith(_END)

    @staticmethod
    def row_of(line: str) -> int:
        """Return the place of a line in the whole."""
        return int(line.partition("\t")[0])


@dataclass(slots=True)
class _Open:
    """A shard file that is being read."""

    path: Path
    name: str
    number: int
    of: int
    header: list[str]
    lines: Iterator[str]
    num_rows: int | None = None
    """How many the whole has; known at the end."""

    def rows(self) -> Iterator[tuple[int, str]]:
        """Yield places and lines."""
        for line in self.lines:
            if line.startswith(_END):
                self.num_rows = int(line.removeprefix(_END))
                return
            row, _, rest = line.partition("\t")
            yield int(row), rest
        raise _cut(self.path)


def joined_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the lines of the whole, in input order, from all of its shard files.

    Args:
        paths: All shards of one run, in any order.

    Raises:
        DataError: If a shard is missing, doubled, cut, or of another run.
    """
    with ExitStack() as stack:
        for path in paths:
            check_is_file(path, "a shard that predict --shard has written")
        shards = [
            _open(path, stack.enter_context(path.open(encoding="utf-8", newline="\n")))
            for path in paths
        ]
        _check_set(shards)
        yield from shards[0].header
        count = 0
        for row, line in merge(*(each.rows() for each in shards)):
            if row != count:
                raise _gap(shards, row, count)
            yield line
            count += 1
        for each in shards:
            if each.num_rows != count:
                raise DataError(
                    f"{each.path}: says that there are {each.num_rows} rows, but the shards hold "
                    f"{count}. Make them again from the same input."
                )


def _open(path: Path, text: IO[str]) -> _Open:
    """Read the lines before the first row."""
    lines = (line.removesuffix("\n") for line in text)
    first = next(lines, "")
    words = first.removeprefix(_MARK).split()
    if not first.startswith(_MARK) or len(words) != 2 or "/" not in words[0]:
        raise DataError(
            f"{path}: is no shard, but must be a file that predict --shard has written. "
            "Only such files can be joined."
        )
    number, of = map(int, words[0].split("/"))
    header = next(lines, None)
    if header is None or not header.startswith(_HEADER):
        raise _cut(path)
    return _Open(path, words[1], number, of, [header.removeprefix(f"{_HEADER} ")], lines)


def _check_set(shards: Sequence[_Open]) -> None:
    """Raise DataError unless these are all the shards of one run, each once."""
    first, by_number = shards[0], dict[int, _Open]()
    for each in shards:
        if (each.name, each.of) != (first.name, first.of):
            raise DataError(
                f"{each.path}: is of another run than {first.path}, but only shards of one run can "
                "be joined: same model, same input, same options, same number of shards."
            )
        if (other := by_number.setdefault(each.number, each)) is not each:
            raise DataError(
                f"{each.path}: is shard {each.number}/{each.of}, but so is {other.path}. "
                "Give each shard once."
            )
    if missing := [str(n) for n in range(1, first.of + 1) if n not in by_number]:
        raise DataError(
            f"{first.path}: is one of {first.of} shards, but shard {', '.join(missing)} is not "
            "among those given. Give all of them."
        )


def _gap(shards: Sequence[_Open], row: int, count: int) -> DataError:
    found = f"row {row} is there twice" if row < count else f"row {count} is missing"
    return DataError(
        f"{shards[0].path.parent}: {found}, but the shards must hold each row once. "
        "Make them again from the same input."
    )


def _cut(path: Path) -> DataError:
    return DataError(
        f"{path}: the shard is cut, but must end with its number of rows. "
        "Make it again, or go on with it: predict --shard ... --resume."
    )


def write_shard(job: PredictionConfig, out: Path, number: int, of: int, *, resume: bool) -> None:
    """Write one of several shares of the predictions, to be joined with the others.

    Raises:
        RMTGenomicsError: As ``write_predictions``.
    """
    Shard(number, of)
    key = job.key()
    with resumable_file(out, {**key, "shard": f"{number}/{of}"}, resume=resume) as file:
        work = PredictionRun(job)
        shard = ShardHeader(work.layout, number, of, key)
        header = shard.header()
        if num_lines(file) < len(header):
            write_anew(file, header)
        (last,) = deque(file.lines(), maxlen=1)
        if shard.is_footer(last):
            return
        after = 0 if last == header[-1] else shard.row_of(last) + 1
        with shown_progress(lambda: None) as watch:
            for each in work.predictions(
                Shard(number, of, after), ShardProgress(watch, ProgressToParent())
            ):
                file.write(shard.line(each.row, work.layout.line(each)))
        file.write(shard.footer(work.num_rows))


def write_joined(paths: Sequence[Path], out: Path) -> None:
    """Write the lines of all shards in input order, whole or not at all."""
    write_lines(out, joined_lines(paths))
