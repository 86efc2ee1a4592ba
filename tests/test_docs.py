"""The documentation site: it builds, asks no other host, and its reference pages are complete.

``make docs`` builds it the same way.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from rmt_genomics.cli import COMMANDS
from rmt_genomics.model.metrics import METRICS
from rmt_genomics.model.pretrained import BEST_MODEL
from rmt_genomics.training.config_file import template
from rmt_genomics.training.run_folder import _FILES
from tests.reports.browser import Page

ROOT = Path(__file__).parents[1]
LOADED = {"src", "srcset", "poster", "data", "background"}
LINKS_THAT_LOAD_NOTHING = {"canonical", "prev", "next", "alternate", "edit", "author", "license"}
PHONE, DESK = 390, 1280


class Loads(HTMLParser):
    """The addresses that a page loads when it is opened; links to follow are not among them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [value for name, value in given.items() if name in LOADED]
        if tag == "link" and given.get("rel", "") not in LINKS_THAT_LOAD_NOTHING:
            self.found.append(given.get("href", ""))
        if tag in ("image", "use"):
            self.found += [given[name] for name in ("href", "xlink:href") if name in given]


def loads(html: str) -> list[str]:
    parser = Loads()
    parser.feed(html)
    return parser.found


def outside_requests(text: str, suffix: str) -> list[str]:
    """Return what a file of the site would load from another host."""
    in_styles = r"url\(\s*[\"']?([^\"')\s]+)|@import\s+[\"']([^\"']+)"
    styles = (
        [text] if suffix != ".html" else re.findall(r"<style.*?</style>|style=\"[^\"]*\"", text)
    )
    targets = [name for style in styles for pair in re.findall(in_styles, style) for name in pair]
    if suffix == ".html":
        targets += loads(text)
    return [target for target in targets if re.match(r"\s*(?:https?:)?//", target)]


def site_hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does."""
    names = ("mkdocs", "material", "mkdocstrings_handlers", "mkdocs_click", "nbconvert")
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}: pip install 'rmt-genomics[docs]'")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def html_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


@pytest.mark.slow
def test_no_file_of_the_site_loads_anything_from_another_host(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".svg")]

    found = {
        str(path.relative_to(site)): requests
        for path in files
        if (requests := outside_requests(path.read_text(encoding="utf-8"), path.suffix))
    }

    assert len(files) > 30
    assert found == {}
    # What the theme would load only on demand: diagrams drawn by a script, counts of stars.
    pages = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
    assert 'class="mermaid"' not in pages
    assert 'data-md-component="source"' not in pages


@pytest.mark.parametrize(
    ("text", "suffix", "found"),
    [
        ('<script src="https://cdn.org/x.js"></script>', ".html", ["https://cdn.org/x.js"]),
        ('<link rel="stylesheet" href="//cdn.org/x.css">', ".html", ["//cdn.org/x.css"]),
        ('<link rel="preconnect" href="https://f.org">', ".html", ["https://f.org"]),
        ('<img src="http://x.org/a.png">', ".html", ["http://x.org/a.png"]),
        ("<style>a { background: url(https://x.org/a) }</style>", ".html", ["https://x.org/a"]),
        ('<p style="background: url(https://x.org/a)">', ".html", ["https://x.org/a"]),
        ("a { src: url('https://f.org/a.woff2') }", ".css", ["https://f.org/a.woff2"]),
        ('@import "https://f.org/a.css";', ".css", ["https://f.org/a.css"]),
        ('<a href="https://doi.org/1">paper</a><img src="a.png">', ".html", []),
    ],
)
def test_a_request_to_another_host_would_be_seen(text: str, suffix: str, found: list[str]) -> None:
    assert outside_requests(text, suffix) == found


@pytest.mark.slow
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize(
    "page", ["index.html", "reference/cli.html", "reference/settings.html", "reference/python.html"]
)
def test_a_page_fits_its_window_and_loads_only_files_of_the_site(
    browser: Page, site: Path, page: str, width: int
) -> None:
    browser.open(site / page, width=width)

    assert browser.value_of("document.documentElement.scrollWidth") <= width
    assert browser.requests()
    assert all(address.startswith(site.resolve().as_uri()) for address in browser.requests())
    assert browser.console_messages() == []


@pytest.mark.slow
def test_search_works_in_pages_opened_from_disk(browser: Page, site: Path) -> None:
    browser.open(site / "index.html", width=DESK)
    browser.value_of(
        "document.querySelector('.md-search__input').focus();"
        "document.querySelector('.md-search__input').value = 'temperature';"
        "document.querySelector('.md-search__input').dispatchEvent(new Event('keyup'))"
    )
    results = "document.querySelectorAll('.md-search-result__item').length"
    end = time.monotonic() + 30
    while not browser.value_of(results) and time.monotonic() < end:
        time.sleep(0.1)

    assert browser.value_of(results) > 0


@pytest.mark.slow
def test_the_reference_has_every_setting_command_metric_and_file(site: Path) -> None:
    settings, cli = html_of(site, "reference/settings.html"), html_of(site, "reference/cli.html")
    metrics, files = (
        html_of(site, "reference/metrics.html"),
        html_of(site, "reference/run-folder.html"),
    )

    template_text = re.sub(r"^#.*\n(?!\n|\Z)", "", template(), flags=re.MULTILINE)
    sections = re.split(r"^\[(\w+)\]$", template_text, flags=re.MULTILINE)[1:]
    keys = [
        f"{section}.{key}"
        for section, text in zip(sections[::2], sections[1::2], strict=True)
        for key in re.findall(r"^(?:# )?([a-z_]+) = ", text, flags=re.MULTILINE)
    ]
    assert len(keys) > 40
    assert [key for key in keys if f'id="{key}"' not in settings] == []
    assert [name for name in COMMANDS if f'id="rmt-genomics-{name}"' not in cli] == []
    assert [key for key in METRICS if f"<code>{key}</code>" not in metrics] == []
    names = {f"{BEST_MODEL}/" if name.startswith(BEST_MODEL + "/") else name for name in _FILES}
    assert [name for name in sorted(names) if f"<code>{name}</code>" not in files] == []


@pytest.mark.slow
def test_the_python_reference_has_the_public_names(site: Path) -> None:
    page = html_of(site, "reference/python.html")

    for name in (
        "model.RMTClassifier",
        "model.RMTClassifier.from_pretrained",
        "model.RMTClassifier.predict_proba",
        "model.RMTClassifier.predict_table",
        "estimator.RMTEstimator.fit",
        "estimator.RMTTransformer.transform",
        "plots.training_curves",
        "plots.track",
        "training.train.train",
        "training.read_config",
        "evaluation.evaluate.evaluate",
        "dna.IndexedFasta",
        "rmt.RecurrentMemoryTransformer",
        "rmt.RecurrentMemoryTransformerWrapper",
        "rmt.unroll.unroll",
        "rmt.replay.replay",
    ):
        assert f'id="rmt_genomics.{name}"' in page, name


@pytest.mark.slow
def test_each_notebook_is_a_page_with_its_figures_and_is_in_the_list(site: Path) -> None:
    index = html_of(site, "tutorials/notebooks.html")

    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = html_of(site, f"tutorials/notebooks/{path.stem}.html")
        figures = re.findall(rf'src="({path.stem}/[^"]+\.png)"', page)
        assert figures, path.stem
        assert all((site / "tutorials/notebooks" / figure).is_file() for figure in figures)
        assert f'href="notebooks/{path.stem}.html"' in index
        assert ".ipynb" not in page


def test_every_key_of_a_metrics_file_is_explained() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    run = json.loads((ROOT / "tests/golden/old_run/run/metrics.json").read_text())
    explained = set(re.findall(r"`(\w+)`", page)) | set(METRICS)

    assert {*run, *run["baselines"], *run["context"], *run["calibration"]} - explained == set()


def test_a_setting_becomes_a_heading_with_its_default_and_values() -> None:
    toml = (
        "[model]\n# Layers.\n"
        "# May be a whole number (left out: chosen by the data; the value is an\n# example).\n"
        "# depth = 4\n\n"
        "# How to\n# pool.\n# May be 'last' or 'mean'.\npooling = \"last\"\n\n"
        '# Most.\n# May be text (or left out; the value is an example).\n# most = "1h"\n'
    )

    assert site_hooks().settings_reference(toml).split("\n\n") == [
        "## [model] { #model }",
        "### model.depth { #model.depth }",
        "Layers.",
        "Default: chosen by the data (such as `4`). Values: a whole number.",
        "### model.pooling { #model.pooling }",
        "How to pool.",
        "Default: `\"last\"`. Values: 'last' or 'mean'.",
        "### model.most { #model.most }",
        "Most.",
        'Default: left out. Values: text (or left out; such as `"1h"`).',
    ]
    with pytest.raises(ValueError, match="must be KEY = VALUE"):
        site_hooks().settings_reference("[model]\n# Only a comment.\n")


def test_links_of_an_included_file_lead_to_pages_of_the_site() -> None:
    text = (
        "![m](docs/model.svg) [c](CONTRIBUTING.md#style) [r](README.md) [x](https://x.org) [h](#h) "
        "[l](docs/explanation/laws.md) [code](rmt_genomics/errors.py)"
    )

    assert site_hooks().with_links(text, "development/architecture.md") == (
        "![m](../model.svg) [c](contributing.md#style) [r](../index.md) [x](https://x.org) [h](#h) "
        "[l](../explanation/laws.md) code"
    )
