"""Predictions in several shard files, joined again in input order; and several processes.

A shard file holds the lines of one shard, each after the index of its row, and at its end the
number of all rows and the checksum of the input. So nothing is lost, doubled or out of order when
shards are joined, and a shard that is missing, or of another run, is noticed.

Every shard reads the whole input, and computes each n-th batch of it.
"""

import hashlib
import json
import multiprocessing
import os
import re
import signal
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import chain
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import torch

from rmt_genomics.atomic_io import ResumableFile
from rmt_genomics.dna.compression import check_is_file
from rmt_genomics.errors import DataError, RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.parsing import first_line, read_integer
from rmt_genomics.prediction.notes import Notes
from rmt_genomics.prediction.predictor import Shard
from rmt_genomics.prediction.progress import ProgressCallback, progress_bar
from rmt_genomics.prediction.run import (
    PredictionConfig,
    PredictionRun,
    Row,
    resumable_output,
    write_rows,
)

_MARK, _HEADER, _END = "#rmt-genomics shard", "#header", "#end"
_TABLE = r"record\t(start\tend\t(strand\t)?)?length\t(label\tscore\t|prediction(\t|$))"
_TRACK = r"track (name=.* useScore=1$|type=bedGraph name=)"
_EFFECTS = r"chrom\tpos\tref\talt\t(logit|prediction)_ref_"
_FIRST_LINE = re.compile(f"{_MARK} |{_TABLE}|{_TRACK}|{_EFFECTS}")
VCF_MARK = "##rmt-genomics=variants"
"""The second line of VCF that this program has written; the first is that of the format."""


def is_prediction_file(path: Path) -> bool:
    """Whether a file begins as those that ``predict``, ``variants`` and ``join`` write."""
    if _FIRST_LINE.match(first_line(path)):
        return True
    with path.open("rb") as file:
        start = file.read(200).decode(errors="replace").splitlines()
    return start[1:2] == [VCF_MARK]


def write_shard(config: PredictionConfig, out: Path, shard: Shard, *, resume: bool) -> None:
    """Write one of several shards of the predictions, to be joined with the others.

    The settings are the same for all shards; ``resume`` and errors are as in ``write_predictions``.
    """
    config.input.check_rereadable()
    run = PredictionRun(config)
    header, check = run.output_format.header(), run.reader.check_unchanged
    with shard_output(out, run.key(), header, shard, resume=resume, check_input=check) as output:
        if output.first_row is None:
            return
        with progress_bar(config.input.total_bp) as progress:
            rows = run.rows(Shard(shard.number, shard.of, output.first_row), progress)
            write_rows(output.file, rows, with_index=True)
        output.end(run.reader.num_records, run.reader.checksum())
    run.notes.warn()


@dataclass(frozen=True, slots=True)
class ShardOutput:
    """A shard file that is being written."""

    file: ResumableFile
    first_row: int | None
    """The first row that may still be missing; None if nothing is."""

    def end(self, num_rows: int, input_checksum: str) -> None:
        """Write the last line: the number of rows of all shards, and the checksum of the input."""
        self.file.write(f"{_END} {num_rows} {input_checksum}")


@contextmanager
def shard_output(
    out: Path,
    key: dict[str, Any],
    header: Sequence[str],
    shard: Shard,
    *,
    resume: bool,
    check_input: Callable[[Path, dict[str, Any]], None] = lambda *_: None,
) -> Iterator[ShardOutput]:
    """Open the file of a shard; its rows are to be written after their indices, then its end.

    Args:
        out: The file.
        key: What the rows of all shards depend on.
        header: That of the joined output.
        shard: Which one it is.
        resume: Keep the rows of an interrupted run.
        check_input: As for ``run.resumable_output``.
    """
    run_id = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    key = {**key, "shard": f"{shard.number}/{shard.of}"}
    own = [f"{_MARK} {key['shard']} {run_id}", *(f"{_HEADER} {line}" for line in header)]
    with resumable_output(out, key, own, resume=resume, check_input=check_input) as file:
        (last,) = deque(file.lines(), maxlen=1)
        if last.startswith(_END):
            yield ShardOutput(file, None)
            return
        row = -1 if last == own[-1] else read_integer(last.partition("\t")[0])
        if row is None:
            raise file.damaged("its last line does not begin with the index of a row")
        yield ShardOutput(file, row + 1)


class _ShardFile:
    """A shard file that is being read.

    ``run_id`` is the same for all shards of a run, and for no other. ``num_rows``, of all shards
    together, and ``input_checksum`` are set when the last line has been read.
    """

    def __init__(self, path: Path, file: IO[str]) -> None:
        self.path = path
        self.num_rows, self.input_checksum = 0, ""
        self._lines = self._read(file)
        pattern = rf"{_MARK} ([0-9]{{1,18}})/([0-9]{{1,18}}) (\S+)"
        if (mark := re.fullmatch(pattern, next(self._lines, ""))) is None:
            raise DataError(
                f"{path}: is not a shard, but must be a file that predict --shard has written. "
                "Only such files can be joined."
            )
        self.number, self.of, self.run_id = int(mark[1]), int(mark[2]), mark[3]
        self.header: list[str] = []
        for line in self._lines:
            if not line.startswith(f"{_HEADER} "):
                self._lines = chain([line], self._lines)
                break
            self.header.append(line.removeprefix(f"{_HEADER} "))
        if not self.header:
            raise self._incomplete()

    def _read(self, file: IO[str]) -> Iterator[str]:
        try:
            yield from (line.removesuffix("\n") for line in file)
        except UnicodeDecodeError as error:
            raise self._damaged("it is not UTF-8 text") from error

    def rows(self) -> Iterator[tuple[int, str]]:
        """Yield indices and lines."""
        for line in self._lines:
            if end := re.fullmatch(rf"{_END} ([0-9]{{1,18}}) (\S+)", line):
                self.num_rows, self.input_checksum = int(end[1]), end[2]
                if next(self._lines, None) is not None:
                    raise self._damaged("there are lines after its end")
                return
            index, _, rest = line.partition("\t")
            if (row := read_integer(index)) is None:
                if line.startswith(_END):
                    break
                raise self._damaged("a line does not begin with the index of its row")
            yield row, rest
        raise self._incomplete()

    def _incomplete(self) -> DataError:
        return DataError(
            f"{self.path}: the shard is incomplete, but must end with its number of rows. "
            "Make it again, or continue it: predict --shard ... --resume."
        )

    def _damaged(self, what: str) -> DataError:
        return DataError(
            f"{self.path}: is damaged, {what}, but must be a file that predict --shard has "
            "written. Make it again."
        )


def joined_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the lines of the output, in input order, from all shard files of a run, in any order.

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
        yield from shards[0].header
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


def lines_of_shard(path: Path) -> Iterator[str]:
    """Yield the header and the rows of one shard file, without their indices."""
    with path.open(encoding="utf-8", newline="\n") as file:
        shard = _ShardFile(path, file)
        yield from shard.header
        for _, line in shard.rows():
            yield line


def _check_complete_set(shards: Sequence[_ShardFile]) -> None:
    """Raise DataError unless these are all the shards of one run, each once."""
    first, by_number = shards[0], dict[int, _ShardFile]()
    for shard in shards:
        if (shard.run_id, shard.of) != (first.run_id, first.of):
            raise DataError(
                f"{shard.path}: is of another run than {first.path}, but only shards of one run "
                "can be joined: same model, same input, same options, same number of shards."
            )
        if (other := by_number.setdefault(shard.number, shard)) is not shard:
            raise DataError(
                f"{shard.path}: is shard {shard.number}/{shard.of}, but so is {other.path}. "
                "Give each shard once."
            )
    if missing := [str(n) for n in range(1, first.of + 1) if n not in by_number]:
        raise DataError(
            f"{first.path}: is one of {first.of} shards, but shard {', '.join(missing)} is "
            "not among those given. Give all of them."
        )


def predict_in_processes(
    config: PredictionConfig, out: Path, num_processes: int, *, resume: bool
) -> None:
    """Predict with several processes, one shard each; this one writes their rows in input order.

    The cores are divided among the processes, and so are GPUs. ``resume`` keeps the rows of an
    interrupted run, whatever its number of processes. Until ``out`` is complete, they are in
    ``OUT.part``.

    Raises:
        RMTGenomicsError: If a process fails: its error, and how the run is continued.
    """
    config.input.check_rereadable()
    run = PredictionRun(config)
    header = run.output_format.header()
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    messages: list[str] = []
    with (
        run.resumable_output(out, run.key(), header, resume=resume) as file,
        ExitStack() as at_the_end,
    ):
        first_row = sum(1 for _ in file.lines()) - len(header)
        streams = []
        for number in range(1, num_processes + 1):
            receiver, sender = context.Pipe(duplex=False)
            arguments = (run.config, Shard(number, num_processes, first_row), sender)
            process = context.Process(target=_send_rows, args=arguments, name=f"shard {number}")
            process.start()
            at_the_end.callback(process.join)
            at_the_end.callback(process.terminate)
            sender.close()  # then the end of the process is also the end of the pipe
            streams.append(_received_rows(process, receiver, messages, run.notes))
        try:
            write_rows(file, merge(*streams))
        except RMTGenomicsError as error:
            file.keep = True
            raise RMTGenomicsError(
                f"{error} The finished rows are in {file.path}: continue with --resume, or start "
                "over with --overwrite."
            ) from error
    for message in dict.fromkeys(messages):  # all processes read the same input
        warnings.warn(message, RMTGenomicsWarning, stacklevel=2)
    run.notes.warn()


def _received_rows(
    process: BaseProcess, receiver: Connection, messages: list[str], notes: Notes
) -> Iterator[Row]:
    """Yield the rows of a process, and add its warnings and notes to ours; or raise its error."""
    try:
        yield from iter(receiver.recv, None)
        error, warned, counted = receiver.recv()
    except EOFError as ended:  # killed, or ended by a bug
        process.join()
        raise RMTGenomicsError(
            f"{process.name}: its process has ended with exit code {process.exitcode} "
            "(negative: killed by this signal), but must finish. If memory ran out, use fewer "
            "--processes."
        ) from ended
    if error is not None:
        raise RMTGenomicsError(error)
    messages += warned
    notes.add(*counted)


def _send_rows(config: PredictionConfig, shard: Shard, sender: Connection) -> None:
    """Send the rows of a shard to the parent, and None; then error or None, warnings and notes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C; the parent stops this process
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // shard.of))
    if choose_device(config.device).type == "cuda":
        torch.cuda.set_device((shard.number - 1) % torch.cuda.device_count())
    error, counted = None, (0, Counter[str]())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RMTGenomicsWarning)
        try:
            run = PredictionRun(config)
            for row in run.rows(shard, ProgressCallback()):
                sender.send(row)
            counted = run.notes.num_records, run.notes.counts
        except (RMTGenomicsError, OSError) as raised:
            error = str(raised)
    ours = [str(each.message) for each in caught if issubclass(each.category, RMTGenomicsWarning)]
    sender.send(None)
    sender.send((error, ours, counted))


def _exit_with_parent() -> None:
    """Wait for the end of the parent, which may be killed, and end this process, too."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process of predict --processes"
    parent.join()
    os._exit(1)
