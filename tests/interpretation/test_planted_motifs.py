"""Attributions of a model that has learned a motif point at the motif."""

from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from rmt_genomics.datasets.simulation import Simulation
from rmt_genomics.interpretation import RecordExplainer, top_regions
from rmt_genomics.model import ClassifierConfig, RMTClassifier

LENGTH, MOTIF = 128, 10


def trained() -> RMTClassifier:
    """A model that has learned, in seconds, whether a motif is anywhere in two segments."""
    torch.manual_seed(0)
    model = RMTClassifier(
        ClassifierConfig(
            classes=("absent", "present"), task="binary", dim=16, depth=1, heads=2, pooling="max",
            segment_length=16, stem_pool=4, stem_width=13, num_memory_tokens=2,
        )
    )  # fmt: skip
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3)
    examples = Simulation(task="detect", length_bp=LENGTH, motif_length_bp=MOTIF, seed=1).examples(
        10**9
    )
    for _ in range(150):
        batch = list(islice(examples, 64))
        codes = torch.from_numpy(np.stack([each.codes for each in batch]))
        targets = torch.tensor([int(each.label == "present") for each in batch])
        loss = F.cross_entropy(model(codes, [LENGTH] * 64), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    return model.eval()


@pytest.mark.slow
def test_planted_motifs_are_found() -> None:
    model = trained()
    simulation = Simulation(task="detect", length_bp=LENGTH, motif_length_bp=MOTIF, seed=2)
    found: dict[str, list[float]] = {}
    hits = 0
    planted_in = [each for each in simulation.examples(5) if each.sites][:2]
    for example in planted_in:
        ((start, _),) = example.sites
        planted = np.zeros(LENGTH, bool)
        planted[start : start + MOTIF] = True
        explainer = RecordExplainer(model, example.codes, class_name="present")
        for method in ("gradient", "occlusion", "integrated_gradients"):
            track = explainer.attribute(method)
            sizes = np.repeat(np.abs(track.values), track.ends - track.starts)
            found.setdefault(method, []).append(roc_auc_score(planted, sizes))
        best, *_ = top_regions(track)
        hits += best.start < start + MOTIF and start < best.end
        nearby = max(0, start - 3), min(LENGTH, start + MOTIF + 3)
        changed = explainer.attribute("mutagenesis", nearby)
        inside = planted[nearby[0] : nearby[1]]
        found.setdefault("mutagenesis", []).append(roc_auc_score(inside, changed.values))

    means = {method: np.mean(each) for method, each in found.items()}
    assert min(means[each] for each in ("gradient", "integrated_gradients")) > 0.95, means
    assert means["occlusion"] > 0.7, means  # of whole segments, of two
    assert means["mutagenesis"] > 0.9, means
    assert hits == len(planted_in) == 2
