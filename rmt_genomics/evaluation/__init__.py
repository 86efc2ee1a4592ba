"""How good predictions are: metrics, baselines, intervals, and comparisons of runs."""

from rmt_genomics.evaluation.cross_validation import evaluate_folds
from rmt_genomics.evaluation.evaluate import evaluate, evaluate_run
from rmt_genomics.evaluation.evaluation_set import predict_examples

__all__ = ["evaluate", "evaluate_folds", "evaluate_run", "predict_examples"]
