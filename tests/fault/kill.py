"""Kill commands at random moments, run two at once on one folder, and look for what is wrong.

A command is killed (SIGKILL) at a random moment of its run, then started again as the user would,
perhaps killed again, until it has finished. Then its files must be those of a run that was never
interrupted, byte for byte but for times; files of others must be untouched; and no temporary file
may be left. Of two commands that write the same output at once, each must end with exit code 0, or
with 1 and one line; the files must be those of one of them, never of both.

    python -m tests.fault.kill                         the full counts; takes about half an hour
    python -m tests.fault.kill --kills 3 --pairs 1     fewer
    python -m tests.fault.kill --only train            some of the commands

To be fast, a killed process is a fork of this one, which has imported everything and computed
nothing; two processes at once are new interpreters.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

Words = Sequence[str]
Start = Callable[[Words, Path], int]
"""Starts a command in a folder; returns the id of its process, which leads a process group."""

Reference = tuple[dict[str, object], float]
"""What an uninterrupted run writes, and its time in seconds."""

ROOT = Path(__file__).parents[2]
_TIMES = ("seconds", "bp_per_second")
_SECONDS = 300
_LOG = "log.txt"


@dataclass(frozen=True)
class Command:
    """A command, how it is started again after a kill, and which of its files are compared."""

    name: str
    words: Words
    again: Callable[[Path], Words]
    """The arguments added after a kill, by what is in the folder."""

    output: str
    """The file or folder that it writes."""

    other: Words = ()
    """Replaces the first words (of the same meaning) in the second of two processes at once."""

    if_killed: str = "--overwrite"
    """Given to the second in some pairs."""

    kills: int = 10
    in_pairs: bool = True
    """Whether two are started at once, too."""


def _overwrite(output: str) -> Callable[[Path], Words]:
    return lambda folder: ["--overwrite"] if (folder / output).exists() else []


def _resume_training(folder: Path) -> Words:
    """Resume; a run that was killed before its folder was complete is started again."""
    if (folder / "run/config.toml").is_file():
        return ["--resume"]
    return ["--overwrite"] if (folder / "run").exists() else []


def _resume_prediction(folder: Path) -> Words:
    if (folder / "out.tsv").exists():  # it was killed after it had finished
        return ["--overwrite"]
    return ["--resume"]


_TRAIN = "train toy.fa --labels parts.tsv --device cpu --out run --seed 0"
_SMALL = {
    "model.dim": 8,
    "model.depth": 1,
    "model.heads": 2,
    "model.segment_length": 8,
    "model.num_memory_tokens": 2,
    "model.stem_width": 3,
    "training.max_epochs": 4,
    "training.batch_size": 2,
    "training.learning_rate": 0.01,
    "training.checkpoint_minutes": 0,
}
_ELABORATE = {
    **_SMALL,
    "model.features": "kmer:2",
    "model.dropout": 0.1,
    "model.memory_gate": "true",
    "training.replay": "true",
    "training.weight_average": 0.9,
    "training.accumulate_batches": 2,
    "training.shift_bp": 3,
    "curriculum.segments": "[1,2]",
    "curriculum.shorten": "random_window",
}


def _with_settings(command: str, settings: dict[str, object]) -> list[str]:
    pairs = (("--set", f"{key}={value}") for key, value in settings.items())
    return [*command.split(), *(word for pair in pairs for word in pair)]


COMMANDS = (
    Command(
        "train",
        _with_settings(_TRAIN, _SMALL),
        _resume_training,
        "run",
        ("--seed", "1"),
        "--resume",
        30,
    ),
    Command(
        "train, all switches",
        _with_settings(_TRAIN, _ELABORATE),
        _resume_training,
        "run",
        kills=30,
        in_pairs=False,  # its lock is that of the first
    ),
    Command(
        "predict --resume",
        ["predict", "model", "many.fa", "--out", "out.tsv"],
        _resume_prediction,
        "out.tsv",
        ("predict", "model2"),
        "--resume",
        30,
    ),
    Command(
        "evaluate",
        ["evaluate", "model", "toy.fa", "--labels", "parts.tsv", "--out", "evaluated"],
        _overwrite("evaluated"),
        "evaluated",
        ("evaluate", "model2"),
    ),
    Command(
        "embed",
        ["embed", "model", "many.fa", "--out", "out.npz"],
        _overwrite("out.npz"),
        "out.npz",
        ("embed", "model2"),
    ),
    Command(
        "split",
        [
            "split",
            "toy.fa",
            "--labels",
            "labels.tsv",
            "--by",
            "stratified",
            "--out",
            "out.tsv",
            "--seed",
            "0",
        ],
        _overwrite("out.tsv"),
        "out.tsv",
        ("--seed", "1"),
    ),
    Command(
        "cache of codes",
        [
            "split",
            "large.fa",
            "--labels",
            "header",
            "--by",
            "stratified",
            "--out",
            "out.tsv",
            "--seed",
            "0",
        ],
        _overwrite("out.tsv"),
        "cache",
        ("--out", "other.tsv"),
    ),
    Command(
        "cache of an index",
        ["predict", "model", "genome.fa", "--intervals", "genome.bed", "--out", "out.tsv"],
        _resume_prediction,
        "cache",
        ("--out", "other.tsv"),
        if_killed="--resume",
    ),
)


@dataclass
class Count:
    """A row of the table."""

    command: str
    kills: int = 0
    finished: int = 0
    """How many times a command had ended before it could be killed, or was let to end."""

    problems: list[str] = field(default_factory=list)


def start_fork(words: Words, folder: Path) -> int:
    """Run a command in a fork of this process, as the leader of a process group."""
    if (process := os.fork()) != 0:
        return process
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["RMT_GENOMICS_CACHE"] = str(folder / "cache")
        log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        from rmt_genomics.cli import main

        main(list(words), prog_name="rmt-genomics")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start_interpreter(words: Words, folder: Path) -> int:
    """Run a command in a new interpreter, with a log of its own."""
    environment = {
        **os.environ,
        "RMT_GENOMICS_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".log", delete=False) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rmt_genomics.cli", *words],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _LOGS[process.pid] = Path(log.name)
    return process.pid


_LOGS: dict[int, Path] = {}
"""Logs of the new interpreters."""


def finish(process: int, *, kill_after: float | None = None) -> int | None:
    """Wait for a process, or kill it; return its exit code, or None if it was killed."""
    end = time.monotonic() + (_SECONDS if kill_after is None else kill_after)
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # it has not made its group yet
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def new_folder(inputs: Path, root: Path) -> Path:
    """Return a new folder with the inputs and a file of somebody else."""
    folder = Path(tempfile.mkdtemp(dir=root))
    shutil.copytree(inputs, folder, dirs_exist_ok=True)
    (folder / "notes.txt").write_text("not ours")
    return folder


def contents(folder: Path, command: Command) -> dict[str, object]:
    """Return what a command has written, without times, by the name of the file."""
    output = folder / command.output
    files = sorted(output.rglob("*")) if output.is_dir() else [output]
    return {str(file.relative_to(folder)): _content(file) for file in files if file.is_file()}


def _content(file: Path) -> object:
    """Return the content of a file, without what may differ between two equal runs."""
    timed = ("report.html", "README.md", "metrics.csv", "evidence.json")
    if file.name in timed or file.suffix in (".png", ".svg"):
        return "exists"  # times and dates are in them
    if file.name.endswith("_logistic.safetensors"):
        return file.stat().st_size  # its last digits differ between two interpreters
    if file.name == "environment.txt":
        return [line for line in file.read_text().splitlines() if not line.startswith("date:")]
    if file.name == "metrics.json":
        metrics = json.loads(file.read_text())
        metrics.get("provenance", {}).pop("date", None)
        return metrics
    if file.name == "metrics.jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        return [{key: row[key] for key in row if key not in _TIMES} for row in rows]
    if file.suffix == ".ckpt":
        from rmt_genomics.training.checkpoints import read_checkpoint

        state = read_checkpoint(file)["state_dict"]
        return {name: tensor.numpy().tobytes() for name, tensor in state.items()}
    if file.suffix == ".npz":
        import numpy as np

        with np.load(file) as arrays:
            return {name: arrays[name].tobytes() for name in arrays}
    if "indexes" in file.parts:
        return file.name  # the folder of an index is named by its path and time
    return file.read_bytes()


def _by_name(found: dict[str, object]) -> dict[str, object]:
    """Leave out the folders of indexes in the cache, whose names have paths in them."""
    return {re.sub(r"/[0-9a-f]{32}/", "/", name): content for name, content in found.items()}


def leftovers(folder: Path) -> list[str]:
    """Return temporary files and parts."""
    names = [path.relative_to(folder) for path in folder.rglob("*")]
    return sorted(
        str(name)
        for name in names
        if name.name.startswith(".") or name.name.endswith((".part", ".part.json", ".shards"))
    )


def problems_of(folder: Path, command: Command, expected: Sequence[dict[str, object]]) -> list[str]:
    """Compare a folder with those of uninterrupted runs."""
    found = _by_name(contents(folder, command))
    problems = []
    if found not in expected:
        names = found.keys() | expected[0].keys()
        differing = [name for name in names if found.get(name) != expected[0].get(name)]
        problems.append(f"differs from an uninterrupted run in {', '.join(sorted(differing))}")
    if left := leftovers(folder):
        problems.append(f"left: {', '.join(left)}")
    if (folder / "notes.txt").read_text() != "not ours":
        problems.append("a file of somebody else was changed")
    return problems


def uninterrupted(
    words: Words, command: Command, inputs: Path, root: Path, start: Start
) -> Reference:
    """Run a command to its end; return what it has written, and its time."""
    folder = new_folder(inputs, root)
    began = time.monotonic()
    process = start(words, folder)
    code = finish(process)
    seconds = time.monotonic() - began
    assert code == 0, _LOGS.pop(process, folder / _LOG).read_text()
    found = _by_name(contents(folder, command))
    shutil.rmtree(folder)
    return found, seconds


def kill_often(
    command: Command,
    reference: Reference,
    inputs: Path,
    root: Path,
    num_kills: int,
    seed: int,
) -> Count:
    """Kill a command, and what continues it, at random moments."""
    chosen, count = random.Random(f"{seed} {command.name}"), Count(command.name)
    expected, seconds = reference
    while count.kills < num_kills and len(count.problems) < 5:
        folder, words = new_folder(inputs, root), list(command.words)
        code = None
        while code is None:
            is_last = count.kills >= num_kills
            moment = None if is_last else chosen.uniform(0, 1.1 * seconds)
            code = finish(start_fork(words, folder), kill_after=moment)
            count.kills += code is None
            if code is None and (folder / command.output).is_dir():
                (folder / command.output / "mine.txt").write_text("not ours")
            words = [*command.words, *command.again(folder)]
        count.finished += 1
        if code != 0:
            log = (folder / _LOG).read_text().strip().splitlines()
            count.problems.append(f"exit code {code}: {' '.join(words[-1:])} {log[-1:]}")
        else:
            mine = folder / command.output / "mine.txt"
            if mine.exists():
                mine.unlink()
            count.problems += problems_of(folder, command, [expected])
        shutil.rmtree(folder)
    return count


def two_at_once(
    command: Command,
    reference: Reference,
    inputs: Path,
    root: Path,
    start: Start,
    num_pairs: int,
    seed: int,
) -> Count:
    """Start two processes that write the same output, the second after a random time."""
    chosen, count = random.Random(f"{seed} {command.name}"), Count(f"{command.name}, two at once")
    first = list(command.words)
    second = list(command.words)
    if command.other:
        index = first.index(command.other[0])
        second[index : index + 2] = command.other
    other, _ = uninterrupted(second, command, inputs, root, start)
    expected, seconds = [reference[0], other], reference[1]
    for number in range(num_pairs):
        folder = new_folder(inputs, root)
        processes = [start(first, folder)]
        if number % 3 > 0:  # else both at the same moment
            time.sleep(chosen.uniform(0, 0.8 * seconds))
        if number % 3 == 2:  # as if the first had been killed
            second = [*first, command.if_killed]
        processes.append(start(second, folder))
        codes = [finish(process) for process in processes]
        count.finished += sum(code == 0 for code in codes)
        logs = [_LOGS.pop(process, folder / _LOG).read_text() for process in processes]
        if not set(codes) <= {0, 1} or 0 not in codes or "Traceback" in "".join(logs):
            ends = [log.strip().splitlines()[-1:] for log in logs]
            count.problems.append(f"exit codes {codes}: {ends}")
        (folder / _LOG).unlink(missing_ok=True)
        count.problems += problems_of(folder, command, expected)
        shutil.rmtree(folder)
    return count


def write_inputs(folder: Path) -> Path:
    """Write sequences, labels, and two trained models."""
    from tests.fault.valid_files import write_valid_files
    from tests.prediction.toys import dna, write_fasta

    pid = os.fork()  # a process that has computed gradients cannot be forked
    if pid == 0:
        write_valid_files(folder / "valid")
        os._exit(0)
    assert finish(pid) == 0
    inputs = folder / "inputs"
    inputs.mkdir()
    for name in ("toy.fa", "parts.tsv", "labels.tsv"):
        shutil.copy2(folder / "valid" / name, inputs)
    shutil.copytree(folder / "valid/run", inputs / "model")
    write_fasta(inputs / "many.fa", {f"m{n}": dna(40 + n % 50, seed=n) for n in range(300)})
    large = "".join(
        f">l{number} label={'ab'[number % 2]}\n{dna(20_000, seed=number)}\n" for number in range(40)
    )
    (inputs / "large.fa").write_text(large)
    lines = "\n".join([dna(60, seed=9)] * 20_000)
    (inputs / "genome.fa").write_text(f">chr1\n{lines}\n>chr2\n{lines}\n")
    (inputs / "genome.bed").write_text("chr1\t0\t500\ta\t0\t+\nchr2\t30\t900\tb\t0\t-\n")
    second = ["--seed", "1", "--out", "model2"]
    code = finish(start_fork([*_with_settings(_TRAIN, _SMALL), *second], inputs))
    assert code == 0, (inputs / _LOG).read_text()
    shutil.rmtree(inputs / "cache")
    (inputs / _LOG).unlink()
    return inputs


def import_all() -> None:
    """Import what the commands import, and compute nothing: forks then start at once."""
    import matplotlib as mpl

    mpl.use("Agg")
    import torch

    torch.set_num_threads(1)
    import rmt_genomics.cli.embed
    import rmt_genomics.cli.evaluate
    import rmt_genomics.cli.predict
    import rmt_genomics.cli.split
    import rmt_genomics.cli.train
    import rmt_genomics.evaluation.evaluate
    import rmt_genomics.prediction.run
    import rmt_genomics.reports.html_report
    import rmt_genomics.training  # noqa: F401


@click.command()
@click.option("--kills", type=int, help="Of each command; default: 30 or 10.")
@click.option("--pairs", type=int, default=3, show_default=True, help="Of each command.")
@click.option("--only", default="", help="Part of the name of the commands.")
@click.option("--seed", type=int, default=0, help="Of the random moments.")
@click.option("--forks", is_flag=True, help="No new interpreters.")
def script(kills: int | None, pairs: int, only: str, seed: int, *, forks: bool) -> None:
    """Print a table: what was killed how often, and what was wrong."""
    import_all()
    start = start_fork if forks else start_interpreter
    click.echo("command\tkills\tfinished\tproblems")
    num_problems = 0
    with tempfile.TemporaryDirectory() as name:
        inputs = write_inputs(Path(name))
        for command in COMMANDS:
            if only not in command.name:
                continue
            num_kills = command.kills if kills is None else kills
            root = Path(name)
            reference = uninterrupted(command.words, command, inputs, root, start_fork)
            counts = [kill_often(command, reference, inputs, root, num_kills, seed)]
            if pairs and command.in_pairs:
                if start is not start_fork:  # its threads, and so its last digits, may differ
                    reference = uninterrupted(command.words, command, inputs, root, start)
                counts.append(two_at_once(command, reference, inputs, root, start, pairs, seed))
            for count in counts:
                cells = (count.command, count.kills, count.finished, len(count.problems))
                click.echo("\t".join(map(str, cells)))
                num_problems += len(count.problems)
                for problem in sorted(set(count.problems)):
                    click.echo(f"    {count.problems.count(problem)} x {problem[:400]}")
    sys.exit(min(num_problems, 1))


if __name__ == "__main__":
    script()
