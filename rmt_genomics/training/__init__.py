"""From a labelled FASTA to a trained classifier: settings, the training loop, the run folder."""

from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import read_config
from rmt_genomics.training.cross_validation import cross_validate
from rmt_genomics.training.pretraining import PretrainingResult, pretrain
from rmt_genomics.training.train import TrainingResult, train

__all__ = [
    "ExperimentConfig",
    "PretrainingResult",
    "TrainingResult",
    "cross_validate",
    "pretrain",
    "read_config",
    "train",
]
