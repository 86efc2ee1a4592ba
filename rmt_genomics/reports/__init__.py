"""Figures, the HTML report and the model card, from data, training runs and evaluations."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmt_genomics.reports.evidence import write_evidence
    from rmt_genomics.reports.html_report import write_report
    from rmt_genomics.reports.model_card import write_model_card
    from rmt_genomics.reports.plot_files import save_figure, write_plots, write_training_plot
    from rmt_genomics.reports.plots import (
        confusion_matrix,
        precision_recall_curves,
        roc_curves,
        training_curve,
    )

__all__ = [
    "confusion_matrix",
    "precision_recall_curves",
    "roc_curves",
    "save_figure",
    "training_curve",
    "write_evidence",
    "write_model_card",
    "write_plots",
    "write_report",
    "write_training_plot",
]

_MODULES = {
    "save_figure": "plot_files",
    "training_curve": "plots",
    "write_evidence": "evidence",
    "write_model_card": "model_card",
    "write_plots": "plot_files",
    "write_report": "html_report",
    "write_training_plot": "plot_files",
}


def __getattr__(name: str) -> Any:
    """Import a module when it is used, so that ``inspect`` does not load torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'plots')}")
    return getattr(module, name)
