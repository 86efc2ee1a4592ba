"""The data of ``benchmarks/replichore.py``: each window has the half of the chromosome it is in."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.evaluation.toys import read_table
from tests.prediction.toys import dna, write_fasta

SCRIPT = Path(__file__).parents[1] / "benchmarks/replichore.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replichore", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_windows_in_one_half_are_labelled_and_blocks_stay_together(
    tmp_path: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"chr": dna(2050)})
    for name, value in {"ORIGIN": 1505, "TERMINUS": 500, "WINDOW_BP": 10, "BLOCK": 4}.items():
        monkeypatch.setattr(script, name, value)

    rows = read_table(script.write_labels(fasta, tmp_path / "labels.tsv"))

    starts = {int(row["start"]): row["label"] for row in rows}
    assert len(rows) == 204  # of 205: the origin is within one
    assert 1500 not in starts
    assert {start for start, label in starts.items() if label == "left"} == set(
        range(500, 1500, 10)
    )
    assert len({(row["group"], row["split"]) for row in rows}) == len(
        {row["group"] for row in rows}
    )
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
