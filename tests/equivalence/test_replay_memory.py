"""Law 8: what replay keeps for backward grows by b x m x d per segment, nothing else."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rmt_genomics.rmt import replay, unroll
from tests.toys import ragged, random_memory, tiny


def saved_bytes(run, num_segments: int) -> int:
    """Bytes of distinct storage that backward will need, parameters not counted."""
    model, storages = tiny(stem_width=3), {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so no address repeats
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    segments, memory = ragged(model, [6 * num_segments] * 3), random_memory(model, 3)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run(model, segments, memory)
    own.add(segments.tokens.untyped_storage().data_ptr())
    return sum(size for pointer, (size, _) in storages.items() if pointer not in own)


def test_replay_keeps_one_memory_per_segment() -> None:
    batch, memory_tokens, dim, float64 = 3, 2, 8, 8
    growth = saved_bytes(replay, 40) - saved_bytes(replay, 10)
    assert growth == 30 * batch * memory_tokens * dim * float64


def test_unroll_keeps_far_more() -> None:
    """The check can fail: plain back-propagation keeps every activation."""
    assert saved_bytes(unroll, 20) - saved_bytes(unroll, 10) > 20 * 10 * 3 * 2 * 8 * 8


@pytest.mark.parametrize("num_segments", [4, 16])
def test_replay_costs_at_most_a_third_more_flops(num_segments: int) -> None:
    model, flops = tiny(seq_len=32, dim=16, depth=3), []
    for run in (unroll, replay):
        with FlopCounterMode(display=False) as counter:
            run(model, ragged(model, [32 * num_segments] * 2), random_memory(model, 2))[
                -1
            ].sum().backward()
        flops.append(counter.get_total_flops())
    assert flops[1] <= 1.35 * flops[0]
