"""The classifier: both strands through one Recurrent Memory Transformer, then a head."""

from rmt_genomics.model.classifier import RMTClassifier
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.metrics import classification_metrics

__all__ = ["ClassifierConfig", "RMTClassifier", "classification_metrics"]
