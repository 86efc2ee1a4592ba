"""From a trained classifier to predictions for new DNA."""

from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.embeddings import Embedding, embed_records
from rmt_genomics.prediction.inputs import read_fastas, read_stretches, read_windows
from rmt_genomics.prediction.predictor import Prediction, predict_records

__all__ = [
    "Calibration",
    "Embedding",
    "Prediction",
    "embed_records",
    "predict_records",
    "read_fastas",
    "read_stretches",
    "read_windows",
]
