"""Predictions in several shard files, joined again in input order; and several processes.

A shard file holds the lines of one shard, each after the index of its row, and at its end the
number of all rows and the checksum of the input. So nothing is lost, doubled or out of order when
shards are joined, and a shard that is missing, or of another run, is noticed.

Every shard reads the whole input, and computes each n-th batch of it.
"""

import hashlib
import json
import multiprocessing
import shutil
import signal
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from heapq import merge
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import torch

from rmt_genomics.atomic_io import check_key, key_as_json, write_lines, write_text
from rmt_genomics.dna.compression import check_is_file
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.prediction.predictor import Prediction, Shard
from rmt_genomics.prediction.progress import ProgressCallback, progress_bar
from rmt_genomics.prediction.run import PredictionConfig, PredictionRun

_NOTE = "job.json"  # the settings of predict --processes; it shows that a folder is ours
_MARK, _HEADER, _END = "#rmt-genomics shard", "#header", "#end"


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """The first lines of a shard file: which shard of which run it is, and the joined header."""

    number: int
    of: int
    run_id: str
    """The same for all shards of a run, and for no other run."""

    header: str
    """The header line of the joined output."""

    def lines(self) -> list[str]:
        """Return the lines, without line ends."""
        return [f"{_MARK} {self.number}/{self.of} {self.run_id}", f"{_HEADER} {self.header}"]


def shard_line(row: int, line: str) -> str:
    """Return a line of the output, after the index of its row."""
    return f"{row}\t{line}"


def shard_footer(num_rows: int, input_checksum: str) -> str:
    """Return the last line of a shard file: how many rows all shards have, and their input."""
    return f"{_END} {num_rows} {input_checksum}"


def write_shard(
    config: PredictionConfig,
    out: Path,
    shard: Shard,
    *,
    resume: bool,
    progress: ProgressCallback | None = None,
) -> None:
    """Write one of several shards of the predictions, to be joined with the others.

    Args:
        config: The settings, the same for all shards.
        out: The shard file.
        shard: Which one it is.
        resume: Keep the rows of an interrupted run.
        progress: Receives the bp that were computed; by default a progress bar.

    Raises:
        RMTGenomicsError: As ``write_predictions``.
    """
    config.input.check_rereadable()
    run = PredictionRun(config)
    key = run.key()
    run_id = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    header = ShardHeader(shard.number, shard.of, run_id, *run.output_format.header()).lines()
    key["shard"] = f"{shard.number}/{shard.of}"
    with run.resumable_output(out, key, header, resume=resume) as file:
        (last,) = deque(file.lines(), maxlen=1)
        if last.startswith(_END):
            return
        first_row = 0 if last == header[-1] else int(last.partition("\t")[0]) + 1

        def line_of(prediction: Prediction) -> str:
            return shard_line(prediction.row, run.output_format.line(prediction))

        with nullcontext(progress) if progress else progress_bar(config.input.total_bp) as receiver:
            run.write_rows(file, replace(shard, first_row=first_row), line_of, receiver)
        file.write(shard_footer(run.reader.num_records, run.reader.checksum()))


class _ShardFile:
    """A shard file that is being read."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path = path
        self._lines = (line.removesuffix("\n") for line in file)
        self.num_rows, self.input_checksum = 0, ""
        """Of all shards together, and of the input; set when the last line has been read."""
        first = next(self._lines, "")
        words = first.removeprefix(_MARK).split()
        if not first.startswith(_MARK) or len(words) != 2 or "/" not in words[0]:
            raise DataError(
                f"{path}: is not a shard, but must be a file that predict --shard has written. "
                "Only such files can be joined."
            )
        number, of = map(int, words[0].split("/"))
        header = next(self._lines, "")
        if not header.startswith(_HEADER):
            raise _incomplete(path)
        self.header = ShardHeader(number, of, words[1], header.removeprefix(f"{_HEADER} "))

    def rows(self) -> Iterator[tuple[int, str]]:
        """Yield indices and lines."""
        for line in self._lines:
            if line.startswith(_END):
                num_rows, _, self.input_checksum = line.removeprefix(f"{_END} ").partition(" ")
                self.num_rows = int(num_rows)
                return
            row, _, rest = line.partition("\t")
            yield int(row), rest
        raise _incomplete(self.path)


def joined_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the lines of the output, in input order, from all shard files of a run.

    Args:
        paths: All shards of one run, in any order.

    Raises:
        DataError: If a shard is missing, doubled, incomplete, or of another run or input.
    """
    with ExitStack() as stack:
        for path in paths:
            check_is_file(path, "a shard that predict --shard has written")
        shards = [
            _ShardFile(path, stack.enter_context(path.open(encoding="utf-8", newline="\n")))
            for path in paths
        ]
        _check_complete_set(shards)
        yield shards[0].header.header
        num_rows = 0
        for row, line in merge(*(shard.rows() for shard in shards)):
            if row != num_rows:
                problem = (
                    f"row {row} is there twice" if row < num_rows else f"row {num_rows} is missing"
                )
                raise DataError(
                    f"{paths[0].parent}: {problem}, but the shards must hold each row once. "
                    "Make them again from the same input."
                )
            yield line
            num_rows += 1
        for shard in shards:
            if shard.num_rows != num_rows:
                raise DataError(
                    f"{shard.path}: says that there are {shard.num_rows} rows, but the shards hold "
                    f"{num_rows}. Make them again from the same input."
                )
            if shard.input_checksum != shards[0].input_checksum:
                raise DataError(
                    f"{shard.path}: its input has another checksum than that of "
                    f"{shards[0].path}, but all shards must have the same input. Make them again "
                    "from the same input."
                )


def _check_complete_set(shards: Sequence[_ShardFile]) -> None:
    """Raise DataError unless these are all the shards of one run, each once."""
    first, by_number = shards[0], dict[int, _ShardFile]()
    for shard in shards:
        header = shard.header
        if (header.run_id, header.of) != (first.header.run_id, first.header.of):
            raise DataError(
                f"{shard.path}: is of another run than {first.path}, but only shards of one run "
                "can be joined: same model, same input, same options, same number of shards."
            )
        if (other := by_number.setdefault(header.number, shard)) is not shard:
            raise DataError(
                f"{shard.path}: is shard {header.number}/{header.of}, but so is {other.path}. "
                "Give each shard once."
            )
    numbers = range(1, first.header.of + 1)
    if missing := [str(number) for number in numbers if number not in by_number]:
        raise DataError(
            f"{first.path}: is one of {first.header.of} shards, but shard {', '.join(missing)} is "
            "not among those given. Give all of them."
        )


def _incomplete(path: Path) -> DataError:
    return DataError(
        f"{path}: the shard is incomplete, but must end with its number of rows. "
        "Make it again, or continue it: predict --shard ... --resume."
    )


def shards_folder(out: Path) -> Path:
    """Return the folder of the shards of ``predict --processes`` until they are joined."""
    return out.with_name(f"{out.name}.shards")


def check_shards_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise ConfigError if an interrupted run has left shards that would be lost."""
    folder = shards_folder(out)
    if not folder.exists():
        return
    if not (folder / _NOTE).is_file():
        raise ConfigError(
            f"{folder}: is not a folder of predict --processes, but its shards are to be put "
            "there. Move it away, or give another --out."
        )
    if not resume and not overwrite:
        raise ConfigError(
            f"{folder}: an interrupted run has left shards here, but they are only removed on "
            "request. Add --resume to continue it, or --overwrite to start over."
        )


def predict_in_processes(
    config: PredictionConfig, out: Path, num_processes: int, *, resume: bool
) -> None:
    """Predict with several processes, one shard each, and join the shards in input order.

    Args:
        config: The settings; the input must be files.
        out: The output file.
        num_processes: How many run at a time; the cores are divided among them, and so are GPUs.
        resume: Keep the shards and rows of an interrupted run.

    Raises:
        RMTGenomicsError: If a process fails: its error, and how the run is continued.
    """
    config.input.check_rereadable()
    check_shards_folder(out, resume=resume, overwrite=True)
    folder = shards_folder(out)
    key = {**config.key(), "processes": num_processes}
    if folder.exists() and not resume:
        shutil.rmtree(folder)
    if not folder.exists():
        folder.mkdir()
        write_text(folder / _NOTE, key_as_json(key))
    check_key(folder, folder / _NOTE, key)
    paths = [folder / f"{number}-of-{num_processes}" for number in range(1, num_processes + 1)]
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    running: dict[Any, BaseProcess] = {}  # by the pipe on which each one sends its result
    messages: list[str] = []
    try:
        for number, path in enumerate(paths, start=1):
            if path.exists():  # finished by the interrupted run
                continue
            receiver, sender = context.Pipe(duplex=False)
            arguments = (config, path, Shard(number, num_processes), sender)
            process = context.Process(target=_shard_process, args=arguments, name=path.name)
            process.start()
            sender.close()  # then the end of the process is also the end of the pipe
            running[receiver] = process
        while running:
            for pipe in wait(list(running)):
                messages += _result_of(running[pipe], pipe, folder)
                del running[pipe]
        write_lines(out, joined_lines(paths))
    except KeyboardInterrupt as error:
        remedy = f"{folder} holds the finished rows. Continue with --resume."
        raise KeyboardInterrupt(remedy) from error
    finally:
        for worker in running.values():
            worker.terminate()
            worker.join()
    shutil.rmtree(folder)
    for message in dict.fromkeys(messages):  # all processes read the same input
        warnings.warn(message, RMTGenomicsWarning, stacklevel=2)


def _result_of(process: BaseProcess, receiver: Any, folder: Path) -> list[str]:
    """Return the warnings of a process that has ended, or raise its error."""
    try:
        error, messages = receiver.recv()
        process.join()
    except EOFError:  # killed, or ended by a bug
        process.join()
        error = (
            f"shard {process.name}: its process has ended with exit code {process.exitcode} "
            "(negative: killed by this signal), but must finish. If memory ran out, use fewer "
            "--processes."
        )
    if error is not None:
        raise RMTGenomicsError(
            f"{error} The finished rows are in {folder}: continue with --resume, or start over "
            "with --overwrite."
        )
    return list(messages)


def _shard_process(config: PredictionConfig, path: Path, shard: Shard, sender: Connection) -> None:
    """Write a shard, and send the error, if there is one, and the warnings to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C; the parent stops this process
    torch.set_num_threads(max(1, torch.get_num_threads() // shard.of))
    if choose_device(config.device).type == "cuda":
        torch.cuda.set_device((shard.number - 1) % torch.cuda.device_count())
    error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RMTGenomicsWarning)
        try:
            write_shard(config, path, shard, resume=True, progress=StopWithParent())
        except (RMTGenomicsError, OSError) as raised:
            error = str(raised)
    ours = [str(each.message) for each in caught if issubclass(each.category, RMTGenomicsWarning)]
    sender.send((error, ours))


class StopWithParent(ProgressCallback):
    """Stops a process of ``predict --processes`` whose parent was killed."""

    def update(self, bp: int) -> None:
        """Exit if the parent is gone."""
        del bp
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise SystemExit("The process that started this one is gone.")
