"""What MkDocs runs while it builds the site: text generated from the code, and included files.

Each notebook becomes a page, ``tutorials/notebooks/NAME.md``, with its stored outputs.
In a page, ``<!-- generated: settings -->`` becomes the reference of all settings,
``<!-- generated: metrics -->`` the table of all metrics, and a line ``--8<-- "NAME.md"`` the file
NAME.md of the repository's top folder, with its links turned towards the pages of the site.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {  # files of the top folder that are pages of the site
    "README.md": "index.md",
    "ARCHITECTURE.md": "development/architecture.md",
    "CONTRIBUTING.md": "development/contributing.md",
    "CHANGELOG.md": "development/changelog.md",
}
NOTEBOOKS = "tutorials/notebooks"  # the folder of their pages
_NOTEBOOK_LINK = re.compile(r"\]\((?:\.\./)+notebooks/(\w+)\.ipynb\)")
_INCLUDE = re.compile(r'^--8<-- "([A-Z]+\.md)"$', re.MULTILINE)
_GENERATED = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages of the notebooks, and their figures; called by MkDocs."""
    from mkdocs.structure.files import File

    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text, figures = notebook_page(path)
        files.append(File.generated(config, f"{NOTEBOOKS}/{path.stem}.md", content=text))
        for name, data in figures.items():
            files.append(File.generated(config, f"{NOTEBOOKS}/{name}", content=data))
    return files


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its figures by the path in the folder of its page."""
    import nbformat
    from nbconvert import MarkdownExporter

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = cell.source.replace("](../", "](")  # from the top folder
            text = re.sub(r"\]\((\w+)\.ipynb\)", rf"](docs/{NOTEBOOKS}/\1.md)", text)
            cell.source = with_links(text, f"{NOTEBOOKS}/{path.stem}.md")
    names = {"unique_key": path.stem, "output_files_dir": path.stem}
    text, resources = MarkdownExporter().from_notebook_node(notebook, resources=names)
    # tables in the style of the page, and outputs that follow each other without a wide gap
    text = re.sub(r"<style scoped>.*?</style>", "", text, flags=re.DOTALL)
    text = text.replace('<table border="1" class="dataframe">', "<table>")
    return re.sub(r"\n{3,}", "\n\n", text), resources["outputs"]


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fill in a page before it is turned into HTML; called by MkDocs."""
    folder = posixpath.dirname(page.file.src_uri)
    markdown = _NOTEBOOK_LINK.sub(
        lambda found: f"]({posixpath.relpath(f'{NOTEBOOKS}/{found[1]}.md', folder)})", markdown
    )
    markdown = _INCLUDE.sub(lambda found: included(found[1], page.file.src_uri), markdown)
    return _GENERATED.sub(lambda found: generated(found[1]), markdown)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Mend what mkdocs-click 0.9 writes; called by MkDocs."""
    if page.file.src_uri != "reference/cli.md":
        return html
    html = html.replace("<code>Sentinel.UNSET</code>", "")  # the default of an option without one
    return re.sub(
        r"(?<=[\s(])--[a-z][a-z-]+", r'<code style="white-space: nowrap">\g<0></code>', html
    )


def included(name: str, page: str) -> str:
    """Return a file of the top folder as it must read in a page such as development/a.md."""
    return with_links(ROOT.joinpath(name).read_text(encoding="utf-8"), page)


def with_links(text: str, page: str) -> str:
    """Point links that are relative to the top folder at the site.

    A link to a file that is not in the site is left as its text, without a link.
    """

    def turned(found: re.Match[str]) -> str:
        is_image, words, target = found.groups()
        file, hash_sign, anchor = target.partition("#")
        if not file or ":" in file:
            return found[0]
        file = PAGES.get(file, file.removeprefix("docs/") if file.startswith("docs/") else "")
        if not file:
            return words
        relative = posixpath.relpath(file, posixpath.dirname(page))
        return f"{is_image}[{words}]({relative}{hash_sign}{anchor})"

    return _LINK.sub(turned, text)


def generated(name: str) -> str:
    """Return the Markdown that the code gives for a name."""
    if name == "settings":
        from rmt_genomics.training.config_file import template

        return settings_reference(template())
    if name == "metrics":
        from rmt_genomics.model.metrics import METRICS

        rows = [
            f"| `{key}` | {metric.name} | {metric.meaning} |" for key, metric in METRICS.items()
        ]
        return "\n".join(["| key | name | meaning |", "| --- | --- | --- |", *rows])
    raise ValueError(f"generated: {name}: is not known, but must be settings or metrics.")


def settings_reference(toml: str) -> str:
    """Return one heading per setting from the text of ``train --list-settings``."""
    return "\n\n".join(_settings_lines(toml))


def _settings_lines(toml: str) -> Iterator[str]:
    section = ""
    for block in toml.strip().split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("["):
            section = lines.pop(0).strip("[]")
            yield f"## [{section}] {{ #{section} }}"
        *comments, assignment = lines
        key, _, value = assignment.removeprefix("# ").partition(" = ")
        if not key.isidentifier() or not value:
            raise ValueError(f"[{section}] {assignment!r}: must be KEY = VALUE, after its comment.")
        text = " ".join(line.removeprefix("#").strip() for line in comments)
        meaning, _, rule = text.rpartition(" May be ")
        yield f"### {section}.{key} {{ #{section}.{key} }}"
        yield meaning
        default = f"`{value}`"
        if "chosen by the data" in rule:
            default, rule = f"chosen by the data (such as `{value}`)", f"{rule.partition(' (')[0]}."
        elif "or left out" in rule:
            default = "left out"
            rule = rule.replace("the value is an example", f"such as `{value}`")
        yield f"Default: {default}. Values: {rule}"
