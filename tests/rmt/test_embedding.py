"""Token embedding and convolution stem: the result does not depend on the segmentation."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.rmt import Segments
from rmt_genomics.rmt.embedding import pooled_embedding, pooled_mask, pooled_max
from tests.toys import tiny


@given(
    length=st.integers(1, 40),
    segment_length=st.integers(1, 15),
    width=st.sampled_from([1, 3, 7, 11]),
    kind=st.sampled_from([{"causal": True}, {}, {"stem_pool": 2}, {"stem_pool": 7}]),
)
def test_the_embedding_does_not_depend_on_the_segmentation(
    *, length: int, segment_length: int, width: int, kind: dict[str, Any]
) -> None:
    model = tiny(stem_width=width, seq_len=segment_length, **kind)
    config, tokens = model.config, torch.randint(0, 5, (2, length))
    lengths = [length, max(1, length - 5)]

    whole = model.embed(Segments(tokens, lengths, length, config.halo)[0])
    cut = Segments(tokens, lengths, config.tokens_per_segment, config.halo)
    pieces = [model.embed(segment) for segment in cut]

    for row, row_length in enumerate(lengths):
        num_pooled = -(-row_length // config.stem_pool)
        joined = torch.cat([piece[row] for piece in pieces if row < len(piece)])[:num_pooled]
        torch.testing.assert_close(joined, whole[row, :num_pooled], rtol=1e-12, atol=1e-12)


def test_pooled_tokens_by_hand() -> None:
    """Five tokens, pooled by two; the last pooled token holds one."""
    features = torch.tensor([[[1.0], [5.0], [-3.0], [-2.0], [-7.0]]])
    assert pooled_max(features, None, 2).flatten().tolist() == [5.0, -2.0, -7.0]
    keep = torch.tensor([[True, False, True, False, False]])
    assert pooled_max(features, keep, 2).flatten().tolist() == [1.0, -3.0, 0.0]
    assert pooled_mask(keep, 2).tolist() == [[True, True, False]]  # type: ignore[union-attr]

    embedding = torch.nn.Embedding.from_pretrained(torch.tensor([[10.0], [20.0]]))
    means = pooled_embedding(embedding, torch.tensor([[0, 1, 1, 0, 1]]), keep, 2)
    assert means.flatten().tolist() == [10.0, 20.0, 0.0]


def test_without_a_halo_the_check_fails() -> None:
    model = tiny(stem_width=5)
    tokens = torch.randint(0, 5, (1, 12))
    whole = model.embed(Segments(tokens, [12], 12, (2, 2))[0])
    cut = torch.cat([model.embed(segment) for segment in Segments(tokens, [12], 6, (0, 0))], dim=1)
    assert not torch.allclose(cut, whole)


@pytest.mark.parametrize("kind", [{"causal": True}, {}, {"stem_pool": 2}])
def test_one_hot_matrix_product_equals_the_convolution(kind: dict[str, Any]) -> None:
    """Values and gradients, in the first, an inner and the last segment, with ended batch rows."""
    model = tiny(stem_width=5, **kind)
    stem = model.embed.stem
    assert stem is not None
    segments = Segments(torch.randint(0, 5, (2, 29)), [29, 14], model.config.tokens_per_segment)
    segments.halo = model.config.halo
    for segment in segments:
        results = []
        for convolve in (stem.convolve_one_hot, stem.convolve_embeddings):
            features = convolve(segment)
            weights = [stem.embedding.weight, *stem.convolution.parameters()]
            results.append([features, *torch.autograd.grad(features.sin().sum(), weights)])
        torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_a_large_vocabulary_is_embedded_and_convolved() -> None:
    stem = tiny(stem_width=3, num_tokens=33).embed.stem
    assert stem is not None
    assert stem.convolve == stem.convolve_embeddings


def test_stem_dropout_is_applied_in_training_only() -> None:
    model = tiny(stem_width=3, stem_dropout=0.5)
    segment = Segments(torch.randint(0, 5, (2, 6)), [6, 6], 6, model.config.halo)[0]

    model.train()
    once, again = model.embed(segment), model.embed(segment)
    model.eval()

    assert not torch.equal(once, again)
    assert torch.equal(model.embed(segment), model.embed(segment))
