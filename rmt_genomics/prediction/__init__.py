"""From a trained classifier to predictions for new DNA."""

from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.embeddings import Embedding, embed_records
from rmt_genomics.prediction.inputs import InputReader, PredictionInput
from rmt_genomics.prediction.predictor import DecisionRule, Prediction, predict_records

__all__ = [
    "Calibration",
    "DecisionRule",
    "Embedding",
    "InputReader",
    "Prediction",
    "PredictionInput",
    "embed_records",
    "predict_records",
]
