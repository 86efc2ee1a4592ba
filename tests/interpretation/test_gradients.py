"""Gradients of bases are those of plain back-propagation; integrated ones add up."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from rmt_genomics.dna.alphabet import Codes, decode, reverse_complement
from rmt_genomics.interpretation import attribute, gradients
from rmt_genomics.interpretation.gradients import (
    feature_terms,
    gradient_times_input,
    integrated_gradients,
    network_gradients,
    network_scores,
)
from rmt_genomics.interpretation.occlusion import PrefixMemory
from rmt_genomics.interpretation.tracks import Target, own_values
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.tokenization import reverse_complement as other_strand
from rmt_genomics.model.tokenization import tokenize
from rmt_genomics.rmt import Segments, unroll_with_outputs
from tests.interpretation.toys import logits, random_codes, toy

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}
MODELS: list[dict[str, Any]] = [
    {},
    {"pooling": "mean", "strand_head": "symmetric", "memory_gate": "hard"},
    {"pooling": "attention", "readout": "carried", "memory_gate": False},
    {"pooling": "max", "stem_pool": 3, "segment_length": 3, "stem_width": 5},
]
FEATURES: list[dict[str, Any]] = [
    {"features": ("kmer:3",), "feature_head": "regression"},
    {"features": ("stranded-kmer:2", "wide:2-3"), "feature_head": "regression"},
    {"features": ("kmer:2", "wide:10")},
    {"features": ("stranded-kmer:2",)},
]


def names(values: list[dict[str, Any]]) -> list[str]:
    return [",".join(map(str, each.values())) or "default" for each in values]


def plain_gradients(model: RMTClassifier, codes: Codes, index: int, point: float) -> np.ndarray:
    """Unroll the network on soft tokens with all graphs; return ``(4, n)``, less that of N."""
    encoder, length = model.encoder, torch.tensor([len(codes)])
    row = torch.from_numpy(codes)[None]
    both = torch.cat([row, other_strand(row, length)])
    tokens, num_tokens = tokenize(encoder.tokenizer, both, length.repeat(2))
    size, halo = encoder.config.tokens_per_segment, encoder.config.halo
    segments = list(Segments(tokens, num_tokens.tolist(), size, halo))
    unknown = F.one_hot(torch.tensor(4), 5).double()
    soft = [unknown + point * (F.one_hot(each.tokens.long(), 5) - unknown) for each in segments]
    leaves = [each.requires_grad_() for each in soft]
    run = unroll_with_outputs(
        encoder.step,
        [each._replace(tokens=leaf) for each, leaf in zip(segments, leaves, strict=True)],
        encoder.step.memory.initial(2),
    )
    readouts = torch.stack(run.outputs) if encoder.readout == "written" else run.memories
    pooled = encoder.pool([(readouts, torch.ones(readouts.shape[:2], dtype=torch.bool))])
    strands = rearrange(pooled, "strand d -> 1 (strand d)")
    if model.hidden is not None:
        strands = model.hidden(strands)
    model.head(strands)[0, index].backward()
    strands = torch.zeros(2, len(codes), 5, dtype=torch.float64)
    for number, (segment, leaf) in enumerate(zip(segments, leaves, strict=True)):
        first = number * size - segment.left
        assert leaf.grad is not None
        strands[:, first : first + leaf.shape[1]] += leaf.grad
    relative = strands[..., :4] - strands[..., 4:]
    found: np.ndarray = (relative[0] + relative[1].flip(0, 1)).T.numpy()
    return found


@pytest.mark.parametrize("point", [1.0, 0.3])
@pytest.mark.parametrize("changes", MODELS, ids=names(MODELS))
def test_gradients_are_those_of_the_unrolled_network(changes: dict[str, Any], point: float) -> None:
    model, codes = toy(**changes), random_codes(num_bases=5)

    found = network_gradients(Target.of(model, "b"), codes, np.array([point]), np.ones(1))

    np.testing.assert_allclose(found, plain_gradients(model, codes, 1, point), **EXACT)
    assert np.abs(found).max() > 1e-3
    assert all(each.requires_grad for each in model.parameters())
    assert all(each.grad is None or each.requires_grad for each in model.parameters())


@pytest.mark.parametrize("changes", MODELS, ids=names(MODELS))
def test_what_is_known_of_a_record_is_not_computed_again(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, codes = toy(**changes), random_codes()
    target, prefix = Target.of(model, "b"), PrefixMemory(model, codes)
    passes: list[bool] = []
    forward = type(model.encoder.step).forward
    monkeypatch.setattr(
        type(model.encoder.step),
        "forward",
        lambda *arguments: (passes.append(torch.is_grad_enabled()), forward(*arguments))[1],
    )

    found = gradient_times_input(target, prefix)

    np.testing.assert_allclose(found, plain_gradients(model, codes, 1, 1.0), **EXACT)
    assert passes[: len(prefix.readouts)] == [True] * len(
        prefix.readouts
    )  # each once, for backward


def test_points_are_weighted_and_their_batches_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, codes = toy(), random_codes()
    target = Target.of(model, "a")
    points, weights = np.array([0.0, 0.4, 1.0]), np.array([0.5, 2.0, 1.0])
    together = network_gradients(target, codes, points, weights)
    monkeypatch.setattr(gradients, "_TOKENS_AT_ONCE", 1)
    alone = network_gradients(target, codes, points, weights)

    np.testing.assert_allclose(together, alone, **EXACT)
    scores = network_scores(target, codes, points)
    expected = sum(
        weight * plain_gradients(model, codes, 0, point)
        for point, weight in zip(points, weights, strict=True)
    )
    np.testing.assert_allclose(alone, expected, **EXACT)
    assert scores[2] == pytest.approx(logits(model, codes)[0])
    assert scores[0] == pytest.approx(logits(model, np.full_like(codes, 4))[0])


SMOOTH: list[dict[str, Any]] = [  # where the line crosses few kinks of a maximum
    *MODELS[:3],
    {"pooling": "mean", "stem_pool": 3, "segment_length": 3, "depth": 1},
    *FEATURES,
]


@pytest.mark.parametrize("changes", SMOOTH, ids=names(SMOOTH))
def test_integrated_gradients_add_up_to_the_difference_of_logits(changes: dict[str, Any]) -> None:
    model, codes = toy(**changes), random_codes(20)

    found = attribute(model, decode(codes), class_name="b")

    difference = logits(model, codes)[1] - logits(model, np.full_like(codes, 4))[1]
    assert found.score - found.baseline_score == pytest.approx(difference, rel=1e-6)
    assert found.values.sum() == pytest.approx(difference, rel=0.01)
    assert found.unexplained == pytest.approx(difference - found.values.sum(), abs=1e-5)
    assert sum(found.terms.values()) == pytest.approx(difference)


@pytest.mark.parametrize("k_and_stride", [(3, 1), (3, 2), (4, 4)])
def test_with_tokens_of_several_bases_they_add_up_too(k_and_stride: tuple[int, int]) -> None:
    k, stride = k_and_stride
    model = toy(tokenizer_kind="kmer", k=k, stride=stride, segment_length=3)
    codes = random_codes(23)

    found = attribute(model, decode(codes), class_name="c")

    difference = logits(model, codes)[2] - logits(model, np.full_like(codes, 4))[2]
    assert found.values.sum() == pytest.approx(difference, rel=0.01)


def test_the_gradient_of_a_kmer_token_is_shared_by_its_bases() -> None:
    model = toy(tokenizer_kind="kmer", k=3, stride=3, segment_length=2, stem_width=0)
    codes = random_codes(12)

    by_base = gradient_times_input(Target.of(model, "a"), PrefixMemory(model, codes))

    own = own_values(by_base, codes)
    assert np.ptp(own.reshape(4, 3) - own.reshape(4, 3)[:, :1]) == pytest.approx(0, abs=1e-12)
    assert np.abs(own).max() > 1e-4


def test_the_track_of_the_reverse_complement_is_reversed() -> None:
    model = toy(strand_head="symmetric", pooling="mean", features=("kmer:2", "wide:3"))
    letters = decode(random_codes(20))
    for method in ("gradient", "integrated_gradients", "occlusion"):
        size = 5 if method == "occlusion" else None
        forward = attribute(model, letters, method=method, class_name="a", piece_bp=size)
        reverse = attribute(
            model, reverse_complement(letters), method=method, class_name="a", piece_bp=size
        )

        np.testing.assert_allclose(forward.values, reverse.values[::-1], rtol=1e-5, atol=1e-7)
        assert np.ptp(forward.values) > 0


def test_with_memory_reset_no_gradient_crosses_a_segment() -> None:
    codes = random_codes(48)
    for reset, is_local in (("segment", True), ("never", False)):
        model = toy(memory_reset=reset, pooling="last", stem_width=0)

        by_base = gradient_times_input(Target.of(model, "a"), PrefixMemory(model, codes))

        # last pooling: the last segment of either strand is read
        assert (by_base[:, 6:-6] == 0).all() == is_local
        assert (by_base[:, :6] != 0).all()


@pytest.mark.parametrize("changes", FEATURES, ids=names(FEATURES))
def test_parts_of_kmers_add_up_exactly(changes: dict[str, Any]) -> None:
    model, codes = toy(**changes), random_codes(num_bases=5)
    target = Target.of(model, "b")

    found = feature_terms(target, codes)

    own = own_values(found.bases, codes).sum(dtype=np.float64)
    network = integrated_difference(target, codes)
    difference = logits(model, codes)[1] - logits(model, np.full_like(codes, 4))[1]
    assert own == pytest.approx(sum(found.terms.values()), rel=1e-5, abs=1e-6)
    assert own == pytest.approx(difference - network, rel=1e-5, abs=1e-6)
    assert abs(own) > 1e-4


def integrated_difference(target: Target, codes: Codes) -> float:
    """What the network alone adds, without any feature."""
    scores = network_scores(target, codes, np.array([0.0, 1.0]))
    return float(scores[1] - scores[0])


def test_parts_of_a_regression_are_those_of_its_kmers_by_hand() -> None:
    model = toy(features=("stranded-kmer:2",), feature_head="regression")
    codes = np.array([0, 1, 1, 4, 3], np.uint8)  # the 2-mers AC and CC

    found = feature_terms(Target.of(model, "a"), codes)

    assert model.regressions is not None
    weight = model.regressions[0].weight[:, 0].numpy()
    ac, cc = weight[1] / 2, weight[5] / 2
    np.testing.assert_allclose(
        own_values(found.bases, codes), [ac / 2, (ac + cc) / 2, cc / 2, 0, 0], rtol=1e-6
    )
    # instead of the first base, each other one would make another 2-mer
    np.testing.assert_allclose(found.bases[:, 0], weight[[1, 5, 9, 13]] / 4, rtol=1e-6)


def test_proteins_are_not_in_the_track_of_bases_and_their_part_is_told() -> None:
    model = toy(features=("protein:1",), feature_head="regression", orf_codons=3, pooling="mean")
    codes = random_codes(60)

    found = attribute(model, decode(codes), class_name="a")

    assert found.terms["protein"] != 0
    assert found.unexplained == pytest.approx(found.terms["protein"], abs=0.02)


def test_a_regression_is_explained_in_the_unit_of_its_label() -> None:
    settings: dict[str, Any] = {"classes": ("ph",), "task": "regression"}
    model = toy(**settings, target_mean=7.0, target_std=2.0, features=("kmer:2",))
    plain = toy(**settings, features=("kmer:2",))
    letters = decode(random_codes(20))

    found, unscaled = (attribute(each, letters) for each in (model, plain))

    (value,) = model.predict([letters])
    assert found.score == pytest.approx(float(value))
    np.testing.assert_allclose(found.values, 2 * unscaled.values, rtol=1e-4, atol=1e-7)


def test_by_default_the_predicted_class_is_explained() -> None:
    model, letters = toy(), decode(random_codes())

    assert attribute(model, letters, method="gradient").class_name == model.predict([letters])[0]
    assert integrated_gradients(Target(model, 0), random_codes(9)).shape == (4, 9)
