"""The report: ``report.html``, one page on a run or an evaluation.

It needs no network and no other file, so that it can be mailed, archived and opened anywhere. The
functions of ``*_sections.py`` return what a section shows as plain values, and
``templates/report.html`` says how it looks. jinja2 passes every value of it through ``_displayed``,
and then escapes it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import DataError
from rmt_genomics.parsing import readable
from rmt_genomics.reports import data_sections, evidence, performance_sections, summary_sections
from rmt_genomics.reports.formatting import number
from rmt_genomics.reports.markdown import template_environment
from rmt_genomics.reports.run_results import RunResults, read_run_results

REPORT = "report.html"
_INPUTS = ("metrics.json", "metrics.jsonl", "leakage.json", "split.tsv", "config.toml")

_SECTIONS: Mapping[str, tuple[str, Callable[[RunResults], Mapping[str, Any] | None]]] = {
    "summary": ("Summary", summary_sections.summary),
    "performance": ("Performance", performance_sections.performance),
    "folds": ("Folds", performance_sections.folds),
    "classes": ("Classes", performance_sections.classes),
    "curves": ("Curves", performance_sections.curves),
    "errors": ("Predicted and true values", performance_sections.errors),
    "lengths": ("By length", performance_sections.lengths),
    "context": ("Use of context", summary_sections.context),
    "evidence": ("Where the evidence lies", evidence.evidence),
    "calibration": ("Calibration", summary_sections.calibration),
    "data": ("Data", data_sections.data),
    "leakage": ("Leakage", data_sections.leakage),
    "training": ("Training", summary_sections.training),
    "provenance": ("Provenance", data_sections.provenance),
}
"""Title and contents by anchor, in the order of the page; each has its part in the template."""


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` from the files of a run or an evaluation, atomically.

    A section whose files do not exist is left out; the same files give the same page.

    Raises:
        DataError: If the folder has none of these files, or a file is damaged.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in _INPUTS):
        raise DataError(
            f"{folder}: has none of {', '.join(_INPUTS)}, but a report is made from them. "
            "Name the --out folder of a training or an evaluation."
        )
    results = read_run_results(folder)
    contents = {anchor: describe(results) for anchor, (_, describe) in _SECTIONS.items()}
    titles = {anchor: _SECTIONS[anchor][0] for anchor, content in contents.items() if content}
    template = environment().get_template("report.html")
    path = folder / REPORT
    write_text(path, template.render(name=results.name, titles=titles, contents=contents))
    return path


def environment() -> jinja2.Environment:
    """Return the settings of the HTML templates."""
    return template_environment(_displayed, autoescape=True)


def _displayed(value: Any) -> Any:
    """Return a value as it is shown; jinja2 escapes all but ``Markup`` afterwards."""
    if isinstance(value, Markup | jinja2.Undefined):
        return value
    return readable(number(value))
