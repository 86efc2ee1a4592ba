"""Figures: how training went, and how good a model is."""

from rmt_genomics.reports.files import save_figure, write_plots, write_training_plot
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
    "write_plots",
    "write_training_plot",
]
