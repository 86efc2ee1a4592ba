"""Every notebook still runs, top to bottom, in an empty kernel; its stored outputs can be shown."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat, which the extra 'test' brings")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient, which the extra 'test' brings")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHEAPER = {
    "01_quickstart": {"training.max_epochs=3": "training.max_epochs=1"},
    "02_your_own_data": {"training.max_epochs=4": "training.max_epochs=1"},
    "03_where_is_the_signal": {
        "simulation.examples_per_epoch=3200": "simulation.examples_per_epoch=320",
        "simulation.validation_examples=200": "simulation.validation_examples=20",
        "training.max_epochs=3": "training.max_epochs=1",
        "[:1024]": "[:768]",
    },
    "04_mosaics_and_memory": {
        "--number 900": "--number 120",
        "simulation.validation_examples=300": "simulation.validation_examples=30",
        '"training.max_epochs=6"': '"training.max_epochs=1", "simulation.examples_per_epoch=96"',
    },
    "05_embeddings": {
        "64_000 - SIZE, 3 * SIZE": "64_000 - SIZE, 12 * SIZE",
        "training.max_epochs=20": "training.max_epochs=1",
    },
    "06_scikit_learn": {
        "range(0, 61_000, 6144)": "range(0, 61_000, 20_480)",
        "training.max_epochs=2": "training.max_epochs=1",
    },
    "07_pretraining": {
        "[:3], start=1": "[:1], start=1",
        "training.max_epochs=2 ": "training.max_epochs=1 ",
        "training.max_epochs=20": "training.max_epochs=1",
    },
}
"""What is changed for the test: how well a model learns is not asked here."""

MOST_BYTES = 400_000
PATHS = ("site-packages", "/tmp/", "/home/", f"{Path.home()}/", str(ROOT))
_LINK = re.compile(r"\]\(([^):]+\.\w+)\)")


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def problems(notebook: Any) -> list[str]:
    """Say what in the outputs of a notebook should not be shown to a reader."""
    found = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            text = json.dumps(output)
            found += [f"{name} in an output" for name in PATHS if name in text]
            if output.output_type == "error":
                found.append(f"an error: {output.evalue}")
            if "Warning" in text:
                found.append(f"a warning: {text[:300]}")
            if "\\u001b" in text:
                found.append(f"codes of a terminal: {text[:100]}")
    return found


def pictures(notebook: Any) -> list[str]:
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [each.data["image/png"] for each in outputs if "image/png" in each.get("data", {})]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the kernel's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "rmt-genomics"  # that of this tree, installed or not
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rmt_genomics.cli "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # of tqdm, where packages that use it are installed, but not ipywidgets
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests run beside this one
    monkeypatch.delenv("MPLBACKEND")  # the kernel has its own, which shows figures
    notebook = nbformat.read(path, as_version=4)
    for old, new in CHEAPER[path.stem].items():
        assert sum(cell.source.count(old) for cell in code_cells(notebook)) == 1, old
        for cell in code_cells(notebook):
            cell.source = cell.source.replace(old, new)
    client = nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )

    client.execute()

    assert pictures(notebook)
    assert [each for each in problems(notebook) if "in an output" not in each] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_the_output_of_one_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)

    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert problems(notebook) == []
    assert pictures(notebook)
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells]

    links = [link for text in texts for link in _LINK.findall(text)]
    assert [link for link in links if not (path.parent / link).is_file()] == []


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"output_type": "stream", "name": "stdout", "text": "in /tmp/x"}, "/tmp/ in an output"),
        ({"output_type": "stream", "name": "stderr", "text": "UserWarning: a"}, "a warning"),
        ({"output_type": "stream", "name": "stderr", "text": "\x1b[31mred"}, "codes of a terminal"),
        (
            {"output_type": "error", "ename": "E", "evalue": "bad", "traceback": []},
            "an error: bad",
        ),
    ],
)
def test_an_output_that_should_not_be_shown_would_be_seen(
    output: dict[str, Any], words: str
) -> None:
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.from_dict(output)])

    assert problems(nbformat.v4.new_notebook(cells=[cell]))[0].startswith(words)


def test_there_are_seven_notebooks_and_each_has_its_cheaper_settings() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(CHEAPER)
    assert len(NOTEBOOKS) == 7
