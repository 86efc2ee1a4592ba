"""Parametrized and tied weights of the core's own modules: replay = unroll, in all gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from rmt_genomics.rmt import RecurrentMemoryTransformerWrapper
from tests.toys import random_tokens, token_model

EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Halved(nn.Module):
    """A parametrization of any shape."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def parametrize_everything(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, _ in list(module.named_parameters(recurse=False)):
            parametrize.register_parametrization(module, name, Halved())


def normalise_linear_weights(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, nn.Linear):
            parametrizations.weight_norm(module)


def tie_embedding_and_logits(model: nn.Module) -> None:
    model.to_logits.weight = model.transformer.embed.embedding.weight


def tie_layers(model: nn.Module) -> None:
    model.transformer.layers.layers[1] = model.transformer.layers.layers[0]


def tie_memory_identities(model: nn.Module) -> None:
    model.transformer.memory.write_identity = model.transformer.memory.read_identity


CHANGES = [
    parametrize_everything,
    normalise_linear_weights,
    tie_embedding_and_logits,
    tie_layers,
    tie_memory_identities,
]


def changed_model(change: Callable[[nn.Module], None]) -> RecurrentMemoryTransformerWrapper:
    model = token_model(stem_width=3, memory_gate=True, use_xl_memories=True)
    change(model)
    return RecurrentMemoryTransformerWrapper(model)


def loss_and_gradients(
    model: RecurrentMemoryTransformerWrapper, *, use_replay: bool
) -> list[Tensor]:
    x = random_tokens(2, 20)
    if use_replay:
        loss = model(x, memory_replay_backprop=True)
    else:
        loss, _ = model(x, return_loss=True)
    return [loss, *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("change", CHANGES)
def test_gradients_of_shared_and_parametrized_weights(
    change: Callable[[nn.Module], None],
) -> None:
    model = changed_model(change)

    plain = loss_and_gradients(model, use_replay=False)

    torch.testing.assert_close(loss_and_gradients(model, use_replay=True), plain, **EXACT)
    number = sum(parameter.numel() for parameter in model.parameters())
    untied = token_model(stem_width=3, memory_gate=True, use_xl_memories=True)
    assert change in CHANGES[:2] or number < sum(p.numel() for p in untied.parameters())


def test_a_tied_weight_has_the_sum_of_both_gradients() -> None:
    """By the chain rule, from an untied model of the same weights."""
    tied, untied = changed_model(tie_embedding_and_logits), changed_model(lambda _: None)
    untied.load_state_dict(tied.state_dict())
    x = random_tokens(2, 20)

    tied(x, memory_replay_backprop=True).backward()
    untied(x, return_loss=True)[0].backward()

    both = [
        untied.transformer.transformer.embed.embedding.weight,
        untied.transformer.to_logits.weight,
    ]
    expected = both[0].grad + both[1].grad
    torch.testing.assert_close(tied.transformer.to_logits.weight.grad, expected, **EXACT)
