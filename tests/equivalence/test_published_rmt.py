"""Same weights, same output as the published PyTorch RMT, where that is correct.

Compared with recurrent-memory-transformer-pytorch 0.7.0, without XL memories: its own hold memory
tokens too. Skipped where the package is not installed; it is no dependency of ours.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rmt_genomics.rmt import RecurrentMemoryTransformer, RecurrentMemoryTransformerWrapper
from rmt_genomics.rmt.language_model import load_published_weights
from tests.toys import random_tokens

published = pytest.importorskip(
    "recurrent_memory_transformer_pytorch",
    reason="needs: pip install recurrent-memory-transformer-pytorch==0.7.0",
)
SIZES: dict[str, Any] = {
    **{"num_tokens": 5, "num_memory_tokens": 3, "dim": 16, "depth": 3, "dim_head": 8, "heads": 2},
    "seq_len": 6,
}
PLAIN = {"rotary_pos_emb": False, "abs_pos_emb": True, "num_residual_streams": 1}
ROTARY = {**PLAIN, "rotary_pos_emb": True, "abs_pos_emb": False}
STREAMS = {**PLAIN, "num_residual_streams": 4}
EVERYTHING = {**STREAMS, "rotary_pos_emb": True}


def published_model(**choices: Any) -> nn.Module:
    """Their model in float64, with exact rotary angles: theirs are rounded to float32."""
    torch.manual_seed(0)
    model: nn.Module = published.RecurrentMemoryTransformer(
        **{**SIZES, "use_xl_memories": False, "emb_gradient_frac": 1.0, **PLAIN, **choices}
    ).double()
    for name, weight in model.named_parameters():
        if name.endswith(("_fn", "gamma")):  # these begin at zero, so a wrong name would not show
            nn.init.normal_(weight)
    if model.rotary_pos_emb is not None:
        size = SIZES["dim_head"]
        rates = 32768 ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
        model.rotary_pos_emb.inv_freq = rates
    return model


def our_model(**choices: Any) -> RecurrentMemoryTransformer:
    """Our model of the same size, with the two parts that theirs always has."""
    torch.manual_seed(1)
    return RecurrentMemoryTransformer(
        **{**SIZES, "value_residual": True, "null_key_value": True, **PLAIN, **choices}
    ).double()


def both(**choices: Any) -> tuple[nn.Module, RecurrentMemoryTransformer]:
    """Their model and ours with the same weights."""
    theirs, ours = published_model(**choices), our_model(**choices)
    load_published_weights(ours, theirs.state_dict())
    return theirs, ours


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("choices", [PLAIN, ROTARY, STREAMS, EVERYTHING])
@pytest.mark.parametrize("causal", [True, False])
def test_logits_and_memories_are_equal(choices: dict[str, Any], *, causal: bool) -> None:
    """Theirs raises a shape error without memory_not_causal, so that case is not compared."""
    theirs, ours = both(causal=causal, **choices)
    memories = [None, None]
    for segment in random_tokens(2, 18).split(6, dim=1):
        expected, memories[0], _ = theirs(segment, memories[0])
        logits, memories[1], _ = ours(segment, memories[1])
        assert_equal(logits, expected)
        assert_equal(memories[1], memories[0])


@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize(
    "choices",
    [
        {"add_write_to_next_write_mem": True, "next_write_mem_stop_grad": False},
        {"always_have_read_memories": False},
        {"emb_gradient_frac": 0.1},
    ],
)
def test_memory_switches_are_equal(choices: dict[str, Any], *, flash: bool) -> None:
    theirs, ours = published_model(**choices), our_model(use_flash_attn=flash, **choices)
    load_published_weights(ours, theirs.state_dict())
    tokens = random_tokens(2, 18)

    expected, _ = published.RecurrentMemoryTransformerWrapper(theirs)(tokens)
    logits, _ = RecurrentMemoryTransformerWrapper(ours)(tokens)

    assert_equal(logits, expected)


@pytest.mark.parametrize("choices", [PLAIN, EVERYTHING])
def test_the_loss_and_its_gradients_are_equal(choices: dict[str, Any]) -> None:
    """Theirs calls backward itself; ours returns a loss that can be differentiated."""
    theirs, ours = both(**choices)
    tokens = random_tokens(2, 19)  # 18 inputs and 18 labels

    expected = published.RecurrentMemoryTransformerWrapper(theirs)(
        tokens, memory_replay_backprop=True
    )
    loss = RecurrentMemoryTransformerWrapper(ours)(tokens, memory_replay_backprop=True)
    loss.backward()

    assert_equal(loss, expected)
    assert ours.transformer.embed.embedding.weight.grad is not None
    assert_equal(ours.transformer.embed.embedding.weight.grad, theirs.token_emb.weight.grad)
    assert_equal(ours.transformer.memory.read_identity.grad, theirs.read_memory_emb.grad)
    assert_equal(ours.transformer.memory.write_identity.grad, theirs.memory_tokens.grad)
    assert_equal(ours.to_logits.weight.grad, theirs.to_logits.weight.grad)


def gradient_reach(wrapper: nn.Module, embedding: Tensor) -> list[int]:
    """Return, for each of 6 segments, how many segments its output gives a gradient."""
    tokens = torch.arange(6).repeat_interleave(6)[None]  # each segment has a token of its own
    outputs = wrapper(tokens)[0].split(6, dim=1)
    gradients = [
        torch.autograd.grad(output.square().sum(), embedding, retain_graph=True)[0]
        for output in outputs
    ]
    return [int(gradient.any(dim=1).sum()) for gradient in gradients]


def test_truncate_at_step_counts_from_the_start_in_theirs_and_from_each_loss_in_ours() -> None:
    theirs, ours = both(num_tokens=6)

    their_reach = gradient_reach(
        published.RecurrentMemoryTransformerWrapper(theirs, truncate_at_step=2),
        theirs.token_emb.weight,
    )
    our_reach = gradient_reach(
        RecurrentMemoryTransformerWrapper(ours, truncate_at_step=2),
        ours.transformer.embed.embedding.weight,
    )

    assert their_reach == [1, 2, 1, 2, 1, 2]
    assert our_reach == [1, 2, 2, 2, 2, 2]


def test_their_wrapper_calls_backward_itself_and_ignores_labels_and_xl_memories() -> None:
    """What the how-to page says of it."""
    theirs = published_model(use_xl_memories=True)
    wrapper = published.RecurrentMemoryTransformerWrapper(theirs)
    tokens = random_tokens(1, 19)

    wrapper(tokens, memory_replay_backprop=True)
    assert theirs.token_emb.weight.grad is not None

    loss, _ = wrapper(tokens, return_loss=True)
    with_labels, _ = wrapper(tokens, return_loss=True, labels=torch.zeros_like(tokens))
    assert torch.equal(loss, with_labels)

    without_cache = published_model(use_xl_memories=False)
    assert torch.equal(
        wrapper(tokens)[0], published.RecurrentMemoryTransformerWrapper(without_cache)(tokens)[0]
    )


class TestLoading:
    def test_the_weights_of_their_wrapper_are_loaded_too(self) -> None:
        theirs, ours = published_model(), our_model()

        wrapper = published.RecurrentMemoryTransformerWrapper(theirs)
        load_published_weights(ours, wrapper.state_dict())

        assert torch.equal(ours.transformer.memory.read_identity, theirs.read_memory_emb)

    def test_our_dtype_is_kept(self) -> None:
        ours = our_model().float()

        load_published_weights(ours, published_model().state_dict())

        assert all(weight.dtype == torch.float32 for weight in ours.parameters())

    @pytest.mark.parametrize(
        ("choices", "words"),
        [
            ({"abs_pos_emb": False, "stem_width": 3}, "same abs_pos_emb as the published"),
            ({"null_key_value": False}, "attention.null, but the model has not.*null_key_value"),
            ({"value_residual": False}, "attention.to_mix.weight, but the model.*value_residual"),
            ({"num_residual_streams": 2}, "the model has .*same num_residual_streams"),
            ({"memory_gate": True}, "the model has .*memory.gate.*same memory_gate"),
            ({"stem_width": 3}, "same stem_width"),
            ({"depth": 4}, "depth is 4, but the published model has depth=3"),
            ({"rotary_pos_emb": True}, "rotary_pos_emb is True, but .* rotary_pos_emb=False"),
            ({"dim": 24}, r"has shape \(.*16\) in the state_dict, but must have \(.*24\)"),
            ({"heads": 4, "dim_head": 4}, r"null has shape \(2, 2, 8\) .* must have \(2, 4, 4\)"),
        ],
    )
    def test_another_setting_is_an_error_that_names_it(
        self, choices: dict[str, Any], words: str
    ) -> None:
        ours = our_model(**choices)
        before = {name: weight.clone() for name, weight in ours.state_dict().items()}

        with pytest.raises(ValueError, match=words):
            load_published_weights(ours, published_model().state_dict())

        assert all(torch.equal(before[name], weight) for name, weight in ours.state_dict().items())

    @pytest.mark.parametrize("name", ["encoder.weight", "layers.0.2.weight", "layers.x.0.norm"])
    def test_weights_of_another_model_are_refused(self, name: str) -> None:
        weights = {**published_model().state_dict(), name: torch.zeros(3)}

        with pytest.raises(ValueError, match=f"the state_dict has '{name}', but recurrent-memory-"):
            load_published_weights(our_model(), weights)

    def test_a_missing_weight_is_named(self) -> None:
        weights = dict(published_model().state_dict())
        del weights["norm.weight"]

        with pytest.raises(ValueError, match=r"the model has transformer\.layers\.norm\.weight"):
            load_published_weights(our_model(), weights)
