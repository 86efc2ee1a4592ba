"""Law 1 over every combination of switches: pairwise, with token losses in every segment.

Each pair of choices of two switches occurs together in at least one case; the cases are drawn
greedily, from a fixed seed, and the test of the table itself says that none is missing.
"""

import random
import sys
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import pytest
import torch
from torch import Tensor

from rmt_genomics.rmt import RMTConfig
from tests.toys import TINY, random_tokens, token_model_wrapper

EXACT = {"rtol": 1e-10, "atol": 1e-12}
OFF: dict[str, Any] = {}
SWITCHES: dict[str, list[dict[str, Any]]] = {
    "causal": [{"causal": True}, {"causal": False}, {"causal": True, "memory_not_causal": False}],
    "positions": [
        OFF,
        {"rotary_pos_emb": False, "rel_pos_bias": True},
        {"abs_pos_emb": True},
        {"rotary_pos_emb": False, "token_shift": True},
    ],
    "stem": [OFF, {"stem_width": 5}, {"stem_width": 3, "stem_dropout": 0.3}],
    "xl": [
        OFF,
        {"use_xl_memories": True},
        {"use_xl_memories": True, "xl_mem_len": 4, "enhanced_xl_recurrence": True},
    ],
    "write": [
        OFF,
        {"add_write_to_next_write_mem": True},
        {"add_write_to_next_write_mem": True, "next_write_mem_stop_grad": False},
    ],
    "memory": [
        OFF,
        {"memory_gate": True},
        {"memory_gate": "hard"},
        {"memory_norm": True, "always_have_read_memories": False},
        {"memory_reset": "segment"},
    ],
    "dropout": [OFF, {"attn_dropout": 0.3, "ff_dropout": 0.3}, {"memory_dropout": 0.4}],
    "inside": [
        OFF,
        {"ff_norm": True, "qk_norm": True},
        {"value_residual": True, "null_key_value": True},
        {"emb_gradient_frac": 0.2, "use_flash_attn": False},
    ],
    "run": [
        OFF,
        {"bptt_depth": 1},
        {"bptt_depth": 2},
        {"keep_segments": 3},
        {"keep_segments": "auto", "memory_device": torch.device("cpu")},
        {"keep_segments": 2, "bptt_depth": 3},
    ],
    "mask": [OFF, {"mask": "ragged"}, {"mask": "holes"}],
}
RUN_OPTIONS = {"bptt_depth", "keep_segments", "memory_device", "mask"}
Case = tuple[int, ...]


def settings_of(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the model, and those of the run."""
    chosen: dict[str, Any] = {}
    for choices, index in zip(SWITCHES.values(), case, strict=True):
        chosen |= choices[index]
    run = {name: chosen.pop(name) for name in list(chosen) if name in RUN_OPTIONS}
    return chosen, run


def is_allowed(case: Case) -> bool:
    """Whether the model takes these settings together."""
    try:
        RMTConfig(**{**TINY, **settings_of(case)[0]})
    except ValueError:
        return False
    return True


def pairs_of(case: Case) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    return set(combinations(enumerate(case), 2))


def covering_cases() -> Iterator[Case]:
    """Yield cases until every allowed pair of choices has occurred."""
    draw = random.Random(0)
    sizes = [len(choices) for choices in SWITCHES.values()]
    pool = [tuple(draw.randrange(size) for size in sizes) for _ in range(3000)]
    pool = [case for case in pool if is_allowed(case)]
    missing = set().union(*(pairs_of(case) for case in pool))
    while missing:
        best = max(pool, key=lambda case: len(pairs_of(case) & missing))
        missing -= pairs_of(best)
        yield best


CASES = list(covering_cases())


def loss_and_gradients(case: Case, *, use_replay: bool) -> list[Tensor]:
    """Return the token loss over four segments, and its gradient for each parameter."""
    settings, run = settings_of(case)
    model, tokens = token_model_wrapper(**settings), random_tokens(3, 22)
    torch.manual_seed(3)
    run = dict(run)
    kind, depth = run.pop("mask", None), run.pop("bptt_depth", None)
    mask = {
        None: None,
        "ragged": torch.arange(22) < torch.tensor([22, 15, 5])[:, None],
        "holes": torch.rand(3, 22) < 0.6,
    }[kind]
    options = {"memory_replay_backprop": True, **run} if use_replay else {"return_loss": True}
    torch.manual_seed(4)
    results = model(tokens, mask=mask, labels=tokens.flip(1), truncate_at_step=depth, **options)
    loss = results if use_replay else results[0]
    parameters = list(model.parameters())
    return [
        loss,
        *torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_replay_equals_unroll(case: Case) -> None:
    plain = loss_and_gradients(case, use_replay=False)
    replayed = loss_and_gradients(case, use_replay=True)
    torch.testing.assert_close(replayed, plain, **EXACT)


def test_every_allowed_pair_of_choices_is_tested() -> None:
    sizes = [range(len(choices)) for choices in SWITCHES.values()]
    covered = set().union(*(pairs_of(case) for case in CASES))
    for (one, first), (two, second) in combinations(enumerate(sizes), 2):
        for pair in product(first, second):
            case = [0] * len(SWITCHES)
            case[one], case[two] = pair
            if is_allowed(tuple(case)):
                assert ((one, pair[0]), (two, pair[1])) in covered


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_accumulated_and_scaled_losses_give_the_same_gradients(scale: float) -> None:
    """As under a gradient scaler, over two accumulated batches."""
    results = []
    for use_replay in (False, True):
        model = token_model_wrapper(use_xl_memories=True)
        for part in random_tokens(4, 20).split(2):
            options = {"memory_replay_backprop": True} if use_replay else {"return_loss": True}
            loss = model(part, **options)
            ((loss if use_replay else loss[0]) * scale / 2).backward()
        results.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(results[1], results[0], **EXACT)


def test_the_callers_tensors_are_not_changed() -> None:
    model, tokens = token_model_wrapper(use_xl_memories=True), random_tokens(2, 20)
    _, memories, xl = model.transformer(tokens[:, :6])
    memories, xl = memories.detach(), [tensor.clone() for tensor in xl]
    before = [tokens.clone(), memories.clone(), *(tensor.clone() for tensor in xl)]
    model(tokens, memories, xl_memories=xl, memory_replay_backprop=True).backward()
    assert not memories.requires_grad
    assert memories.grad is None
    assert all(map(torch.equal, before, [tokens, memories, *xl]))


def test_the_gradient_reaches_the_callers_memories() -> None:
    results = []
    for options in ({"return_loss": True}, {"memory_replay_backprop": True}):
        memories = torch.ones(2, 2, 8, dtype=torch.float64, requires_grad=True)
        output = token_model_wrapper()(random_tokens(2, 20), memories, **options)
        (output[0] if isinstance(output, tuple) else output).backward()
        results.append(memories.grad)
    torch.testing.assert_close(results[0], results[1], **EXACT)


@pytest.mark.parametrize(("keep", "runs"), [(1, 9), (2, 8), (4, 6), (99, 5)])
def test_kept_segments_are_not_recomputed(keep: int, runs: int) -> None:
    model, calls = token_model_wrapper(), []
    model.transformer.transformer.embed.register_forward_pre_hook(lambda *_: calls.append(1))
    model(random_tokens(1, 29), memory_replay_backprop=True, keep_segments=keep).backward()
    assert len(calls) == runs


def test_auto_keeps_what_fits_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = token_model_wrapper(), []
    model.transformer.transformer.embed.register_forward_pre_hook(lambda *_: calls.append(1))
    for free, runs in ((0, 9), (10**9, 5)):  # the first run measures what a segment needs
        calls.clear()
        monkeypatch.setattr(
            sys.modules["rmt_genomics.rmt.replay"], "free_bytes", lambda _, free=free: free
        )
        model(random_tokens(1, 29), memory_replay_backprop=True, keep_segments="auto").backward()
        assert len(calls) == runs
