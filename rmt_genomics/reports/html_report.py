"""The report: everything about a run or an evaluation on one page, ``report.html``.

It needs no network and no other file, so that it can be mailed, archived and opened anywhere.
"""

from collections.abc import Callable
from pathlib import Path

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import DataError
from rmt_genomics.reports import (
    data_sections as sections_of_data,
)
from rmt_genomics.reports import (
    performance_sections as sections_of_results,
)
from rmt_genomics.reports import (
    summary_sections as sections_of_trust,
)
from rmt_genomics.reports.html_page import Html, Section, page
from rmt_genomics.reports.run_results import Findings, read_findings

REPORT = "report.html"
_ANY_OF = ("metrics.json", "metrics.jsonl", "leakage.json", "split.tsv", "config.toml")

_SECTIONS: tuple[tuple[str, str, Callable[[Findings], Html | None]], ...] = (
    ("verdict", "Verdict", sections_of_trust.verdict),
    ("scores", "Scores", sections_of_results.scores),
    ("classes", "Classes", sections_of_results.classes),
    ("curves", "Curves", sections_of_results.curves),
    ("errors", "Prediction and truth", sections_of_results.errors),
    ("lengths", "By length", sections_of_results.lengths),
    ("context", "Does context matter?", sections_of_trust.context),
    ("calibration", "Calibration", sections_of_trust.calibration),
    ("data", "Data", sections_of_data.data),
    ("leakage", "Leakage", sections_of_data.leakage),
    ("training", "Training", sections_of_trust.training),
    ("provenance", "Provenance", sections_of_data.provenance),
)


def write_report(folder: Path) -> Path:
    """Write ``report.html`` from the files of a run or an evaluation, whole or not at all.

    A section whose files are not there is left out; the same files give the same page.

    Args:
        folder: Holds some of ``metrics.json``, ``predictions.tsv``, ``metrics.jsonl``,
            ``leakage.json``, ``split.tsv``, ``config.toml`` and ``environment.txt``.

    Returns:
        The path of the report.

    Raises:
        DataError: If there is nothing to report on, or a file is damaged.
    """
    if not any((folder / name).is_file() for name in _ANY_OF):
        raise DataError(
            f"{folder}: has none of {', '.join(_ANY_OF)}, but a report tells what they say. "
            "Name the --out folder of a training or an evaluation."
        )
    found = read_findings(folder)
    drawn = ((anchor, title, draw(found)) for anchor, title, draw in _SECTIONS)
    sections = [Section(anchor, title, body) for anchor, title, body in drawn if body]
    path = folder / REPORT
    write_text(path, page(f"Report on {found.name}", sections))
    return path
