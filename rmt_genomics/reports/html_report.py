"""The report: ``report.html``, one page on a run or an evaluation.

It needs no network and no other file, so that it can be mailed, archived and opened anywhere.
"""

from collections.abc import Callable
from pathlib import Path

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import DataError
from rmt_genomics.reports import data_sections, performance_sections, summary_sections
from rmt_genomics.reports.html_page import Html, Section, page
from rmt_genomics.reports.run_results import RunResults, read_run_results

REPORT = "report.html"
_INPUTS = ("metrics.json", "metrics.jsonl", "leakage.json", "split.tsv", "config.toml")

_SECTIONS: tuple[tuple[str, str, Callable[[RunResults], Html | None]], ...] = (
    ("summary", "Summary", summary_sections.summary),
    ("performance", "Performance", performance_sections.performance),
    ("classes", "Classes", performance_sections.classes),
    ("curves", "Curves", performance_sections.curves),
    ("errors", "Predicted and true values", performance_sections.errors),
    ("lengths", "By length", performance_sections.lengths),
    ("context", "Use of context", summary_sections.context),
    ("calibration", "Calibration", summary_sections.calibration),
    ("data", "Data", data_sections.data),
    ("leakage", "Leakage", data_sections.leakage),
    ("training", "Training", summary_sections.training),
    ("provenance", "Provenance", data_sections.provenance),
)


def write_report(folder: Path) -> Path:
    """Write ``report.html`` from the files of a run or an evaluation, atomically.

    A section whose files do not exist is left out; the same files give the same page.

    Args:
        folder: Holds some of ``metrics.json``, ``predictions.tsv``, ``metrics.jsonl``,
            ``leakage.json``, ``split.tsv``, ``config.toml`` and ``environment.txt``.

    Returns:
        The path of the report.

    Raises:
        DataError: If the folder has none of these files, or a file is damaged.
    """
    if not any((folder / name).is_file() for name in _INPUTS):
        raise DataError(
            f"{folder}: has none of {', '.join(_INPUTS)}, but a report is made from them. "
            "Name the --out folder of a training or an evaluation."
        )
    results = read_run_results(folder)
    sections = [
        Section(anchor, title, body)
        for anchor, title, write_section in _SECTIONS
        if (body := write_section(results))
    ]
    path = folder / REPORT
    write_text(path, page(f"Report on {results.name}", sections))
    return path
