"""From a trained classifier to predictions, and to how good they are."""

from rmt_genomics.inference.calibration import Calibration
from rmt_genomics.inference.embed import Embedding, embed_records
from rmt_genomics.inference.evaluate import evaluate_run, predict_examples
from rmt_genomics.inference.kmer_baseline import KmerBaseline
from rmt_genomics.inference.predict import (
    Prediction,
    predict_records,
    read_fastas,
    read_stretches,
    read_windows,
)

__all__ = [
    "Calibration",
    "Embedding",
    "KmerBaseline",
    "Prediction",
    "embed_records",
    "evaluate_run",
    "predict_examples",
    "predict_records",
    "read_fastas",
    "read_stretches",
    "read_windows",
]
