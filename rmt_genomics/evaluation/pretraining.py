"""How well a pretrained network predicts masked bases: ``metrics.json`` of ``pretrain``.

Bits per base are the mean over the masked bases of the validation part, both strands, always the
same bases. Beside the network is the network whose memory is set to zero before each segment, and
models that count bases (``base_counts``). These see the true bases next to a masked one, some of
which are masked from the network; Markov models, which read from left to right, see none after it.

Dimensions: n windows.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmt_genomics.atomic_io import write_text
from rmt_genomics.datasets import Example, SequenceStore, Split
from rmt_genomics.errors import counted
from rmt_genomics.evaluation.base_counts import (
    CONTEXT_ORDERS,
    MARKOV_ORDERS,
    Predicted,
    bits_per_base,
)
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import batches_of_similar_length, pad
from rmt_genomics.model.config import PRETRAINING
from rmt_genomics.model.masked_bases import (
    MaskedCodes,
    PretrainingSettings,
    mask_codes,
    mask_random,
    masked_base_losses,
)
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.model.tokenization import N
from rmt_genomics.rmt.runtime import evaluating

_MOST_BP = 1 << 24  # of the validation part
_SAMPLE = 10  # separates its random numbers from those of other modules

_NOTES = (
    "markov_K predicts from the K bases before a base, so it does not see what follows it, which "
    "the network does.",
    "markov_K and context_K see the true bases next to a masked one, even where the network reads "
    "them as N (in spans, and by chance).",
    "memory_reset is the same network with its memory set to zero before each segment.",
)


def evaluate_pretraining(
    folder: Path,
    model: RMTClassifier,
    store: SequenceStore,
    split: Split,
    masking: PretrainingSettings,
    *,
    device: str,
    seed: int,
) -> dict[str, Any]:
    """Evaluate a pretrained model on its validation part; write ``metrics.json`` and return it.

    Of more than 16 Mb a random sample is evaluated. The arguments are those of the pretraining.
    """
    examples = _sample(split.validation, seed)
    masked = [
        mask_codes(store.codes(each.interval), masking, mask_random(seed, each.name))
        for each in examples
    ]
    num_bp = sum(len(each.interval) for each in examples)
    metrics: dict[str, Any] = {
        "task": PRETRAINING,
        "split": "validation",
        "n": len(examples),
        "bp": num_bp,
        "fasta": [path.name for path in store.paths],
        "masked_bases": int(sum((each.targets < N).sum() for each in masked)),
        "model": _network(model, masked, device, reset_memory=False),
        "memory_reset": _network(model, masked, device, reset_memory=True),
        "baselines": _baselines(store, examples, split.train, masked),
        "notes": list(_NOTES),
    }
    if len(examples) < len(split.validation):
        number = counted(len(split.validation), "window")
        metrics["notes"].append(f"{len(examples):,} of {number} of the validation part, at random.")
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def _sample(examples: Sequence[Example], seed: int) -> list[Example]:
    total = sum(len(each.interval) for each in examples)
    if total <= _MOST_BP:
        return list(examples)
    order = np.random.default_rng([seed, _SAMPLE]).permutation(len(examples))
    sizes = np.cumsum([len(examples[at].interval) for at in order.tolist()])
    count = max(1, int(np.searchsorted(sizes, _MOST_BP, side="right")))
    return [examples[at] for at in sorted(order[:count].tolist())]


def _network(
    model: RMTClassifier, masked: Sequence[MaskedCodes], device: str, *, reset_memory: bool
) -> dict[str, float | None]:
    """Return bits per base of a network: of all masked bases, of single ones and of spans."""
    on = choose_device(device)
    model.to(on)
    sums = np.zeros((2, 2))  # single bases and spans; nats and number
    with evaluating(model):
        for batch in batches_of_similar_length([len(each.codes) for each in masked]):
            codes, lengths = pad([masked[index].codes for index in batch], on)
            targets, _ = pad([masked[index].targets for index in batch], on)
            losses = masked_base_losses(
                model.encoder, model.head, codes, targets, lengths, reset_memory=reset_memory
            )
            for row, index in enumerate(batch):
                one = masked[index]
                nats = losses[row, : len(one.codes)].double().cpu().numpy()
                for kind, is_kind in enumerate((~one.in_span, one.in_span)):
                    is_masked = is_kind & (one.targets < N)
                    sums[kind] += nats[is_masked].sum(), is_masked.sum()
    model.to(torch.device("cpu"))
    return {
        "bits_per_base": _bits(*sums.sum(axis=0)),
        "bits_per_single_base": _bits(*sums[0]),
        "bits_per_base_in_spans": _bits(*sums[1]),
    }


def _bits(nats: float, count: float) -> float | None:
    return float(nats / count / np.log(2)) if count else None


def _baselines(
    store: SequenceStore,
    examples: Sequence[Example],
    train: Sequence[Example],
    masked: Sequence[MaskedCodes],
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, orders, both_sides in (
        ("markov", MARKOV_ORDERS, False),
        ("context", CONTEXT_ORDERS, True),
    ):
        of_windows = (
            (store.codes(example.interval), one.targets)
            for example, one in zip(examples, masked, strict=True)
        )
        predicted = Predicted.of(of_windows, max(orders), both_sides=both_sides)
        sequences = (store.codes(example.interval) for example in train)
        bits = bits_per_base(sequences, predicted, both_sides=both_sides)
        found |= {f"{name}_{order}": {"bits_per_base": bits[order]} for order in orders}
    return found


def result_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return a tab-separated table: predictor and bits per base."""
    rows = {"model": metrics["model"], "memory_reset": metrics["memory_reset"]}
    rows |= metrics["baselines"]
    return [
        "predictor\tbits_per_base",
        *(f"{name}\t{values['bits_per_base']:.4f}" for name, values in rows.items()),
    ]
