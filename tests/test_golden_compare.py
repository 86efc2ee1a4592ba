"""The comparison of ``benchmarks/golden.py`` reports each kind of difference."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

SCRIPT = Path(__file__).parents[1] / "benchmarks/golden_compare.py"


@pytest.fixture(scope="module")
def golden() -> Any:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[SCRIPT.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def write_run(folder: Path) -> Path:
    part = folder / "part"
    part.mkdir(parents=True)
    save_file({"weight": np.array([1.0, 2.0], dtype=np.float32)}, part / "model.safetensors")
    (part / "metrics.jsonl").write_text('{"val_loss": 0.5, "seconds": 1.0}\n')
    (part / "metrics.json").write_text(
        json.dumps({"mcc": 0.25, "task": "binary", "notes": ["few"], "classes": ["a", "b"]})
    )
    (part / "predict.tsv").write_text("record\tlabel\tscore\nr0\ta\t0.500000\n")
    (part / "split.tsv").write_text("record\tsplit\nr0\ttrain\n")
    np.save(part / "embed.npy", np.zeros(3, dtype=np.float32))
    (part / "report.html").write_text("old words")
    return part


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return write_run(tmp_path / "base"), write_run(tmp_path / "new")


def problems(golden: Any, folders: tuple[Path, Path]) -> list[str]:
    rows = golden.compare(folders[0].parent, folders[1].parent)
    return [problem for row in rows for problem in row.problems]


def replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_equal_folders_have_no_differences(golden: Any, folders: tuple[Path, Path]) -> None:
    rows = golden.compare(folders[0].parent, folders[1].parent)

    assert golden.report(rows)
    assert [(row.what, row.compared) for row in rows] == [
        ("part: embeddings", 1),
        ("part: metrics", 5),
        ("part: losses", 1),
        ("part: weights", 1),
        ("part: predictions", 6),
        ("part: tables", 4),
    ]
    assert all(row.compared == row.equal and row.largest == 0 for row in rows)


def test_times_reports_sentences_and_rounding_may_differ(
    golden: Any, folders: tuple[Path, Path]
) -> None:
    _, new = folders
    replace(new / "metrics.jsonl", "1.0", "2.0")
    replace(new / "report.html", "old", "new")
    replace(new / "metrics.json", "few", "only a few")
    replace(new / "metrics.json", "0.25", "0.2500004")
    replace(new / "predict.tsv", "0.500000", "0.500001")
    np.save(new / "embed.npy", np.full(3, 1e-7, dtype=np.float32))

    rows = golden.compare(folders[0].parent, new.parent)

    assert golden.report(rows)
    assert [text for row in rows for text in row.texts] == [
        "part/metrics.json: notes.0: few -> only a few"
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "item"),
    [
        ("metrics.jsonl", "0.5", "0.5000000001", "0.val_loss: 0.5 -> 0.5000000001"),
        ("metrics.json", "0.25", "0.250002", "mcc: 0.25 -> 0.250002"),
        ("metrics.json", "binary", "multiclass", "task: binary -> multiclass"),
        ("metrics.json", "mcc", "MCC", "MCC: None -> 0.25"),
        ("predict.tsv", "0.500000", "0.500003", "line 2, column 3: 0.500000 -> 0.500003"),
        ("predict.tsv", "\ta\t", "\tb\t", "line 2, column 2: a -> b"),
        ("split.tsv", "train", "test", "line 2, column 2: train -> test"),
        ("split.tsv", "r0\ttrain\n", "r0\ttrain\n\n\nr1\ttest\n", "line 5, column 1: None -> r1"),
    ],
)
def test_a_changed_value_is_reported(
    golden: Any, folders: tuple[Path, Path], file: str, old: str, new: str, item: str
) -> None:
    replace(folders[1] / file, old, new)

    assert f"part/{file}: {item}" in problems(golden, folders)


@pytest.mark.parametrize("changed", [[1.0, 2.0000002], [1.0, np.nan], [1.0], [1.0, -2.0]])
def test_a_changed_tensor_is_reported(
    golden: Any, folders: tuple[Path, Path], changed: list[float]
) -> None:
    weights = np.array(changed, dtype=np.float32)
    save_file({"weight": weights}, folders[1] / "model.safetensors")

    assert problems(golden, folders) == ["part/model.safetensors: weight: array -> array"]


def test_a_file_of_one_side_is_reported(golden: Any, folders: tuple[Path, Path]) -> None:
    (folders[1] / "split.tsv").unlink()
    (folders[0] / "embed.npy").unlink()

    assert problems(golden, folders) == [
        "part/embed.npy: is missing in base",
        "part/split.tsv: is missing in new",
    ]


def test_replaced_words_are_equal(
    golden: Any, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(folders[1] / "split.tsv", "train", "training")
    monkeypatch.setattr(golden, "WORDS", {"train": "training"})

    assert problems(golden, folders) == []
