"""The suite of real questions: runs resume, failures are kept, parts of its sets do not leak."""

import argparse
import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from tests.evaluation.toys import read_table

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL_BP, LARGE_BP = 1000, 30_000_000


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("suite")


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("fetch_suite")


def finished(name: str, seed: int = 0, variant: str = "auto", **changes: Any) -> dict[str, Any]:
    """Return the line of a run that went well."""
    row = {
        **{"set": name, "seed": seed, "variant": variant, "classes": 2, "examples": 1234},
        **{"median_bp": 101, "longest_bp": 2048, "total_bp": SMALL_BP},
        **{"train_seconds": 60.0, "evaluate_seconds": 30.0, "metric": "mcc", "model": 0.8},
        **{"baseline": "kmer_logistic", "baseline_k": 6, "baseline_value": 0.7},
        **{"difference": 0.1, "low": 0.05, "high": 0.15},
    }
    return {**row, **changes}


def failed(name: str, seed: int = 0, variant: str = "auto") -> dict[str, Any]:
    keys = ("set", "seed", "variant", "classes", "examples", "median_bp", "longest_bp", "total_bp")
    row = {key: finished(name, seed, variant)[key] for key in keys}
    return {**row, "error": "train: Error: no"}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def options(out: Path, **changes: Any) -> argparse.Namespace:
    given = {"sets": ["order"], "seeds": [0, 1, 2], "features_none": False, "retry": False}
    return argparse.Namespace(**{**given, "out": out, "processes": 1, **changes})


@pytest.fixture
def runs(suite: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """The runs that are made: each set is small, but for mitogenomes."""
    made = []

    def inputs_of(name: str, _: argparse.Namespace) -> Any:
        bp = LARGE_BP if name == "mitogenomes" else SMALL_BP
        return suite.Inputs(Path("x.fasta"), "labels.tsv", [bp], 2)

    def run(key: tuple[str, int, str], _: Any, __: argparse.Namespace) -> dict[str, Any]:
        made.append(key)
        return finished(*key)

    monkeypatch.setattr(suite, "inputs_of", inputs_of)
    monkeypatch.setattr(suite, "run", run)
    return made


def test_only_missing_runs_are_made_and_each_line_is_appended(
    tmp_path: Path, suite: ModuleType, runs: list[tuple[str, int, str]]
) -> None:
    out = write(tmp_path / "out.jsonl", finished("order", 0), failed("order", 1))

    suite.run_missing(options(out))

    assert runs == [("order", 2, "auto")]
    assert [row["seed"] for row in suite.read_rows(out)] == [0, 1, 2]


def test_failed_runs_are_repeated_on_demand(
    tmp_path: Path, suite: ModuleType, runs: list[tuple[str, int, str]]
) -> None:
    out = write(tmp_path / "out.jsonl", finished("order", 0), failed("order", 1))

    suite.run_missing(options(out, retry=True))

    assert runs == [("order", 1, "auto"), ("order", 2, "auto")]


def test_features_none_is_a_run_of_its_own(
    tmp_path: Path, suite: ModuleType, runs: list[tuple[str, int, str]]
) -> None:
    out = write(tmp_path / "out.jsonl", finished("order", 0))

    suite.run_missing(options(out, seeds=[0], features_none=True))

    assert runs == [("order", 0, "none")]


def test_a_large_set_is_run_with_the_first_seed_only(
    tmp_path: Path, suite: ModuleType, runs: list[tuple[str, int, str]]
) -> None:
    suite.run_missing(options(tmp_path / "out.jsonl", sets=["mitogenomes", "order"]))

    assert [seed for name, seed, _ in runs if name == "mitogenomes"] == [0]
    assert [seed for name, seed, _ in runs if name == "order"] == [0, 1, 2]


def test_train_gets_no_setting_and_its_error_is_the_line_of_the_run(
    tmp_path: Path, suite: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def execute(command: list[str], log: Path, _: float) -> tuple[int, float, float]:
        commands.append(command)
        log.write_text("Warning: a\nError: labels.tsv: is bad.\nafterwards\n")
        return 1, 2.0, 1.0

    monkeypatch.setattr(suite, "execute", execute)
    inputs = suite.Inputs(tmp_path / "x.fa", "labels.tsv", [5, 7, 9], 2)

    row = suite.run(("order", 3, "auto"), inputs, options(tmp_path / "o.jsonl", timeout=10))

    ((*_, out, _, seed),) = commands
    assert commands[0][:5] == [
        "train",
        str(tmp_path / "x.fa"),
        "--labels",
        "labels.tsv",
        "--overwrite",
    ]
    assert commands[0][5:] == ["--out", out, "--seed", seed]
    assert row["error"] == "train: Error: labels.tsv: is bad."
    assert (row["median_bp"], row["longest_bp"], row["total_bp"]) == (7, 9, 21)


def test_an_interrupted_run_is_no_failure_and_none_follows(
    tmp_path: Path, suite: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = []

    def execute(_: list[str], log: Path, __: float) -> tuple[int, float, float]:
        logs.append(log)
        return 130, 2.0, 1.0

    inputs = suite.Inputs(tmp_path / "x.fa", "labels.tsv", [5], 2)
    monkeypatch.setattr(suite, "execute", execute)
    monkeypatch.setattr(suite, "inputs_of", lambda *_: inputs)

    with pytest.raises(KeyboardInterrupt):
        suite.run_missing(options(tmp_path / "out.jsonl", timeout=10))

    assert len(logs) == 1
    assert suite.read_rows(tmp_path / "out.jsonl") == []


def test_a_run_that_takes_too_long_is_stopped(
    tmp_path: Path, suite: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "PROGRAM", [sys.executable, "-c", "import time; time.sleep(60)"])

    code, seconds, _ = suite.execute([], tmp_path / "log", 0.2)

    assert code != 0
    assert 0.2 <= seconds < 30


def test_the_line_of_a_run_has_the_baseline_that_the_summary_names(suite: ModuleType) -> None:
    compared = {"difference": 0.1, "low": 0.0, "high": 0.2}
    metrics = {
        "task": "regression",
        "n": 9,
        "r2": 0.5,
        "intervals": {},
        "summary": {"rating": "good", "baseline": "kmer_ridge"},
        "baselines": {"kmer_ridge": {"r2": 0.4, "k": 4}, "mean": {"r2": 0.9}},
        "differences": {"kmer_ridge": compared, "mean": {}},
    }

    row = suite.results(metrics)

    assert (row["metric"], row["model"], row["test_examples"]) == ("r2", 0.5, 9)
    assert (row["baseline"], row["baseline_k"], row["baseline_value"]) == ("kmer_ridge", 4, 0.4)
    assert {key: row[key] for key in compared} == compared


def test_the_table_has_means_over_seeds_and_marks_what_is_significant(suite: ModuleType) -> None:
    rows = [
        finished("order", 0, model=0.8, difference=0.1, low=0.02, high=0.2),
        finished("order", 1, model=0.6, difference=0.3, low=-0.01, high=0.4),
        finished("order", 0, "none", model=0.5, difference=-0.2, low=-0.3, high=0.1),
    ]

    line = next(line for line in suite.table(rows).splitlines() if line.startswith("| order"))

    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("order", "101 (2,048)", "1,234", "2", "1.5 min", "MCC 0.700 ± 0.141"),
        *("0.700, k-mer counts (k = 6)", "**+0.200 (+0.005 to +0.300)**"),
        *("MCC 0.500", "-0.200 (-0.300 to +0.100)"),
    ]


def test_below_the_table_sets_are_counted_that_are_worse_better_failed_and_late(
    suite: ModuleType,
) -> None:
    rows = [
        finished("order", difference=0.2, train_seconds=601),
        finished("mosaics", difference=-0.3, low=-0.4, high=-0.2),
        finished("tf_0", difference=0.01, low=-0.1, high=0.1),
        finished("recombination_rate", metric="r2", difference=0.9, low=0.8, high=1.0),
        failed("tf_3"),
    ]

    text = suite.table(rows)

    assert "No settings, 5 sets: significantly worse than the best independent baseline 1" in text
    assert "better 2, no difference 1, without a result 1; over the limit of time 1" in text
    assert "median difference in MCC +0.010." in text
    assert "Features none" not in text


def test_the_table_says_which_runs_failed_until_they_are_repeated(suite: ModuleType) -> None:
    rows = [failed("order", 0), finished("order", 1)]

    assert "MCC 0.800 (1 of 2 failed: train: Error: no)" in suite.table(rows)
    assert "failed" not in suite.table([*rows, finished("order", 0)])


def test_the_test_part_holds_whole_groups_of_every_class(suite: ModuleType) -> None:
    rows = [{"label": "ab"[index % 2], "group": str(index // 4)} for index in range(80)]

    split = suite.with_test_part(rows)

    parts = {(row["group"], row["split"]) for row in split}
    assert len(parts) == 20
    assert sum(row["split"] == "test" for row in split) == 16
    assert {row["label"] for row in split if row["split"] == "test"} == {"a", "b"}
    assert suite.with_test_part(rows) == split


def test_a_group_over_several_lines_is_that_of_its_relatives(
    tmp_path: Path, suite: ModuleType
) -> None:
    table = tmp_path / "labels.tsv"
    table.write_text(
        'record\tlabel\tgroup\na\tx\t"id\na    3201\na    3201\nName: g"\nb\tx\t3201\n'
    )

    assert [row["group"] for row in suite._mitogenome_rows(table)] == ["3201", "3201"]


def test_published_dev_rows_are_the_test_part(tmp_path: Path, suite: ModuleType) -> None:
    import gzip

    for part in ("train", "dev"):
        with gzip.open(tmp_path / f"{part}.csv.gz", "wt") as file:
            file.write(f"sequence,label\n{'AC' if part == 'dev' else 'GT'},1\n")

    table = suite._write_gue(tmp_path, tmp_path / "x.csv")

    assert table.read_text() == "sequence,label,split\nGT,1,train\nAC,1,test\n"


def test_windows_are_evenly_spaced(fetch: ModuleType) -> None:
    record = SeqRecord(Seq("AACCGGTTAC"), id="chr")

    cut = list(fetch.windows(record, "chr", label="x", length=4, number=2))

    assert [(each.name, each.letters) for each in cut] == [("chr_1", "ACCG"), ("chr_4", "GGTT")]


def test_genes_with_two_names_or_sequences_alike_are_taken_once(
    tmp_path: Path, fetch: ModuleType
) -> None:
    folder = tmp_path / "repDNA"
    folder.mkdir()
    (folder / "hotspots.fasta").write_text(">Y1 1.67  Hot\nACG\nT\n>Y1 1.67  Hot\nACGT\n")
    (folder / "coldspots.fasta").write_text(">Y2 0.5  Cold\nACGT\n>Y3 0.4  Cold\nGGG\n")

    assert list(fetch.spots(tmp_path)) == [
        ("Y1", "ACGT", "hot", "1.67"),
        ("Y3", "GGG", "cold", "0.4"),
    ]


def test_a_package_that_is_there_is_not_fetched_and_another_version_is_reported(
    tmp_path: Path, fetch: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content/file.txt").touch()
    packages = tmp_path / "packages"
    shutil.make_archive(str(packages / "repDNA-1.1.4"), "zip", tmp_path / "content")

    fetch.fetch("repDNA", packages)

    assert (packages / "repDNA/file.txt").is_file()
    assert "is not the repDNA-1.1.4.zip of the published figures" in capsys.readouterr().err


def test_parts_of_a_set_are_divided_by_homology(tmp_path: Path, fetch: ModuleType) -> None:
    import random

    draw = random.Random(0)
    sequences = []
    for index in range(40):
        letters = "".join(draw.choices("ACGT", k=300))
        pair = (letters, letters[:150] + letters[151:])
        sequences += [
            fetch.Sequence(f"{index}_{copy}", each, "ab"[index % 2])
            for copy, each in enumerate(pair)
        ]

    fetch.write_set(sequences, tmp_path)

    rows = read_table(tmp_path / "labels.tsv")
    parts = {(row["record"].split("_")[0], row["split"]) for row in rows}
    assert len(parts) == 40
    assert {part for _, part in parts} == {"train", "test"}
