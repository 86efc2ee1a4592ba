"""A classifier with less context is the same network, read as the slow plain way says."""

import numpy as np
import pytest
import torch

from rmt_genomics.evaluation.context_ablation import average_of_segments, forgetful, segment_bp
from rmt_genomics.model import RMTClassifier
from tests.model.toys import toy

POOLINGS = ["last", "mean", "max", "attention"]
KMERS = {"tokenizer_kind": "kmer", "k": 3, "stride": 2}


def some_dna(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 5, length).astype(np.uint8) for length in lengths]


def one_by_one(model: RMTClassifier, codes: np.ndarray, *, alone: bool) -> np.ndarray:
    """The slow way: each segment as a sequence of its own, a fresh memory each time."""
    step, shared = segment_bp(model), model.config.k - model.config.stride
    starts = list(range(0, max(1, len(codes) - shared), step))
    total, weight = torch.zeros(len(model.classes_), dtype=torch.float64), 0
    for start in starts:
        piece = codes[start : start + step + shared]
        adds = len(codes) - start if start == starts[-1] else step
        with torch.no_grad():
            lengths = torch.tensor([len(piece)])
            features = model.eval().features(torch.from_numpy(piece)[None], lengths)
            if not alone:  # memory is taken away, composition is not
                whole = model.shared_features(torch.from_numpy(codes)[None]).double()
                features = torch.cat([features[:, : 2 * model.config.dim], whole], dim=-1)
            logits = model.head(features)
        total, weight = total + adds * logits[0], weight + adds
    assert weight == len(codes)
    return model.answers(total[None] / weight).numpy()[0]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        KMERS,
        {"stem_pool": 2},
        {"strand_head": "symmetric"},
        {"composition_k": 2, "strand_head": "symmetric"},
        {"protein_k": 1, "orf_codons": 2},
        {"wide_k": (1, 3)},
    ],
)
def test_the_average_is_that_of_a_loop_over_segments(pooling: str, changes: dict) -> None:
    model = toy(pooling=pooling, **changes)
    sequences = some_dna(40, 1, 6, 7, 13, 24, 25)

    found = average_of_segments(model, sequences)

    for rows, alone in ((found.beside_whole, False), (found.alone, True)):
        slow = np.stack([one_by_one(model, codes, alone=alone) for codes in sequences])
        np.testing.assert_allclose(rows, slow, rtol=0, atol=1e-12)


def test_a_sequence_of_one_segment_is_judged_as_the_model_does() -> None:
    model = toy()
    sequences = some_dna(6, 3, 1)

    np.testing.assert_allclose(
        average_of_segments(model, sequences).alone, model.predict_codes(sequences), atol=1e-12
    )
    assert segment_bp(model) == 6
    assert segment_bp(toy(**KMERS)) == 12


def test_no_segment_knows_of_another() -> None:
    model, (first, second) = toy(), some_dna(60, 6)

    together = average_of_segments(model, [np.concatenate([second, second])]).alone

    np.testing.assert_allclose(together, average_of_segments(model, [second]).alone, atol=1e-12)
    assert (
        np.abs(model.predict_codes([first]) - average_of_segments(model, [first]).alone).max()
        > 1e-6
    )


def test_without_memory_the_last_pooling_hears_only_the_end_of_each_strand() -> None:
    model = toy(stem_width=0)  # a stem would see a neighbouring base
    start, middle, middle_too, end = some_dna(6, 6, 6, 6)
    long, other = np.concatenate([start, middle, end]), np.concatenate([start, middle_too, end])

    twin = forgetful(model)

    np.testing.assert_allclose(twin.predict_codes([long]), twin.predict_codes([other]), atol=1e-12)
    assert np.abs(model.predict_codes([long]) - model.predict_codes([other])).max() > 1e-9


def test_one_segment_needs_no_memory() -> None:
    model, sequences = toy(), some_dna(6, 4)

    np.testing.assert_allclose(
        forgetful(model).predict_codes(sequences), model.predict_codes(sequences), atol=1e-12
    )


def test_the_twin_shares_the_weights_and_draws_no_random_numbers() -> None:
    model = toy()
    before = torch.get_rng_state()

    twin = forgetful(model)

    assert torch.equal(before, torch.get_rng_state())
    ours, theirs = dict(model.named_parameters()), dict(twin.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in ours)
