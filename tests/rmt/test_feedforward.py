"""The padded feed-forward layer against the plain formula, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rmt_genomics.rmt import RMTConfig
from rmt_genomics.rmt.layers import FeedForward


def plain(layer: FeedForward, hidden: Tensor) -> Tensor:
    """Shazeer 2020, arXiv:2002.05202: no padding, one product for value and gate."""
    value, gate = layer.expand(hidden).chunk(2, dim=-1)
    result: Tensor = layer.contract(layer.dropout(layer.norm(value * F.gelu(gate))))
    return result


def value_and_gradients(output: Tensor, layer: FeedForward, hidden: Tensor) -> list[Tensor]:
    loss = (output * torch.arange(output.numel(), dtype=output.dtype).view_as(output).sin()).sum()
    return [output, *torch.autograd.grad(loss, [hidden, *layer.parameters()])]


@pytest.mark.parametrize("has_norm", [False, True])
@pytest.mark.parametrize("dim", [6, 16, 64])  # 16, 42 and 170 hidden features
def test_padding_changes_neither_values_nor_gradients(dim: int, *, has_norm: bool) -> None:
    torch.manual_seed(0)
    layer = FeedForward(RMTConfig(num_tokens=4, dim=dim, ff_norm=has_norm)).double()
    hidden = torch.randn(3, 5, dim, dtype=torch.float64, requires_grad=True)
    expected = value_and_gradients(plain(layer, hidden), layer, hidden)
    found = value_and_gradients(layer(hidden), layer, hidden)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_dropout_draws_as_many_random_numbers_as_without_padding() -> None:
    """Or an interrupted run of an earlier version would not be resumed with the same result."""
    layer = FeedForward(RMTConfig(num_tokens=4, dim=16, ff_dropout=0.5))
    hidden, results = torch.randn(3, 100, 16), []
    for compute in (plain, FeedForward.__call__):
        torch.manual_seed(0)
        results += [compute(layer, hidden), torch.rand(1)]
    torch.testing.assert_close(results[2:], results[:2])
    assert not torch.equal(layer(hidden), layer(hidden))
