"""One step of the recurrence: causality, padding, ended sequences, gates."""

import pytest
import torch

from rmt_genomics.rmt import Segment, Segments, unroll
from rmt_genomics.rmt.memory import hard_gate
from tests.toys import ragged, random_memory, tiny


def segment_of(tokens: torch.Tensor) -> Segment:
    return Segment(tokens, keep=None, left=0, length=tokens.shape[1])


def test_a_sequence_that_has_ended_keeps_its_memory_bit_for_bit() -> None:
    model = tiny(stem_width=3, memory_gate=True)
    segments = ragged(model, [30, 13, 6])
    memories = unroll(model, segments, random_memory(model, 3))
    assert torch.equal(memories[0, 2], memories[-1, 2])
    assert torch.equal(memories[2, 1], memories[-1, 1])
    assert not torch.equal(memories[0, 1], memories[2, 1])


def test_batch_rows_that_have_ended_are_not_computed() -> None:
    model = tiny()
    rows_seen: list[int] = []
    model.layers.register_forward_pre_hook(lambda _, args: rows_seen.append(len(args[0])))
    unroll(model, ragged(model, [18, 7, 6]), random_memory(model, 3))
    assert rows_seen == [3, 2, 1]


@pytest.mark.parametrize("stem_width", [0, 5])
@pytest.mark.parametrize("causal", [False, True])
def test_other_sequences_in_the_batch_change_nothing(*, causal: bool, stem_width: int) -> None:
    model = tiny(causal=causal, stem_width=stem_width)
    lengths = [29, 17, 12, 5]
    together = ragged(model, lengths)
    memory = random_memory(model, 4)

    batched = unroll(model, together, memory)[-1]

    for row, length in enumerate(lengths):
        alone = Segments(together.tokens[row : row + 1, :length], [length], 6, model.config.halo)
        single = unroll(model, alone, memory[row : row + 1])[-1]
        torch.testing.assert_close(batched[row : row + 1], single, rtol=1e-12, atol=1e-12)


def test_padding_tokens_have_no_effect() -> None:
    model = tiny(stem_width=5)
    here = ragged(model, [20, 9])
    there = Segments(here.tokens.clone(), here.lengths, 6, model.config.halo)
    there.tokens[1, 9:] = 4 - there.tokens[1, 9:]
    memory = random_memory(model, 2)
    assert torch.equal(unroll(model, here, memory), unroll(model, there, memory))


def test_the_memory_is_the_same_with_and_without_token_outputs() -> None:
    model = tiny()
    segment, memory = segment_of(torch.randint(0, 5, (2, 6))), random_memory(model, 2)
    written = model.read(segment, memory, return_tokens=True).memory
    torch.testing.assert_close(model(segment, memory), written, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_flash_attention_equals_the_explicit_softmax(*, causal: bool) -> None:
    flash, plain = tiny(causal=causal), tiny(causal=causal, use_flash_attn=False)
    segments, memory = ragged(flash, [20, 9]), random_memory(flash, 2)
    torch.testing.assert_close(
        unroll(flash, segments, memory), unroll(plain, segments, memory), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("stem_width", [0, 5])
def test_a_causal_token_does_not_depend_on_later_tokens(stem_width: int) -> None:
    model = tiny(causal=True, stem_width=stem_width)
    tokens, memory = torch.randint(0, 5, (1, 6)), random_memory(model, 1)
    for position in range(6):
        changed = tokens.clone()
        changed[0, position] = (changed[0, position] + 1) % 5
        here = model.read(segment_of(tokens), memory, return_tokens=True).output
        written, _, there = model.read(segment_of(changed), memory, return_tokens=True)
        assert torch.equal(here[:, :position], there[:, :position])
        assert not torch.allclose(here[:, position:], there[:, position:])
        assert not torch.allclose(written, model(segment_of(tokens), memory))


def test_a_bidirectional_token_depends_on_later_tokens() -> None:
    model = tiny(causal=False)
    tokens, memory = torch.zeros(1, 6, dtype=torch.long), random_memory(model, 1)
    changed = tokens.clone()
    changed[0, -1] = 3
    here = model.read(segment_of(tokens), memory, return_tokens=True).output
    there = model.read(segment_of(changed), memory, return_tokens=True).output
    assert not torch.allclose(here[:, 0], there[:, 0])


def test_a_reset_memory_has_no_effect_on_the_next_segment() -> None:
    model = tiny(memory_reset="segment")
    segments = ragged(model, [12])
    first, second = unroll(model, segments, random_memory(model, 1))
    assert torch.equal(second, model(segments[1], torch.zeros_like(first)))


def test_a_new_gate_mostly_keeps_the_memory() -> None:
    open_, gated = tiny(), tiny(memory_gate=True)
    segments, memory = ragged(open_, [6]), random_memory(open_, 1)
    change_without = (unroll(open_, segments, memory)[-1] - memory).norm()
    change_with = (unroll(gated, segments, memory)[-1] - memory).norm()
    assert change_with < 0.1 * change_without


def test_a_closed_hard_gate_keeps_the_memory_bit_for_bit_and_can_open_again() -> None:
    model = tiny(memory_gate="hard")
    segments, memory = ragged(model, [60]), random_memory(model, 1)
    with torch.no_grad():
        model.memory.gate.weight.zero_()
        model.memory.gate.bias[::2] = -3.0  # sigmoid(-3) = 0.047 < 1/12

    written = unroll(model, segments, memory)
    written[0].square().sum().backward()

    for memory_written in written:
        assert torch.equal(memory_written[..., ::2], memory[..., ::2])
        assert not torch.isclose(memory_written[..., 1::2], memory[..., 1::2]).any()
    assert model.memory.gate.bias.grad[::2].ne(0).all()


def test_a_sigmoid_gate_always_changes_the_memory_a_little() -> None:
    model = tiny(memory_gate=True)
    memory = random_memory(model, 1)
    with torch.no_grad():
        model.memory.gate.bias.fill_(-8.0)

    assert unroll(model, ragged(model, [6]), memory)[0].ne(memory).all()


def test_dropped_memory_is_hidden_from_one_segment_and_not_lost() -> None:
    """Each segment reads zeros; the closed gate keeps the memory all the same."""
    model = tiny(memory_gate="hard", memory_dropout=0.999999).train()
    segments, memory = ragged(model, [18]), random_memory(model, 1)
    with torch.no_grad():
        model.memory.gate.weight.zero_()
        model.memory.gate.bias.fill_(-9.0)

    assert torch.equal(unroll(model, segments, memory), memory.expand(3, *memory.shape))
    model.memory.gate = None
    hidden = model(segments[1], memory)
    assert torch.equal(hidden, model(segments[1], torch.zeros_like(memory)))
    assert not torch.allclose(hidden, model.eval()(segments[1], memory))


def test_hard_gate_by_hand() -> None:
    opening = torch.tensor([0.0, 1 / 12 - 1e-3, 0.5, 0.75, 11 / 12 + 1e-3, 1.0], requires_grad=True)

    hard = hard_gate(opening)
    hard.sum().backward()

    torch.testing.assert_close(hard, torch.tensor([0.0, 0.0, 0.5, 0.8, 1.0, 1.0]))
    assert hard[1].item() == 0
    assert hard[4].item() == 1
    assert opening.grad.tolist() == [1.0] * 6


def test_in_evaluation_the_gradient_of_a_hard_gate_is_that_of_what_it_computes() -> None:
    memory = tiny(memory_gate="hard").memory
    read, written = torch.randn(2, 1, 2, 8, dtype=torch.float64)
    written.requires_grad_()
    with torch.no_grad():
        memory.gate.weight.mul_(5)  # some gates are fully open or closed
        memory.gate.bias.zero_()

    def agrees() -> bool:
        update = lambda each: memory.update(read, each)  # noqa: E731
        return torch.autograd.gradcheck(update, written, raise_exception=False)

    memory.eval()
    assert agrees()
    memory.train()
    assert not agrees()  # straight-through, so that a closed gate can open
