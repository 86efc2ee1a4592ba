"""Promises about the tree itself: small files and functions, a true map, light start, no pickle.

Each rule is a function that returns what breaks it, so that a test can show that it would.
"""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rmt_genomics"
MODULES = sorted(PACKAGE.rglob("*.py"))
PYTHON_FILES = sorted([*MODULES, *(ROOT / "tests").rglob("*.py"), *ROOT.glob("*/*.py")])
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "data/**/*.md", "benchmarks/**/*.md", "notebooks/*.md")
    for path in ROOT.glob(pattern)
)
MOST_FILE_LINES, MOST_FUNCTION_LINES = 400, 50
FORBIDDEN_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
HEAVY_MODULES = ("torch", "pytorch_lightning", "sklearn", "matplotlib", "scipy", "huggingface_hub")


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


def mapped_files(text: str) -> dict[str, str]:
    """Read the file map, a fenced block of indented lines ``name  purpose``, as {path: purpose}.

    A name that ends in a slash is a folder; deeper lines below it are in it.
    """
    found: dict[str, str] = {}
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        folders: list[tuple[int, str]] = []
        for line in filter(str.strip, block.splitlines()):
            indent = len(line) - len(line.lstrip())
            name, _, purpose = line.strip().partition(" ")
            folders = [(depth, folder) for depth, folder in folders if depth < indent]
            if name.endswith("/"):
                folders.append((indent, name))
            elif name.endswith(".py"):
                found["".join(folder for _, folder in folders) + name] = purpose.strip()
    return found


def broken_links(text: str, folder: Path) -> list[str]:
    """Name the relative links of a Markdown text that lead nowhere, seen from its folder."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)", prose)
    local = (target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target))
    return [target for target in local if not (folder / target).exists()]


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


def test_the_architecture_map_has_one_line_for_each_file_of_the_package() -> None:
    mapped = mapped_files((ROOT / "ARCHITECTURE.md").read_text())
    in_package = {name for name in mapped if name.startswith("rmt_genomics/")}
    # The line of a folder speaks for its __init__.py.
    files = {name_of(path) for path in MODULES if path.name != "__init__.py"}

    assert files - in_package == set(), "not in the file map of ARCHITECTURE.md"
    assert {name for name in in_package if not (ROOT / name).exists()} == set(), "no such file"
    assert [name for name in in_package if not mapped[name]] == [], "the line says no purpose"


def test_the_map_is_read_as_a_tree() -> None:
    text = (
        "```\nrmt_genomics/   all of it\n  errors.py   the tree\n  dna/\n"
        "    alphabet.py   letters\n  cli/\n    train.py\ncli.py  launcher\n```\n"
    )

    assert mapped_files(text) == {
        "rmt_genomics/errors.py": "the tree",
        "rmt_genomics/dna/alphabet.py": "letters",
        "rmt_genomics/cli/train.py": "",
        "cli.py": "launcher",
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids(DOCUMENTS))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    assert broken_links(path.read_text(), path.parent) == []


def test_a_broken_link_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    text = "[a](here.md#top) [b](gone.md) [c](https://x.org) [d](#x) `[e](code.md)` ![f](no.png)"

    assert broken_links(text, tmp_path) == ["gone.md", "no.png"]


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
