"""Occlusion with the memory of the unchanged prefix is the naive loop over full predictions."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import decode
from rmt_genomics.interpretation import attribute, occlusion
from rmt_genomics.interpretation.occlusion import (
    Edit,
    PrefixMemory,
    occlude,
    segment_pieces,
    segment_shares,
    shuffle_dinucleotides,
)
from rmt_genomics.interpretation.tracks import Target
from rmt_genomics.model import RMTClassifier
from tests.interpretation.toys import logits, random_codes, toy

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}
MODELS: list[dict[str, Any]] = [
    {},
    {"pooling": "mean", "strand_head": "symmetric"},
    {"pooling": "attention", "readout": "carried", "memory_gate": False},
    {"pooling": "max", "stem_pool": 3, "segment_length": 3},
    {"pooling": "mean", "memory_reset": "segment"},
    {"tokenizer_kind": "kmer", "k": 3, "stride": 2, "segment_length": 4},
    {"features": ("kmer:2", "protein:1", "wide:3"), "orf_codons": 3, "pooling": "mean"},
    {"features": ("kmer:2", "protein:1"), "orf_codons": 3, "feature_head": "regression"},
]


def names(values: list[dict[str, Any]]) -> list[str]:
    return [",".join(map(str, each.values())) or "default" for each in values]


@pytest.mark.parametrize("changes", MODELS, ids=names(MODELS))
def test_effects_of_pieces_are_those_of_full_predictions(changes: dict[str, Any]) -> None:
    model, codes = toy(**changes), random_codes(num_bases=5)
    pieces = [(0, 6), (6, 12), (12, 15), (20, 31), (40, 45)]

    found = occlude(PrefixMemory(model, codes), pieces)

    expected = []
    for start, end in pieces:
        without = codes.copy()
        without[start:end] = 4
        expected.append(logits(model, codes) - logits(model, without))
    np.testing.assert_allclose(found.effects, expected, **EXACT)
    assert np.abs(found.effects).max() > 1e-3


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_the_size_of_a_batch_of_edits_changes_nothing(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, codes = toy(pooling="mean"), random_codes()
    edits = [Edit(start, codes[start : start + 3][::-1].copy()) for start in (30, 2, 17, 41)]
    monkeypatch.setattr(occlusion, "_MOST_ROWS", rows)
    monkeypatch.setattr(occlusion, "SEGMENTS_AT_ONCE", 3)

    found = torch.cat([each.total for each in PrefixMemory(model, codes).logits_of(edits)])

    expected = [logits(model, edit.applied_to(codes)) for edit in edits]
    np.testing.assert_allclose(found, np.array(expected), **EXACT)


def test_the_unchanged_prefix_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy(stem_width=0)
    codes = random_codes(48)  # eight whole segments
    prefix = PrefixMemory(model, codes)
    read: list[int] = []
    step = occlusion._step
    monkeypatch.setattr(
        occlusion,
        "_step",
        lambda encoder, segment, memory: (read.append(len(memory)), step(encoder, segment, memory))[
            1
        ],
    )

    occlude(prefix, segment_pieces(model, len(codes)))

    assert sum(read) == 2 * sum(range(1, 9))  # a full prediction of both strands is 16


@pytest.mark.parametrize("pooling", ["mean", "last", "attention"])
def test_with_memory_reset_nothing_comes_through_the_memory(pooling: str) -> None:
    codes = random_codes(48)
    reset, kept = toy(pooling=pooling, memory_reset="segment"), toy(pooling=pooling)
    pieces = segment_pieces(reset, len(codes))

    without = occlude(PrefixMemory(reset, codes), pieces)
    with_memory = occlude(PrefixMemory(kept, codes), pieces)

    assert (without.through_memory == 0).all()
    assert (np.abs(with_memory.through_memory[:-1]).max(axis=1) > 1e-9).all()


def test_with_last_pooling_and_memory_reset_a_segment_in_the_middle_has_no_effect() -> None:
    model, codes = toy(pooling="last", memory_reset="segment", stem_width=0), random_codes(48)

    found = occlude(PrefixMemory(model, codes), segment_pieces(model, len(codes)))

    assert (found.effects[1:-1] == 0).all()
    assert (found.effects[[0, -1]] != 0).all()  # the ends of the two strands


def test_the_direct_part_is_that_of_later_segments_with_the_old_memory() -> None:
    model, codes = toy(pooling="mean", stem_width=0, head_layers=1), random_codes(48)
    prefix = PrefixMemory(model, codes)
    edit = Edit(12, np.full(6, 4, np.uint8))

    (found,) = prefix.logits_of([edit], with_direct=True)

    strands = prefix.pooled.clone()
    for strand, index in ((0, 2), (1, 5)):  # the segment of either strand that has these bases
        with torch.no_grad():
            own = edit if strand == 0 else edit.on_other_strand(48)
            segment = prefix.segment(strand, index, [own])
            memory = prefix.memory_before[index, strand][None].clone()
            written = model.encoder.step(segment, memory, ()).output
        change = (written[0] - prefix.readouts[index, strand]).mean(dim=0) / 8
        strands[strand] += change
    with torch.no_grad():
        expected = model.head(strands.reshape(1, -1))
    torch.testing.assert_close(found.direct.clone(), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("head_layers", [1, 2])
def test_shares_of_mean_pooling_add_up_to_the_score_of_the_network(head_layers: int) -> None:
    model, codes = toy(pooling="mean", head_layers=head_layers), random_codes(45)
    prefix, target = PrefixMemory(model, codes), Target.of(model, "b")

    shares = segment_shares(prefix, target.network, segment_pieces(model, 45))

    with torch.no_grad():
        strands = prefix.pooled.clone().reshape(1, -1)
        expected = target.network(strands) - target.network(0 * strands)
    assert shares.sum() == pytest.approx(float(expected), rel=1e-6)
    assert len(shares) == 8


def test_a_share_of_a_linear_head_is_the_segment_s_term_of_the_mean() -> None:
    model, codes = toy(pooling="mean", head_layers=1), random_codes(48)
    prefix, target = PrefixMemory(model, codes), Target.of(model, "b")

    shares = segment_shares(prefix, target.network, segment_pieces(model, 48))

    weight = model.head.weight[1].detach().reshape(2, -1)
    terms = torch.einsum("s b m d, b d -> b s", prefix.readouts.clone(), weight) / (8 * 2)
    np.testing.assert_allclose(shares, terms[0] + terms[1].flip(0), rtol=1e-9)


@given(letters=st.lists(st.integers(0, 4), min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_a_shuffle_keeps_each_pair_of_neighbours(letters: list[int], seed: int) -> None:
    codes = np.array(letters, np.uint8)

    shuffled = shuffle_dinucleotides(codes, np.random.default_rng(seed))

    pairs = [Counter(pairwise(each)) for each in (codes, shuffled)]
    assert pairs[0] == pairs[1]
    assert sorted(codes) == sorted(shuffled)


def test_a_shuffle_changes_the_order() -> None:
    codes = random_codes(60)

    shuffled = shuffle_dinucleotides(codes, np.random.default_rng(0))

    assert decode(codes) != decode(shuffled)


def test_a_shuffle_as_occlusion_gives_other_effects() -> None:
    model, codes = toy(), decode(random_codes())
    by_n = attribute(model, codes, method="occlusion", class_name="a")
    shuffled = attribute(model, codes, method="occlusion_shuffle", class_name="a")

    assert not np.allclose(by_n.values, shuffled.values)
    assert shuffled.values.any()


def test_pieces_are_the_segments_of_the_forward_strand(monkeypatch: pytest.MonkeyPatch) -> None:
    model: RMTClassifier = toy()

    assert segment_pieces(model, 15) == [(0, 6), (6, 12), (12, 15)]
    assert segment_pieces(model, 15, 10) == [(0, 10), (10, 15)]
    monkeypatch.setattr(occlusion, "MOST_PIECES", 2)
    assert segment_pieces(model, 15) == [(0, 12), (12, 15)]
