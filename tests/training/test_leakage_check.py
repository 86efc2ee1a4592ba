"""Training begins with the leakage check: a warning and ``leakage.json``, an error if strict."""

import json
from pathlib import Path

import pytest

from rmt_genomics.dna import reverse_complement
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.cli.toys import fail
from tests.datasets.toys import dna
from tests.training.toys import run, write_data

Data = tuple[Path, Path]


@pytest.fixture
def leaky(tmp_path: Path) -> Data:
    """Eight records; the last is the reverse complement of the first, in the other part."""
    fasta, labels = tmp_path / "leaky.fa", tmp_path / "labels.tsv"
    sequences = [dna(80, seed) for seed in range(7)]
    sequences.append(reverse_complement(sequences[0]))
    fasta.write_text("".join(f">r{n}\n{letters}\n" for n, letters in enumerate(sequences)))
    rows = [f"r{n}\t{'ab'[n % 2]}\t{'train' if n < 4 else 'validation'}\n" for n in range(8)]
    labels.write_text("record\tlabel\tsplit\n" + "".join(rows))
    return fasta, labels


def test_leakage_is_warned_of_and_written_to_the_run_folder(leaky: Data, tmp_path: Path) -> None:
    with pytest.warns(RMTGenomicsWarning, match=r"25.0% of validation are near-duplicates of exam"):
        run(leaky, tmp_path / "run", training__max_epochs=1)

    leakage = json.loads((tmp_path / "run/leakage.json").read_text())
    assert leakage["near_duplicate_pairs"] == 1
    assert leakage["near_duplicates"][0]["second"] == "r7"
    assert len(leakage["warnings"]) == 1


def test_a_split_without_leakage_gives_no_warning(tmp_path: Path) -> None:
    run(write_data(tmp_path), tmp_path / "run", training__max_epochs=1, strict=True)

    assert json.loads((tmp_path / "run/leakage.json").read_text())["warnings"] == []


def test_strict_refuses_leakage_before_anything_is_written(leaky: Data, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the split leaks, but --strict refuses such splits"):
        run(leaky, tmp_path / "run", strict=True)

    assert not (tmp_path / "run").exists()


def test_strict_works_on_the_command_line(leaky: Data, tmp_path: Path) -> None:
    fasta, labels = leaky

    message = fail(
        *("train", fasta, "--labels", labels, "--out", tmp_path / "run"),
        *("--device", "cpu", "--strict"),
    )

    assert "25.0% of validation" in message
    assert "rmt-genomics split --by homology" in message
