"""Several processes on one machine, a shard each; what is killed is done again.

Each process is ``rmt-genomics predict --shard``, so nothing is shared but files. The shards stand
in ``NAME.shards`` until all are there, and are then joined in input order.
"""

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from rmt_genomics.errors import ConfigError, RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.inference.growing import Key, as_note, check_key
from rmt_genomics.inference.job import Job
from rmt_genomics.inference.output import write_text
from rmt_genomics.inference.prediction_files import write_joined
from rmt_genomics.inference.watch import PARENT
from rmt_genomics.model.device import choose_device

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
    job: Job, out: Path, num_processes: int, *, resume: bool, start: Start | None = None
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
    write_text(note, as_note(key))


class _Worker:
    """A process that writes a shard, and the next one if it is killed."""

    def __init__(self, job: Job, shard: Path, place: int, num_processes: int) -> None:
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


def arguments(job: Job) -> list[str]:
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


def _environment(job: Job, place: int, num_processes: int) -> dict[str, str]:
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
