"""The cases of the corpus: which file is damaged how, and which command reads it."""

import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rmt_genomics.training.config_file import KEYS
from tests.fault import arguments, mutations
from tests.fault.corpus import Case

Mutations = Iterable[tuple[str, bytes]]

MOST_SLOW = 12
"""Kinds of files with at most so many cases are read by slow commands."""


@dataclass(frozen=True)
class Target:
    """A kind of file, and the commands that read it."""

    area: str
    file: str
    commands: tuple[str, ...]
    kinds: tuple[Callable[[bytes], Mutations], ...]
    most: int = 40
    """Cases of each command; they are chosen at random, the same in every run."""

    before: str = ""
    """A command that makes the file."""


def _any(content: bytes) -> Mutations:
    return ((name, change(content)) for name, change in mutations.BYTES.items())


def _text(content: bytes) -> Mutations:
    return ((name, change(content)) for name, change in mutations.TEXT.items())


def _gzip(content: bytes) -> Mutations:
    return ((name, change(content)) for name, change in mutations.GZIP.items())


def _table(content: bytes) -> Mutations:
    return mutations.table_mutations(content)


def _comma_table(content: bytes) -> Mutations:
    return mutations.table_mutations(content, ",")


def _first_line_json(content: bytes) -> Mutations:
    return mutations.json_mutations(content.split(b"\n")[0])


_SPLIT = "split toy.fa --labels labels.tsv --by stratified --out split.tsv --seed 1"
_RESUME = "resume toy.fa labels.tsv stopped"
_INTERVALS = "predict run genome/genome.fa --intervals genome.bed"
_PACKED = "predict run genome/packed.fa.gz --intervals genome.bed"
_BARE = _INTERVALS.replace("genome/genome.fa", "bare/genome.fa")
_EVALUATE = "evaluate_model run toy.fa parts.tsv evaluated"

TARGETS = {
    "fasta": Target("dna", "toy.fa", ("inspect FILE", "predict run FILE"), (_any, _text)),
    "fastq": Target("dna", "two.fastq", ("inspect FILE", "predict run FILE"), (_any, _text), 25),
    "genbank": Target("dna", "two.genbank", ("inspect FILE", "embed run FILE"), (_any, _text), 25),
    "embl": Target("dna", "two.embl", ("inspect FILE", "predict run FILE"), (_any, _text), 25),
    "csv": Target(
        "dna",
        "two.csv",
        ("inspect FILE", "predict run FILE", "inspect FILE --labels column"),
        (_any, _text, _comma_table),
        30,
    ),
    "tsv": Target("dna", "two.tsv", ("inspect FILE --labels column",), (_any, _text, _table), 30),
    "gzip": Target("dna", "toy.fa.gz", ("inspect FILE", "predict run FILE"), (_any, _gzip), 20),
    "bzip2": Target("dna", "toy.fa.bz2", ("inspect FILE",), (_any,), 13),
    "xz": Target("dna", "toy.fa.xz", ("predict run FILE",), (_any,), 13),
    "fai": Target("dna", "genome/genome.fa.fai", (_INTERVALS,), (_any, _text, _table), 30),
    "gzi": Target("dna", "genome/packed.fa.gz.gzi", (_PACKED,), (_any,), 15),
    "fai of bgzip": Target("dna", "genome/packed.fa.gz.fai", (_PACKED,), (_any, _table), 15),
    "bgzip": Target("dna", "genome/packed.fa.gz", (_PACKED, "inspect FILE"), (_any, _gzip), 20),
    "indexed fasta": Target("dna", "genome/genome.fa", (_INTERVALS,), (_any, _text), 20),
    "cached fai": Target(
        "dna", "cache/indexes/*/records.fai", (_BARE,), (_any, _text, _table), 20, _BARE
    ),
    "labels": Target(
        "datasets",
        "labels.tsv",
        ("inspect toy.fa --labels FILE", _SPLIT),
        (_any, _text, _table),
        25,
    ),
    "intervals and parts": Target(
        "datasets",
        "parts.tsv",
        ("inspect toy.fa --labels FILE", _SPLIT.replace("labels.tsv --by stratified", "parts.tsv")),
        (_any, _text, _table),
        25,
    ),
    "evaluated labels": Target("datasets", "parts.tsv", (_EVALUATE,), (_any, _text, _table), 6),
    "bed": Target(
        "datasets",
        "toy.bed",
        ("inspect toy.fa --labels FILE", "predict run toy.fa --intervals FILE"),
        (_any, _text, _table),
        25,
    ),
    "mmseqs clusters": Target(
        "datasets",
        "toy.clusters",
        (f"{_SPLIT.replace('stratified', 'homology')} --clusters FILE",),
        (_any, _text, _table),
        30,
    ),
    "cd-hit clusters": Target(
        "datasets",
        "toy.clstr",
        (f"{_SPLIT.replace('stratified', 'homology')} --clusters FILE",),
        (_any, _text),
        20,
    ),
    "cached codes": Target(
        "datasets",
        "cache/encoded/*/codes.bin",
        (_SPLIT,),
        (_any,),
        8,
        _SPLIT.replace("split.tsv", "first.tsv"),
    ),
    "cached index": Target(
        "datasets",
        "cache/encoded/*/index.json",
        (_SPLIT,),
        (_any, mutations.json_mutations),
        20,
        _SPLIT.replace("split.tsv", "first.tsv"),
    ),
    "config.toml": Target(
        "training",
        "config.toml",
        ("inspect toy.fa --labels labels.tsv --config FILE",),
        (_any, _text),
    ),
    "config.json": Target(
        "model",
        "run/config.json",
        ("predict run toy.fa",),
        (_any, _text, mutations.json_mutations),
        90,
    ),
    "model.safetensors": Target(
        "model",
        "run/model.safetensors",
        ("predict run toy.fa", "embed run toy.fa"),
        (_any, mutations.safetensors_mutations),
        45,
    ),
    "calibration.json": Target(
        "model",
        "run/calibration.json",
        ("predict run toy.fa --calibrated --coverage 0.9",),
        (_any, _text, mutations.json_mutations),
        70,
    ),
    "evaluated calibration": Target(
        "report", "run/calibration.json", (_EVALUATE,), (_any, mutations.json_mutations), 4
    ),
    "part": Target(
        "model",
        "part/out.tsv.part",
        ("predict run toy.fa --out part/out.tsv --resume",),
        (_any, _text, _table),
        30,
    ),
    "note of part": Target(
        "model",
        "part/out.tsv.part.json",
        ("predict run toy.fa --out part/out.tsv --resume",),
        (_any, _text, mutations.json_mutations),
        40,
    ),
    "shard": Target(
        "model", "shards/1", ("join shards/1 shards/2 --out all.tsv",), (_any, _text, _table)
    ),
    "k-mer baseline": Target(
        "report",
        "run/kmer_logistic.safetensors",
        (_EVALUATE,),
        (_any, mutations.safetensors_mutations),
        18,
    ),
    "metrics.json": Target(
        "report",
        "evaluation/metrics.json",
        ("compare FILE run", "card evaluation"),
        (_any, mutations.json_mutations),
        60,
    ),
    "drawn metrics.json": Target(
        "report",
        "evaluation/metrics.json",
        ("report evaluation", "plots evaluation"),
        (_any, mutations.json_mutations),
        5,
    ),
    "metrics.json of a run": Target(
        "report", "run/metrics.json", ("card run",), (_any, mutations.json_mutations), 30
    ),
    "metrics.jsonl": Target(
        "report", "run/metrics.jsonl", ("training_plot run",), (_any, _text), 30
    ),
    "lines of metrics.jsonl": Target(
        "report", "run/metrics.jsonl", ("report run",), (_first_line_json,), 5
    ),
    "leakage.json": Target(
        "report", "run/leakage.json", ("report run",), (_any, mutations.json_mutations), 5
    ),
    "predictions.tsv": Target(
        "report", "run/predictions.tsv", ("report run",), (_any, _text, _table), 5
    ),
    "split.tsv": Target(
        "report",
        "run/split.tsv",
        ("report run", "evaluate_run run toy.fa", _EVALUATE),
        (_any, _text, _table),
        4,
    ),
    "environment.txt": Target(
        "report", "run/environment.txt", ("card run", _EVALUATE), (_any, _text), 3
    ),
    "model card": Target("report", "run/README.md", ("card run",), (_any, _text), 20),
    "last.ckpt": Target("training", "stopped/checkpoints/last.ckpt", (_RESUME,), (_any,), 12),
    "best.ckpt": Target("training", "stopped/checkpoints/best.ckpt", (_RESUME,), (_any,), 3),
    "config.toml of a run": Target(
        "training", "stopped/config.toml", (_RESUME,), (_any, _text), 15
    ),
}


def cases_of(name: str, valid: Path) -> Iterator[Case]:
    """Yield the cases of a target, or of ``settings`` or ``arguments``."""
    if name == "settings":
        yield from _settings_cases()
    elif name == "arguments":
        yield from _argument_cases()
    else:
        yield from _file_cases(name, TARGETS[name], valid)


NAMES = (*TARGETS, "settings", "arguments")


def cases(valid: Path) -> Iterator[Case]:
    """Yield all cases."""
    return chain.from_iterable(cases_of(name, valid) for name in NAMES)


_MUST_FAIL = re.compile(
    r"(model.safetensors|k-mer baseline)/.*/(all|one)_(nan|inf|integers)"
    r"|calibration.json/.*/(temperature|conformal.scores.0|n)=(NaN|-?Infinity|1e400|-1)"
    r"|(fasta|fastq|genbank|embl|csv|labels)/.*/(empty|garbage|picture|pickle|zip|web_page|missing)"
    r"|(config.json|model.safetensors|metrics.json|last.ckpt|shard)/.*/(empty|garbage|cut_half|zip)"
)
"""Accepting these would give wrong results."""


def _file_cases(name: str, target: Target, valid: Path) -> Iterator[Case]:
    found = sorted(valid.glob(target.file))
    content = found[0].read_bytes()
    changed = dict(chain.from_iterable(kind(content) for kind in target.kinds))
    before = tuple(target.before.split())
    for command in target.commands:
        words = tuple(command.replace("FILE", target.file).split())
        options = [word for word in words if word.startswith("--")]
        chosen = random.Random(f"{name} {command}").sample(
            sorted(changed), min(target.most, len(changed))
        )
        changes = {each: _writing(changed[each]) for each in sorted(chosen)}
        changes |= _FEW_PATH_CHANGES if target.most <= MOST_SLOW else _PATH_CHANGES
        for mutation, change in changes.items():
            full_name = f"{name}/{' '.join([words[0], *options[:1]])}/{mutation}"
            yield Case(
                full_name,
                target.area,
                words,
                target.file,
                change,
                before,
                must_fail=_MUST_FAIL.fullmatch(full_name) is not None,
            )


def _writing(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


_PATH_CHANGES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "is a folder": _folder,
    "dangling link": _dangling,
    "link to itself": _loop,
}
if os.geteuid() != 0:  # root may read everything
    _PATH_CHANGES["unreadable"] = lambda path: path.chmod(0)
_FEW_PATH_CHANGES = {name: _PATH_CHANGES[name] for name in ("missing", "is a folder")}


def _settings_cases() -> Iterator[Case]:
    command = ("inspect", "toy.fa", "--labels", "labels.tsv", "--set")
    chosen = random.Random(5)
    for key in KEYS:
        for value in chosen.sample(arguments.VALUES, 3):
            yield Case(
                f"settings/{key}={ascii(value)[:12]}", "training", (*command, f"{key}={value}")
            )
    for text in (
        "",
        "=",
        "x",
        "model=1",
        "model.=1",
        ".dim=1",
        "model.dim",
        "a.b.c=1",
        "\x1b.dim=1",
        "model.dim=1=2",
        "a" * 5000,
    ):
        yield Case(f"settings/{ascii(text)[:12]}", "training", (*command, text))
    for text in arguments.TOML:
        change = _writing(text.encode("utf-8", "surrogatepass"))
        yield Case(
            f"settings/file {ascii(text)[:40]}",
            "training",
            ("inspect", "toy.fa", "--labels", "labels.tsv", "--config", "config.toml"),
            "config.toml",
            change,
        )


def _argument_cases() -> Iterator[Case]:
    areas = {
        "predict": "model",
        "embed": "model",
        "join": "model",
        "split": "datasets",
        "compare": "report",
        "evaluate": "report",
        "inspect": "datasets",
        "simulate": "datasets",
    }
    for line in arguments.ARGUMENTS.splitlines():
        command = line
        for word, in_full in arguments.LONG_WORDS.items():
            command = command.replace(word, in_full)
        words = tuple(word.strip("'") for word in command.split(" ") if word)
        area = areas.get(words[0] if words else "", "training")
        yield Case(f"arguments/{ascii(line)[1:-1]}", area, words)
