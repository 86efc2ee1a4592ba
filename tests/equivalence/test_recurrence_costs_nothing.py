"""Law 9: a model with memory learns what the same model without memory learns, as fast.

Mosaics of two compositions, in three classes. A model without memory can learn whether a sequence
is a mixture; only memory shows whether the foreign part is inside or at an end. The benchmark on
real DNA is ``benchmarks/mosaics.py``; this is its small form, with a wider margin. With the
settings of the first version (``readout="carried"``, no gate) nothing is learned in these steps.
"""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from rmt_genomics.model import ClassifierConfig, RMTClassifier

LENGTH_BP, CLASSES = 256, ("intact", "insertion", "join")
STEPS, BATCH, LEARNING_RATE = 150, 48, 5e-3


def mosaic(label: int, random: np.random.Generator) -> np.ndarray:
    """Random bases; foreign ones differ by 0.25 to 0.35 in G+C content."""
    own_gc = random.uniform(0.2, 0.8)
    difference = random.uniform(0.25, 0.35) * (1 if own_gc < 0.5 else -1)
    gc_content = np.full(LENGTH_BP, own_gc)
    if label:
        length = int(random.integers(LENGTH_BP // 4, LENGTH_BP // 2 + 1))
        eighth, rest = LENGTH_BP // 8, LENGTH_BP - length
        start = random.choice([0, rest]) if label == 2 else random.integers(eighth, rest - eighth)
        gc_content[start : start + length] += difference
    is_gc, is_second = random.random((2, LENGTH_BP)) < [gc_content, np.full(LENGTH_BP, 0.5)]
    return np.where(is_gc, 1 + is_second, 3 * is_second).astype(np.uint8)


def batch(size: int, random: np.random.Generator) -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """Return codes, lengths and labels."""
    labels = np.arange(size) % 3
    codes = np.stack([mosaic(int(label), random) for label in labels])
    return torch.from_numpy(codes), [LENGTH_BP] * size, torch.from_numpy(labels)


def trained_aurocs(**changes: Any) -> tuple[float, float]:
    """Train for ``STEPS``; return the AUROC of "intact or not" and of "insertion or join"."""
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    model = RMTClassifier(
        ClassifierConfig(
            classes=CLASSES, task="multiclass", dim=32, depth=1, heads=2, segment_length=8,
            stem_pool=4, stem_width=5, num_memory_tokens=4, pooling="mean",
            strand_head="symmetric", **changes,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for step in range(STEPS):
        codes, lengths, labels = batch(BATCH, random)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1, step / 20) * (1 - step / STEPS)
        loss = F.cross_entropy(model(codes, lengths, replay=False), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    codes, lengths, labels = batch(900, np.random.default_rng(2))
    with torch.no_grad():
        logits = model(codes, lengths).double()
    is_foreign = labels > 0
    order = (logits[:, 2] - logits[:, 1])[is_foreign]
    detect = roc_auc_score(is_foreign, 1 - logits.softmax(dim=1)[:, 0])
    return float(detect), float(roc_auc_score(labels[is_foreign] == 2, order))


@pytest.mark.slow
def test_memory_costs_no_learning_and_answers_what_only_memory_can() -> None:
    detect, order = trained_aurocs()
    control_detect, control_order = trained_aurocs(memory_reset="segment")
    assert control_detect > 0.8  # a model without memory learns it
    assert detect > control_detect - 0.05
    assert order > 0.8 > 0.65 > control_order
