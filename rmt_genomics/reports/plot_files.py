"""Figures as image files, and as SVG within a page: text stays text, in the font of the page."""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.reports import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rmt_genomics.datasets.examples import Example
    from rmt_genomics.reports.data_summary import DataSummary

_DPI = 150
_MAX_SHRINKING_PX = 500  # a wider figure scrolls: if it shrank, its letters would be too small
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def write_plots(folder: str | Path) -> list[Path]:
    """Draw what ``evaluate`` wrote into a folder, there, each figure as SVG and PNG.

    For a classifier these are confusion matrix, ROC and precision-recall curves, and reliability if
    it was calibrated; for a regression predicted against true values; for both the use of context,
    if it was measured.
    """
    folder = Path(folder)
    from rmt_genomics.reports.run_results import read_run_results  # loads torch

    results, figures = read_run_results(folder), {}
    if results.regression_values is not None:
        values, name = results.regression_values, results.classes[0]
        figures["errors"] = plots.predicted_against_true(*values, name)
    if results.probabilities is not None:
        classes = results.classes
        if confusion := results.metrics.get("confusion"):
            figures["confusion"] = plots.confusion_matrix(confusion, classes)
        figures["roc"] = plots.roc_curves(*results.probabilities, classes)
        curves = plots.precision_recall_curves(*results.probabilities, classes)
        figures["precision_recall"] = curves
    if bins := (results.metrics.get("calibration") or {}).get("reliability"):
        figures["reliability"] = plots.reliability(bins)
    if context := results.metrics.get("context"):
        figures["context"] = plots.score_over_visible(context)
    return [path for name, figure in figures.items() for path in _save_all(figure, folder / name)]


def write_composition_plot(
    summary: "DataSummary", examples: "Sequence[Example]", path: Path
) -> None:
    """Draw lengths, GC and unknown bases of records; by label where whole records have labels."""
    save_figure(plots.composition(summary.compositions_by_label(examples)), path)


def write_training_plot(run: str | Path) -> list[Path]:
    """Draw a run's ``metrics.jsonl`` as ``training.svg`` and ``training.png`` in its folder."""
    from rmt_genomics.evaluation.result_files import read_epochs  # loads torch

    run = Path(run)
    figure = plots.training_curve(read_epochs(run / "metrics.jsonl"))
    return _save_all(figure, run / "training")


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure atomically, in the format of the suffix of ``path``.

    The same figure gives the same bytes: no date, no random ids.
    """
    path = Path(path)
    import matplotlib

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {}
    with atomic_file(path) as temporary, matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(temporary, format=kind, dpi=_DPI, metadata=metadata)


def _save_all(figure: "Figure", stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
    for path in paths:
        save_figure(figure, path)
    return paths


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure of the page; screen readers read the caption instead of it."""

    svg: Markup
    caption: str


def plot(figure: "Figure", name: str, caption: str) -> Plot:
    """Return a figure as inline SVG; ``name`` is unique in the page, and so are its ids."""
    root = ElementTree.fromstring(_svg(figure, name))
    for element in root.iter():
        _use_page_style(element)
    width = round(float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3)
    del root.attrib["height"]
    shrinks = "" if width > _MAX_SHRINKING_PX else ";max-width:100%"
    root.attrib |= {"style": f"width:{width}px{shrinks}", "class": "plot"}
    root.attrib |= {"role": "img", "aria-label": caption}
    return Plot(Markup(ElementTree.tostring(root, encoding="unicode")), caption)


def _svg(figure: "Figure", name: str) -> str:
    import matplotlib

    text = io.StringIO()
    rc_context = matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"})
    with rc_context, warnings.catch_warnings():
        # the browser draws the letters with its own fonts, so glyphs missing here do not matter
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        figure.savefig(text, format="svg", metadata=_NO_METADATA, transparent=True)
    return text.getvalue()


def _use_page_style(element: ElementTree.Element) -> None:
    """Make an element fit into HTML, with the text colour and the fonts of the page."""
    element.tag = element.tag.partition("}")[2]  # inline SVG needs neither namespaces nor xlink:
    element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    for child in element.findall("{*}style"):
        element.remove(child)  # it would apply to the whole page; report.css has the same rule
    if "_" in element.get("id", ""):
        del element.attrib["id"]  # of a group, such as axes_1; the ids of references are hashes
    if style := element.get("style"):
        style = re.sub(r"'[^']*', ", "", style)  # the generic font ends the list
        element.set("style", style.replace("#000000", "currentColor"))
