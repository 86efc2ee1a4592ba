"""Promises about the tree itself: small files and functions, a true map, light start, no pickle.

Each rule is a function that returns what breaks it, so that a test can show that it would.
"""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rmt_genomics"
MODULES = sorted(PACKAGE.rglob("*.py"))
PYTHON_FILES = sorted([*MODULES, *(ROOT / "tests").rglob("*.py"), *ROOT.glob("*/*.py")])
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "data/**/*.md", "benchmarks/**/*.md", "notebooks/*.md")
    for path in ROOT.glob(pattern)
)
EXPERIMENTS = ROOT / "docs/development/experiments"
INDEX = EXPERIMENTS / "index.md"
PAGES = sorted(path for path in EXPERIMENTS.glob("*.md") if path != INDEX)
MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_FILES = 600, 50, 180
FORBIDDEN_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
HEAVY_MODULES = ("torch", "pytorch_lightning", "sklearn", "matplotlib", "scipy")
HEAVY_MODULES += ("huggingface_hub", "pydantic")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its decorators and docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def long_functions(source: str) -> list[str]:
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [node.name for node in functions if code_lines(node) > MOST_FUNCTION_LINES]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def keyword_is(call: ast.Call, name: str, *, value: bool) -> bool:
    return any(
        keyword.arg == name
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is value
        for keyword in call.keywords
    )


def is_error_only(node: ast.AST) -> bool:
    """Whether only the error is imported that torch.load raises at a foreign file."""
    return isinstance(node, ast.ImportFrom) and [each.name for each in node.names] == [
        "UnpicklingError"
    ]


def unpickling(source: str) -> Iterator[str]:
    """Yield every way in which a source could run the code hidden in a file it reads."""
    for node in ast.walk(ast.parse(source)):
        for module in imported(node):
            if module.split(".")[0] in FORBIDDEN_MODULES and not is_error_only(node):
                yield f"line {node.lineno}: imports {module}"  # type: ignore[attr-defined]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "torch.load" and not keyword_is(node, "weights_only", value=True):
            yield f"line {node.lineno}: torch.load without weights_only=True"
        if keyword_is(node, "allow_pickle", value=True):
            yield f"line {node.lineno}: {called} with allow_pickle=True"


def broken_links(text: str, folder: Path) -> list[str]:
    """Name the relative links of a Markdown text that lead nowhere, seen from its folder."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)", prose)
    local = (target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target))
    return [target for target in local if not (folder / target).exists()]


def missing_files(text: str) -> list[str]:
    """Name the Python files (with a folder) of a text that do not exist in clone or package."""
    names = re.findall(r"[\w/]+/\w+\.py\b", text)
    return [name for name in names if not any((root / name).is_file() for root in (ROOT, PACKAGE))]


def missing_places(text: str) -> list[str]:
    """Name the folders (quoted, with a slash) and the Python files without one that are nowhere."""
    folders = re.findall(r"`([\w/]+/)`", text)
    files = re.findall(r"(?<![\w/])\w+\.py\b", text)
    known = {path.name for path in (*PYTHON_FILES, *ROOT.glob("*.py"))}
    lost = [name for name in folders if not any((root / name).is_dir() for root in (ROOT, PACKAGE))]
    return lost + [name for name in files if name not in known]


def layers_of(text: str) -> list[str]:
    """Return the names in the block of code below the heading "Layers", top layer first."""
    block = text.split("\n## Layers\n")[1].split("```")[1]
    return [re.split(r"\s{2,}", line)[0] for line in block.strip().splitlines()]


def misshapen(page: str) -> list[str]:
    """Say what a page about an experiment lacks of its form."""
    wanted = {
        "a question as title": r"\A# .+\?\n\n",
        "an answer of at most three lines": r"\n\n\*\*Answer\.\*\* (?:.+\n){1,3}\n",
        "a date": r"\n\*20\d\d-\d\d-\d\d\b.*\*\n",
        "what was run": r"\n## What was run\n\n(?!##)\S",
        "what came out": r"\n## What came out\n\n(?!##)\S",
    }
    return [part for part, pattern in wanted.items() if not re.search(pattern, page)]


def heavy_imports(code: str) -> list[str]:
    """Run code in a new Python and name the heavy modules that it has loaded by its end."""
    report = f"import sys; print('LOADED', *(m for m in {HEAVY_MODULES} if m in sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
    )
    return finished.stdout.splitlines()[-1].split()[1:]


def ids(paths: Iterable[Path]) -> list[str]:
    return [name_of(path) for path in paths]


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    source = path.read_text()

    assert len(source.splitlines()) <= MOST_FILE_LINES
    assert ast.get_docstring(ast.parse(source)), "has no module docstring"
    assert long_functions(source) == []


def test_a_long_function_would_be_seen_and_its_docstring_is_not_counted() -> None:
    body = "    x = 1\n" * (MOST_FUNCTION_LINES - 1)
    docstring = '    """One.\n\n    Two.\n    """\n'

    assert long_functions("def fits():\n" + docstring + body) == []
    assert long_functions("def f():\n" + docstring + body + "    x = 2\n") == ["f"]


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_nothing_that_is_read_can_run_code(path: Path) -> None:
    assert list(unpickling(path.read_text())) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import pickle", "imports pickle"),
        ("from joblib.numpy_pickle import load", "imports joblib.numpy_pickle"),
        ("torch.load('x.pt')", "torch.load without weights_only=True"),
        ("torch.load('x.pt', weights_only=False)", "torch.load without weights_only=True"),
        ("np.load('x.npy', allow_pickle=True)", "np.load with allow_pickle=True"),
    ],
)
def test_a_file_that_could_run_code_would_be_seen(source: str, words: str) -> None:
    assert list(unpickling(source)) == [f"line 1: {words}"]
    assert list(unpickling("torch.load('x.pt', weights_only=True)")) == []


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")

    assert [name_of(path) for path in PYTHON_FILES if marks.search(path.read_text())] == []


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_each_public_name_of_a_module_exists(path: Path) -> None:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(dotted)

    missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]

    assert missing == []


def test_the_package_has_few_files_each_with_one_topic() -> None:
    assert len(MODULES) <= MOST_FILES


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids(DOCUMENTS))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    assert broken_links(path.read_text(), path.parent) == []


def test_a_broken_link_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    text = "[a](here.md#top) [b](gone.md) [c](https://x.org) [d](#x) `[e](code.md)` ![f](no.png)"

    assert broken_links(text, tmp_path) == ["gone.md", "no.png"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids(DOCUMENTS))
def test_python_files_named_in_documents_exist(path: Path) -> None:
    if path.name != "CHANGELOG.md" and path.parent != EXPERIMENTS:  # they tell of the past too
        assert missing_files(path.read_text()) == []


def test_a_missing_python_file_would_be_seen() -> None:
    text = "`rmt/replay.py`, `tests/rmt/`, `tests/gone.py`\n├─ rmt/gone.py   (cli.py)"

    assert missing_files(text) == ["tests/gone.py", "rmt/gone.py"]


def test_folders_and_bare_files_of_the_architecture_exist() -> None:
    assert missing_places((ROOT / "ARCHITECTURE.md").read_text()) == []


def test_a_missing_folder_or_bare_file_would_be_seen() -> None:
    text = "`tests/rmt/`, `rmt/`, `gone/`\n└─ rmt/replay.py, model_card.py, gone.py  (cli.py)"

    assert missing_places(text) == ["gone/", "gone.py"]


def test_the_layers_of_the_architecture_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    checked = contracts["contracts"][0]["layers"]

    assert layers_of((ROOT / "ARCHITECTURE.md").read_text()) == checked


@pytest.mark.parametrize("path", PAGES, ids=ids(PAGES))
def test_an_experiment_has_a_question_an_answer_and_its_results(path: Path) -> None:
    assert misshapen(path.read_text()) == []


def test_what_an_experiment_lacks_would_be_seen() -> None:
    page = (
        "# Does it help?\n\n**Answer.** No.\nNot at all.\nSee below.\n\n*2026-01-01*\n\n"
        "## What was run\n\nThis.\n\n## What came out\n\n| a |\n"
    )

    assert misshapen(page) == []
    assert misshapen(page.replace("help?", "help.")) == ["a question as title"]
    assert misshapen(page.replace("No.\n", "No.\nNo.\n")) == ["an answer of at most three lines"]
    assert misshapen(page.replace("This.", "")) == ["what was run"]


def test_every_experiment_is_in_the_index_with_its_question() -> None:
    listed = re.findall(r"^\| \[(.+)\]\((.+)\) \| .+ \|$", INDEX.read_text(), re.MULTILINE)

    assert sorted(listed) == sorted(
        (path.read_text().splitlines()[0].removeprefix("# "), path.name) for path in PAGES
    )


@pytest.mark.parametrize(
    "code",
    [
        "import rmt_genomics",
        "import rmt_genomics.dna",
        "import rmt_genomics.cli",
        "from rmt_genomics.cli import main; main(['--help'], standalone_mode=False)",
    ],
)
def test_what_must_start_at_once_loads_nothing_heavy(code: str) -> None:
    assert heavy_imports(code) == []


def test_a_heavy_import_would_be_seen() -> None:
    assert "matplotlib" in heavy_imports("import matplotlib")
