"""Linear probe of a pretrained encoder: a regression on its embeddings, nothing else trained.

The encoder reads each segment alone, without memory; an embedding is the mean of its token states
over all segments of both strands. It is a baseline of the model that was trained around the same
encoder: what training, memory and head add.

Dimensions: n examples, d width of the encoder, c classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.dna.alphabet import reverse_complement_codes
from rmt_genomics.evaluation.baselines import BaselinePredictions
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.backbone_step import BackboneStep
from rmt_genomics.model.backbones import Backbone, pretrained_weights
from rmt_genomics.model.batching import pad
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec
from rmt_genomics.rmt import Segment

MOST_ROWS = 2000
"""Train rows of a fit, drawn at random; an encoder takes a while for each."""

_SEGMENTS_AT_ONCE = 16
_INVERSE_REGULARIZATIONS = (1.0, 0.1, 0.01)


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A frozen encoder and a regression on its embeddings."""

    step: BackboneStep
    regression: KmerRegression
    source: str
    num_rows: int

    def predictions(self, eval_set: EvaluationSet) -> BaselinePredictions:
        """Return the predictions for examples."""
        features = _embeddings(self.step, eval_set.store, eval_set.examples)
        return BaselinePredictions(
            "linear_probe",
            "a linear probe of the pretrained encoder",
            self.regression.predict_proba(features),
            {"encoder": self.source, "train_rows": self.num_rows},
        )


def fit_linear_probe(
    train: Sequence[Example], targets: np.ndarray, validation: EvaluationSet
) -> LinearProbe | None:
    """Fit on train rows; choose the regularization on the validation part.

    Args:
        train: At least one example.
        targets: Of the train rows.
        validation: The examples that decide, and the model.

    Returns:
        None if the model has no pretrained encoder.

    Raises:
        CheckpointError: If the encoder is no longer where it was.
        DataError: If there are fewer than two classes.
    """
    model = validation.model
    if not isinstance(model, RMTClassifier) or model.config.backbone is None:
        return None
    step = _frozen_step(model, model.config.backbone)
    rows = np.arange(len(train))
    if len(train) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(len(train))[:MOST_ROWS])
    features = _embeddings(step, validation.store, [train[row] for row in rows.tolist()])
    held_out = _embeddings(step, validation.store, validation.examples)
    fitted = [
        KmerRegression.fit(
            features,
            targets[rows],
            validation.classes,
            validation.task,
            kmers=KmerSpec(),  # of no importance: the features are given
            inverse_regularization=inverse_regularization,
        )
        for inverse_regularization in _INVERSE_REGULARIZATIONS
    ]
    key = "r2" if validation.task == "regression" else "mcc"

    def score(regression: KmerRegression) -> float:
        value = validation.metrics(regression.predict_proba(held_out), None)[key]
        return -np.inf if value is None else float(value)

    return LinearProbe(step, max(fitted, key=score), model.config.backbone.source, len(rows))


def _frozen_step(model: RMTClassifier, backbone: Backbone) -> BackboneStep:
    """Return the encoder as it was before the training, on the device of the model."""
    step = BackboneStep(model.config.rmt(), backbone)
    step.backbone.load_state_dict(pretrained_weights(backbone))
    return step.to(model.device).eval()


def _embeddings(
    step: BackboneStep, store: SequenceStore, examples: Sequence[Example]
) -> np.ndarray:
    """Return the embedding of each example ``(n, d)`` float64."""
    totals = np.zeros((len(examples), step.config.dim))
    counts = np.zeros((len(examples), 1))

    def add(owners: list[int], blocks: list[np.ndarray]) -> None:
        device = next(step.parameters()).device
        codes, lengths = pad(blocks, device)
        keep = torch.arange(codes.shape[1], device=device) < lengths[:, None]
        states, num_tokens = step.sum_of_states(Segment(codes, keep, 0, codes.shape[1]))
        np.add.at(totals, owners, states.double().cpu().numpy())
        np.add.at(counts, owners, num_tokens.double().cpu().numpy()[:, None])

    owners, blocks = list[int](), list[np.ndarray]()
    with torch.inference_mode():
        for owner, block in _blocks(store, examples, step.config.seq_len):
            owners.append(owner)
            blocks.append(block)
            if len(blocks) == _SEGMENTS_AT_ONCE:
                add(owners, blocks)
                owners, blocks = [], []
        if blocks:
            add(owners, blocks)
    return totals / counts


def _blocks(
    store: SequenceStore, examples: Sequence[Example], size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the segments of both strands of each example, and its index."""
    for index, example in enumerate(examples):
        codes = store.codes(example.interval)
        for strand in (codes, reverse_complement_codes(codes)):
            for start in range(0, len(strand), size):
                yield index, strand[start : start + size]
