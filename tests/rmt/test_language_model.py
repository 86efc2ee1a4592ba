"""The token model: shapes, causality, labels, masks, XL memories and every switch."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from rmt_genomics.rmt import (
    RecurrentMemoryTransformer,
    RecurrentMemoryTransformerWrapper,
)
from tests.toys import random_tokens, token_model, token_model_wrapper

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def test_the_usage_of_the_published_package() -> None:
    model = RecurrentMemoryTransformer(
        num_tokens=200, num_memory_tokens=12, dim=64, depth=2, causal=True, dim_head=16, heads=4,
        seq_len=32, use_flash_attn=True, use_xl_memories=True, xl_mem_len=16,
    )  # fmt: skip
    x = torch.randint(0, 20, (1, 32))

    logits1, mem1, xl1 = model(x)
    logits2, mem2, _ = model(x, mem1, xl_memories=xl1)

    assert logits1.shape == logits2.shape == (1, 32, 200)
    assert mem1.shape == mem2.shape == (1, 12, 64)
    assert [cached.shape for cached in xl1] == [(2, 1, 16, 64)] * 2

    wrapped = RecurrentMemoryTransformerWrapper(model)
    seq = torch.randint(0, 20, (2, 100))
    wrapped(seq, memory_replay_backprop=True).backward()
    logits, memories = wrapped(seq)
    loss, _ = wrapped(seq, return_loss=True)
    assert logits.shape == (2, 100, 200)
    assert memories.shape == (2, 12, 64)
    assert loss.ndim == 0
    assert wrapped.generate(seq[:, :40], length=70, temperature=1.0, filter_thres=0.9).shape == (
        2,
        30,
    )


def test_without_xl_memories_there_are_none() -> None:
    assert token_model()(random_tokens(1, 6)).xl_memories is None


class TestCausality:
    """A later token changes no earlier output."""

    @pytest.mark.parametrize("flash", [True, False])
    @pytest.mark.parametrize("xl", [True, False])
    @pytest.mark.parametrize("memory_not_causal", [True, False])
    def test_a_later_token_changes_no_earlier_logit(
        self, *, flash: bool, xl: bool, memory_not_causal: bool
    ) -> None:
        model = token_model_wrapper(
            use_flash_attn=flash,
            use_xl_memories=xl,
            memory_not_causal=memory_not_causal,
            stem_width=5,
        )
        tokens = random_tokens(1, 20)
        here, _ = model(tokens)
        for position in (3, 6, 11, 17):
            changed = tokens.clone()
            changed[0, position] = (changed[0, position] + 1) % 5
            there, _ = model(changed)
            torch.testing.assert_close(here[:, :position], there[:, :position], rtol=0, atol=1e-14)
            assert not torch.allclose(here[:, position], there[:, position])
            assert not torch.allclose(here[:, -1], there[:, -1])

    def test_a_bidirectional_token_depends_on_later_tokens(self) -> None:
        model, tokens = token_model_wrapper(causal=False), random_tokens(1, 6)
        changed = tokens.clone()
        changed[0, 5] = (changed[0, 5] + 1) % 5
        assert not torch.allclose(model(tokens)[0][:, 0], model(changed)[0][:, 0])

    def test_memory_not_causal_changes_the_memories(self) -> None:
        both = [token_model(memory_not_causal=choice) for choice in (True, False)]
        memory = torch.randn(1, 2, 8, dtype=torch.float64)
        first, second = (model(random_tokens(1, 6), memory).memories for model in both)
        assert not torch.allclose(first, second)


class TestLabels:
    """The loss is the mean over labels that are not ignored, however the sequence is cut."""

    def test_next_token_loss_by_hand(self) -> None:
        model, tokens = token_model_wrapper(), random_tokens(2, 20)
        loss, _ = model(tokens, return_loss=True)
        logits, _ = model(tokens[:, :-1])
        expected = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        torch.testing.assert_close(loss, expected, **EXACT)

    def test_given_labels_are_used_unchanged(self) -> None:
        model, tokens = token_model_wrapper(causal=False), random_tokens(2, 20)
        labels = tokens.flip(1).clone()
        labels[0, :9] = -1
        loss, _ = model(tokens, labels=labels)
        logits, _ = model(tokens)
        expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)
        torch.testing.assert_close(loss, expected, **EXACT)
        replayed = model(tokens, labels=labels, memory_replay_backprop=True)
        torch.testing.assert_close(replayed, expected, **EXACT)

    def test_one_segment_gives_the_same_loss_as_the_wrapper(self) -> None:
        model, tokens = token_model_wrapper(), random_tokens(2, 6)
        alone = model.transformer(tokens, labels=tokens).output
        torch.testing.assert_close(alone, model(tokens, labels=tokens)[0], **EXACT)

    def test_with_every_label_ignored_the_loss_is_zero(self) -> None:
        model, tokens = token_model_wrapper(), random_tokens(2, 20)
        nothing = torch.full_like(tokens, -1)
        assert model(tokens, labels=nothing)[0] == 0
        assert model(tokens, labels=nothing, memory_replay_backprop=True) == 0
        assert model.transformer(tokens[:, :6], labels=nothing[:, :6]).output == 0

    def test_an_ignored_segment_among_others_changes_nothing_else(self) -> None:
        model, tokens = token_model_wrapper(), random_tokens(1, 18)
        labels = tokens.clone()
        labels[:, 6:12] = -1
        loss, _ = model(tokens, labels=labels)
        logits, _ = model(tokens)
        expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1)
        torch.testing.assert_close(loss, expected, **EXACT)


class TestMasks:
    """True is real; padding is masked and left out of the loss."""

    @pytest.mark.parametrize("changes", [{}, {"use_xl_memories": True}, {"token_shift": True}])
    @pytest.mark.parametrize("causal", [True, False])
    def test_padding_changes_nothing(self, changes: dict[str, Any], *, causal: bool) -> None:
        model = token_model_wrapper(causal=causal, stem_width=3, **changes)
        tokens, lengths = random_tokens(3, 20), [20, 13, 4]
        mask = torch.arange(20) < torch.tensor(lengths)[:, None]
        logits, memories = model(tokens, mask=mask)
        for row, length in enumerate(lengths):
            alone, memory = model(tokens[row : row + 1, :length])
            torch.testing.assert_close(logits[row : row + 1, :length], alone, **EXACT)
            torch.testing.assert_close(memories[row : row + 1], memory, **EXACT)

    @pytest.mark.parametrize("xl", [True, False])
    def test_padding_tokens_have_no_effect(self, *, xl: bool) -> None:
        model, tokens = token_model_wrapper(use_xl_memories=xl, stem_width=3), random_tokens(2, 20)
        mask = torch.rand(2, 20) < 0.5
        mask[0, 6:12] = False
        other = torch.where(mask, tokens, 4 - tokens)
        (here, memory), (there, other_memory) = (model(x, mask=mask) for x in (tokens, other))
        assert torch.equal(here[mask], there[mask])
        assert torch.equal(memory, other_memory)
        losses = [model(x, mask=mask, return_loss=True)[0] for x in (tokens, other)]
        assert torch.equal(*losses)
        assert torch.isfinite(losses[0])

    def test_a_segment_without_tokens_leaves_the_memory_bit_for_bit(self) -> None:
        model, tokens = token_model_wrapper(memory_gate=True), random_tokens(2, 18)
        mask = torch.ones(2, 18, dtype=torch.bool)
        mask[1, 6:] = False
        _, memories = model(tokens, mask=mask)
        _, early = model(tokens[:, :6])
        assert torch.equal(memories[1], early[1])
        assert not torch.equal(memories[0], early[0])

    def test_a_fully_masked_row_is_finite(self) -> None:
        for changes in ({}, {"always_have_read_memories": False}, {"use_xl_memories": True}):
            output = token_model(**changes)(
                random_tokens(2, 6), mask=torch.tensor([[True] * 6, [False] * 6])
            )
            assert torch.isfinite(output.output).all()
            assert torch.isfinite(output.memories).all()

    def test_padding_is_left_out_of_the_loss(self) -> None:
        model, tokens = token_model_wrapper(), random_tokens(1, 20)
        mask = torch.arange(20)[None] < 15
        loss, _ = model(tokens, mask=mask, return_loss=True)
        torch.testing.assert_close(loss, model(tokens[:, :15], return_loss=True)[0], **EXACT)


class TestXLMemories:
    """Keys and values of earlier tokens, at the right distance."""

    @pytest.mark.parametrize("position", ["rotary_pos_emb", "rel_pos_bias"])
    def test_two_segments_equal_one_long_segment_when_the_memory_is_masked(
        self, position: str
    ) -> None:
        settings = {"rotary_pos_emb": False, position: True, "depth": 2}
        long = token_model(seq_len=12, **settings)
        short = token_model(seq_len=6, use_xl_memories=True, **settings)
        short.load_state_dict(long.state_dict())
        tokens, nothing = random_tokens(2, 12), torch.zeros(2, 2, 8, dtype=torch.float64)

        whole = long(tokens, nothing, mask_out_read_memories=True).output
        first = short(tokens[:, :6], nothing, mask_out_read_memories=True)
        second = short(
            tokens[:, 6:], nothing, xl_memories=first.xl_memories, mask_out_read_memories=True
        )

        torch.testing.assert_close(torch.cat([first.output, second.output], 1), whole, **EXACT)

    def test_rotary_angles_across_the_border_are_right_in_bfloat16(self) -> None:
        model = token_model(use_xl_memories=True).bfloat16()
        exact = token_model(use_xl_memories=True)
        exact.load_state_dict(model.state_dict())
        tokens = random_tokens(1, 6)
        _, memory, xl = model(tokens)
        here = model(tokens, memory, xl_memories=xl).output.double()
        there = exact(
            tokens, memory.double(), xl_memories=[cached.double() for cached in xl]
        ).output
        torch.testing.assert_close(here, there, rtol=0.05, atol=0.05)

    def test_only_tokens_are_cached_and_the_last_ones_are_kept(self) -> None:
        model = token_model(use_xl_memories=True, xl_mem_len=9)
        tokens = random_tokens(1, 6)
        _, memory, first = model(tokens)
        second = model(tokens, memory, xl_memories=first).xl_memories
        assert [cached.shape[2] for cached in (*first, *second)] == [6, 6, 9, 9]
        assert torch.equal(second[0][:, :, :3], first[0][:, :, 3:])
        assert not first[0].requires_grad

    @pytest.mark.parametrize("is_masked", [True, False])
    def test_the_cache_is_not_a_view_of_a_larger_tensor(self, *, is_masked: bool) -> None:
        """A view would keep the keys and values of a whole segment, and of all before it, alive."""
        model, tokens = token_model(use_xl_memories=True, xl_mem_len=2), random_tokens(2, 6)
        mask = torch.ones(2, 6, dtype=torch.bool) if is_masked else None
        memory, xl = None, None
        for _ in range(3):
            _, memory, xl = model(tokens, memory, mask=mask, xl_memories=xl)
        for cached in xl:
            assert cached.shape[2] == 2
            assert cached.untyped_storage().nbytes() == cached.numel() * cached.element_size()

    def test_the_cache_of_the_same_layer_or_the_layer_above_is_attended_to(self) -> None:
        outputs = []
        for enhanced in (False, True):
            model = token_model(use_xl_memories=True, enhanced_xl_recurrence=enhanced)
            tokens = random_tokens(1, 6)
            _, memory, xl = model(tokens)
            outputs += [model(tokens, memory).output, model(tokens, memory, xl_memories=xl).output]
        assert torch.equal(outputs[0], outputs[2])
        assert not torch.allclose(outputs[0], outputs[1])
        assert not torch.allclose(outputs[1], outputs[3])


@pytest.mark.parametrize(
    "changes",
    [
        {"causal": False},
        {"abs_pos_emb": True},
        {"rotary_pos_emb": False, "rel_pos_bias": True},
        {"rotary_pos_emb": False, "token_shift": True},
        {"token_shift": True},
        {"stem_width": 3},
        {"use_xl_memories": True},
        {"use_xl_memories": True, "xl_mem_len": 2},
        {"add_write_to_next_write_mem": True},
        {"memory_gate": True},
        {"memory_gate": "hard"},
        {"memory_norm": True},
        {"memory_reset": "segment"},
        {"ff_norm": True},
        {"qk_norm": True},
        {"value_residual": True},
        {"null_key_value": True},
        {"always_have_read_memories": False},
        {"memory_not_causal": False},
        {"dim_head": 6},
        {"ff_mult": 2.0},
    ],
)
def test_every_switch_changes_the_output(changes: dict[str, Any]) -> None:
    plain, other = token_model_wrapper(memory_norm=False), token_model_wrapper(**changes)
    shared = {
        name: tensor
        for name, tensor in plain.state_dict().items()
        if name in other.state_dict() and other.state_dict()[name].shape == tensor.shape
    }
    other.load_state_dict({name: tensor + 0.1 for name, tensor in shared.items()}, strict=False)
    plain.load_state_dict({name: tensor + 0.1 for name, tensor in plain.state_dict().items()})
    tokens = random_tokens(2, 20)
    assert not torch.allclose(plain(tokens)[0], other(tokens)[0])


@pytest.mark.parametrize("name", ["attn_dropout", "ff_dropout", "memory_dropout"])
def test_dropout_is_drawn_in_training_only(name: str) -> None:
    model, tokens = token_model_wrapper(**{name: 0.5}), random_tokens(4, 20)
    assert not torch.allclose(model(tokens)[0], model(tokens)[0])
    model.eval()
    assert torch.equal(model(tokens)[0], model(tokens)[0])


def test_the_embeddings_get_their_fraction_of_the_gradient() -> None:
    results = []
    for share in (1.0, 0.1):
        model = token_model(emb_gradient_frac=share)
        model(random_tokens(1, 6)).output.square().sum().backward()
        results.append(model.transformer.embed.embedding.weight.grad)
    torch.testing.assert_close(results[1], 0.1 * results[0], **EXACT)


def test_the_gradient_to_the_next_write_memory_can_be_cut() -> None:
    results = []
    for cut in (True, False):
        model = token_model(add_write_to_next_write_mem=True, next_write_mem_stop_grad=cut)
        memory = torch.randn(1, 2, 8, dtype=torch.float64, requires_grad=True)
        written = model(random_tokens(1, 6), memory, mask_out_read_memories=True).memories
        (written * torch.arange(8)).sum().backward()
        results.append(memory.grad)
    assert not torch.allclose(*results)


def test_a_masked_read_memory_has_no_effect() -> None:
    model, tokens = token_model(causal=False), random_tokens(1, 6)
    first, second = torch.randn(2, 1, 2, 8, dtype=torch.float64)
    visible = [model(tokens, memory).output for memory in (first, second)]
    hidden = [
        model(tokens, memory, mask_out_read_memories=True).output for memory in (first, second)
    ]
    assert not torch.allclose(*visible)
    assert torch.equal(*hidden)


def test_normalised_memory_has_unit_size() -> None:
    _, memories = token_model_wrapper(memory_norm=True, memory_gate=True)(random_tokens(2, 30))
    size = memories.square().mean(dim=-1)
    torch.testing.assert_close(size, torch.ones_like(size))


def test_hyper_connections_need_their_package_and_then_work() -> None:
    pytest.importorskip("hyper_connections", reason="needs the extra: pip install '.[hyper]'")
    model, tokens = token_model_wrapper(num_residual_streams=2), random_tokens(2, 20)
    loss = model(tokens, memory_replay_backprop=True)
    loss.backward()
    torch.testing.assert_close(loss, model(tokens, return_loss=True)[0], **EXACT)


def test_without_the_package_the_message_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hyper_connections", None)
    with pytest.raises(ValueError, match=r"pip install 'rmt-genomics\[hyper\]'"):
        token_model(num_residual_streams=2)
