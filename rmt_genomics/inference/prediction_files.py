"""Predictions written to a file: all of them or a share, gone on with where a stopped run ended."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rmt_genomics.inference.answers import ABSTAIN
from rmt_genomics.inference.encoding import Share
from rmt_genomics.inference.growing import GrowingFile, growing_file
from rmt_genomics.inference.job import Job, Work
from rmt_genomics.inference.output import whole_file
from rmt_genomics.inference.progress import shown_progress
from rmt_genomics.inference.shards import Shard, joined_lines
from rmt_genomics.inference.tables import lines
from rmt_genomics.inference.watch import Watches, WatchParent
from rmt_genomics.model import saving


def print_predictions(job: Job) -> Iterator[str]:
    """Yield the lines of the output as they come, without line ends."""
    work = Work(job)
    with shown_progress(job.reading.total_bp) as watch:
        yield from lines(work.predictions(Share(), watch), work.layout)


def write_predictions(job: Job, out: Path, *, resume: bool) -> None:
    """Write all predictions, or those that a stopped run has left to do.

    Raises:
        RMTGenomicsError: If the input is wrong, or ``resume`` finds the lines of another job.
    """
    if not resume and not _can_be_read_again(job):
        _write_once(job, out)
        return
    with growing_file(out, job.key(), resume=resume) as file:
        work = Work(job)
        header = work.layout.header()
        num_rows = _num_lines(file) - len(header)
        if num_rows < 0:
            _write_anew(file, header)
        with shown_progress(job.reading.total_bp) as watch:
            for each in work.predictions(Share(after=max(0, num_rows)), watch):
                file.write(work.layout.line(each))


def write_shard(job: Job, out: Path, number: int, of: int, *, resume: bool) -> None:
    """Write one of several shares of the predictions, to be joined with the others.

    Raises:
        RMTGenomicsError: As ``write_predictions``.
    """
    Share(number, of)
    key = job.key()
    with growing_file(out, {**key, "shard": f"{number}/{of}"}, resume=resume) as file:
        work = Work(job)
        shard = Shard(work.layout, number, of, key)
        header = shard.header()
        if _num_lines(file) < len(header):
            _write_anew(file, header)
        (last,) = deque(file.lines(), maxlen=1)
        if shard.is_footer(last):
            return
        after = 0 if last == header[-1] else shard.row_of(last) + 1
        with shown_progress(lambda: None) as watch:
            for each in work.predictions(Share(number, of, after), Watches(watch, WatchParent())):
                file.write(shard.line(each.row, work.layout.line(each)))
        file.write(shard.footer(work.num_rows))


def write_joined(paths: Sequence[Path], out: Path) -> None:
    """Write the lines of all shards in input order, whole or not at all."""
    with whole_file(out) as making, making.open("w", encoding="utf-8", newline="\n") as text:
        text.writelines(f"{line}\n" for line in joined_lines(paths))


def count_abstained(job: Job, lines: Iterable[str]) -> tuple[int, int]:
    """Read the lines of the output; return how many abstain, and how many rows there are."""
    config = saving.read_config(saving.find(job.model_dir, saving.CONFIG))
    job.answers.check(config)
    layout = job.layout(config)
    column = layout.label_column
    assert column is not None, "a job that may abstain has labels"
    count, total = 0, 0
    for line in lines:
        count += line.split("\t")[column : column + 1] == [ABSTAIN]
        total += 1
    return count, max(0, total - len(layout.header()))


def _num_lines(file: GrowingFile) -> int:
    return sum(1 for _ in file.lines())


def _write_anew(file: GrowingFile, header: list[str]) -> None:
    file.clear()
    for line in header:
        file.write(line)


def _write_once(job: Job, out: Path) -> None:
    """Write what comes from a pipe, which cannot be read again."""
    with whole_file(out) as making, making.open("w", encoding="utf-8", newline="\n") as text:
        text.writelines(f"{line}\n" for line in print_predictions(job))


def _can_be_read_again(job: Job) -> bool:
    return all(str(each) != "-" and (each.is_file() or each.is_dir()) for each in job.reading.fasta)
