"""Law 1 for inputs: the gradients that replay hands out are those of plain back-propagation."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rmt_genomics.rmt import (
    InputGradients,
    Segment,
    replay_with_outputs,
    unroll_with_outputs,
)
from tests.toys import ragged, random_memory, tiny

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def soft(segment: Segment, weights: Tensor | None = None) -> Segment:
    """A segment whose tokens are weights of ids: of one id each, or random ones."""
    one_hot = F.one_hot(segment.tokens.long(), 5).double()
    return segment._replace(tokens=one_hot if weights is None else one_hot + weights)


def attach(segment: Segment) -> tuple[Segment, Tensor]:
    leaf = segment.tokens.detach().requires_grad_()
    return segment._replace(tokens=leaf), leaf


def loss_of(run: Any) -> Tensor:
    torch.manual_seed(3)
    weights = torch.randn_like(run.memories)
    outputs = torch.stack(run.outputs)
    return (run.memories * weights).square().sum() + (outputs * weights.flip(0)).sum()


@pytest.mark.parametrize("keep_segments", [1, 3, "auto"])
@pytest.mark.parametrize("bptt_depth", [None, 1, 2])
@pytest.mark.parametrize("changes", [{}, {"stem_pool": 2, "seq_len": 4, "memory_gate": True}])
def test_gradients_of_inputs_are_those_of_unroll(
    changes: dict[str, Any], bptt_depth: int | None, keep_segments: Any
) -> None:
    model = tiny(stem_width=3, **changes)
    segments = [soft(each) for each in ragged(model, [38, 13, 6])]
    memory = random_memory(model, 3)
    pairs = [attach(each) for each in segments]
    plain = unroll_with_outputs(
        model, [segment for segment, _ in pairs], memory, bptt_depth=bptt_depth
    )
    leaves = [leaf for _, leaf in pairs]
    expected = torch.autograd.grad(
        loss_of(plain),
        [memory, *model.parameters(), *leaves],
        materialize_grads=True,
        allow_unused=True,
    )

    received: dict[int, Tensor] = {}
    replayed = replay_with_outputs(
        model,
        segments,
        memory,
        bptt_depth=bptt_depth,
        keep_segments=keep_segments,
        inputs=InputGradients(attach, received.__setitem__),
    )
    found = torch.autograd.grad(
        loss_of(replayed),
        [memory, *model.parameters()],
        materialize_grads=True,
        allow_unused=True,
    )

    assert list(received) == sorted(received, reverse=True)
    inputs = [received[index] for index in range(len(segments))]
    torch.testing.assert_close([*found, *inputs], list(expected), **EXACT)


def test_a_run_that_is_known_has_the_same_gradients() -> None:
    model = tiny(stem_width=3)
    segments = [soft(each) for each in ragged(model, [38])]
    memory = model.memory.initial(1)
    received: list[dict[int, Tensor]] = [{}, {}]
    with torch.no_grad():
        run = unroll_with_outputs(model, segments, memory)
    gradients = []
    for known, own in ((None, received[0]), (run, received[1])):
        inputs = InputGradients(attach, own.__setitem__)
        output = replay_with_outputs(model, segments, memory, inputs=inputs, known=known)
        gradients.append(torch.autograd.grad(loss_of(output), list(model.parameters())))

    torch.testing.assert_close(gradients[1], gradients[0], **EXACT)
    torch.testing.assert_close(received[1], received[0], **EXACT)
    assert len(received[1]) == len(segments)
    assert not run.memories.requires_grad


def test_inputs_have_gradients_where_nothing_is_trained() -> None:
    model = tiny(stem_width=3).requires_grad_(requires_grad=False)
    segments = [soft(each) for each in ragged(model, [20])]
    received: dict[int, Tensor] = {}

    run = replay_with_outputs(
        model,
        segments,
        model.memory.initial(1),
        inputs=InputGradients(attach, received.__setitem__),
    )
    run.memories[-1].square().sum().backward()

    assert sorted(received) == list(range(len(segments)))
    assert all(each.abs().max() > 0 for each in received.values())


def test_no_gradient_is_handed_out_beyond_the_segments_that_a_loss_reaches() -> None:
    model = tiny()
    received: dict[int, Tensor] = {}
    run = replay_with_outputs(
        model,
        [soft(each) for each in ragged(model, [24])],
        model.memory.initial(1),
        inputs=InputGradients(attach, received.__setitem__),
    )

    run.memories[1].square().sum().backward()

    assert sorted(received) == [0, 1]


@pytest.mark.parametrize("num_tokens", [5, 40])
@pytest.mark.parametrize("stem_pool", [1, 3])
@pytest.mark.parametrize("lengths", [[11], [17, 8]])
def test_soft_tokens_of_one_id_each_are_those_ids(
    lengths: list[int], stem_pool: int, num_tokens: int
) -> None:
    model = tiny(stem_width=3, stem_pool=stem_pool, num_tokens=num_tokens)
    for segment in ragged(model, lengths):
        one_hot = F.one_hot(segment.tokens.long(), num_tokens).double()
        soft_segment = segment._replace(tokens=one_hot)

        torch.testing.assert_close(model.embed(soft_segment), model.embed(segment), **EXACT)


def test_the_embedding_of_soft_tokens_is_linear_without_a_stem() -> None:
    model = tiny(stem_pool=1)
    (segment,) = ragged(model, [6])
    tokens = torch.rand(1, 6, 5, dtype=torch.float64)

    found = model.embed(segment._replace(tokens=tokens))

    torch.testing.assert_close(found, tokens @ model.embed.embedding.weight, **EXACT)
