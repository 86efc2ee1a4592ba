"""Training, evaluation and prediction on intervals: an index gives what encoded sequences give."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.datasets import EncodedStore
from rmt_genomics.datasets.sequence_store import IndexedStore
from rmt_genomics.evaluation import evaluate, evaluate_run
from tests.cli.toys import succeed
from tests.training.toys import run, sequence

NUM_INTERVALS = 24


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    """Two records, in lines of 50, in which stretches of 100 bp are rich or poor in GC."""
    random = np.random.default_rng(0)
    lines = []
    for record in ("chr1", "chr2"):
        lines.append(f">{record} toy")
        for index in range(NUM_INTERVALS // 2):
            letters = sequence(random, 0.9 if index % 2 else 0.1, 100)
            lines += [letters[:50], letters[50:].lower()]
    (tmp_path / "genome.fa").write_text("\n".join(lines) + "\n")
    return tmp_path / "genome.fa"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = ["record\tstart\tend\tstrand\tlabel\tsplit"]
    for index in range(NUM_INTERVALS):
        record, number = divmod(index, NUM_INTERVALS // 2)
        start = 100 * number + index
        split = ("train", "train", "validation", "test")[index // 2 % 4]
        rows.append(
            f"chr{record + 1}\t{start}\t{100 * number + 90}\t{'+-'[index % 3 == 0]}\t"
            f"{('poor', 'rich')[number % 2]}\t{split}"
        )
    (tmp_path / "labels.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path / "labels.tsv"


def without_timings(run_folder: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if "loss" in key or key.startswith("val_")}
        for row in rows
    ]


def results(fasta: Path, labels: Path, out: Path, store_class: type) -> dict[str, object]:
    """Train, evaluate and predict; return everything that must not depend on the store."""
    settings = {"training__max_epochs": 6, "training__learning_rate": 0.02}
    trained = run((fasta, labels), out / "run", **settings)
    assert isinstance(trained.store, store_class)
    evaluated = evaluate_run(out / "run", fasta, device="cpu", trained=trained)
    from_files = evaluate_run(out / "run", fasta, device="cpu")
    table = succeed("predict", out / "run", fasta, "--intervals", labels).stdout
    with pytest.warns(UserWarning, match="examples were used to train this model"):
        others = evaluate(out / "run", fasta, labels_without_split(labels), out / "all")
    del others["provenance"]  # the date
    return {
        "weights": (out / "run" / "model.safetensors").read_bytes(),
        "epochs": without_timings(out / "run"),
        "split": (out / "run" / "split.tsv").read_text(),
        "leakage": (out / "run" / "leakage.json").read_text(),
        "evaluated": evaluated,
        "from files": from_files,
        "predictions": table,
        "metrics of all": others,
        "table of all": (out / "all" / "predictions.tsv").read_text(),
    }


def labels_without_split(labels: Path) -> Path:
    rows = [line.rpartition("\t")[0] for line in labels.read_text().splitlines()]
    path = labels.with_name("all.tsv")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_every_result_is_the_same_with_an_index_and_with_encoded_sequences(
    genome: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMT_GENOMICS_CACHE", str(tmp_path / "cache"))
    indexed = results(genome, labels, tmp_path / "indexed", IndexedStore)
    assert [folder.name for folder in (tmp_path / "cache").iterdir()] == ["indexes"]
    EncodedStore.open(genome)

    encoded = results(genome, labels, tmp_path / "encoded", EncodedStore)

    for name, result in indexed.items():
        assert result == encoded[name], name
    assert str(indexed["predictions"]).count("\n") == NUM_INTERVALS + 1


def test_a_stale_index_is_named_on_stderr_and_changes_nothing(
    genome: Path, labels: Path, tmp_path: Path
) -> None:
    run((genome, labels), tmp_path / "run")
    fresh = succeed("predict", tmp_path / "run", genome, "--intervals", labels)
    fai = tmp_path / "genome.fa.fai"
    fai.write_text("chr1\t1200\t10\t60\t61\n")

    with_stale = succeed("predict", tmp_path / "run", genome, "--intervals", labels)

    assert with_stale.stdout == fresh.stdout
    num_lines = len(fresh.stderr.splitlines())
    assert with_stale.stderr.splitlines()[:-num_lines] == [
        f"Warning: {fai}: this index is not used (record 'chr1' does not end where it should). "
        "Make it again: samtools faidx genome.fa"
    ]
    assert with_stale.stderr.endswith(fresh.stderr)  # notes, and the rows by label


def test_a_gzip_file_gives_the_predictions_of_its_plain_file(
    genome: Path, labels: Path, tmp_path: Path
) -> None:
    run((genome, labels), tmp_path / "run")
    packed = tmp_path / "genome.fa.gz"
    packed.write_bytes(gzip.compress(genome.read_bytes()))

    plain = succeed("predict", tmp_path / "run", genome, "--intervals", labels)
    from_gzip = succeed("predict", tmp_path / "run", packed, "--intervals", labels)

    assert from_gzip.stdout == plain.stdout
    assert plain.stderr.startswith("Warning: Notes on 24 sequences: shorter than any training")
    num_lines = len(plain.stderr.splitlines())
    assert from_gzip.stderr.splitlines()[:-num_lines] == [
        f"{packed}: is compressed with gzip, but random access needs bgzip. Compress it again: "
        "gunzip genome.fa.gz and then bgzip the result. Now all sequences are read and encoded "
        "first."
    ]
    assert from_gzip.stderr.endswith(plain.stderr)
