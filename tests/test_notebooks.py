"""Every notebook still runs, top to bottom, in an empty kernel, and shows a picture."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat, which the extra 'test' brings")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient, which the extra 'test' brings")

SMALL = '"model.preset=tiny", "model.dim=16", "model.depth=1", "model.heads=2"'
CHEAPER = {"training.max_epochs=3": "training.max_epochs=1", '"model.preset=tiny"': SMALL}
"""Settings that are changed for the test: how well a model learns is not asked here."""

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the kernel's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests run beside this one
    notebook = nbformat.read(path, as_version=4)
    for old, new in CHEAPER.items():
        assert sum(cell.source.count(old) for cell in notebook.cells) == 1
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    client = nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )

    client.execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_the_output_of_one_run(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    text = path.read_text(encoding="utf-8")
    assert not [place for place in ("site-packages", "/tmp/", "/home/", str(ROOT)) if place in text]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
