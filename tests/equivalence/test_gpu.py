"""The core on a GPU: same results, flat memory, flash attention."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmt_genomics.rmt import Segments, replay, unroll
from tests.toys import ragged, random_memory, tiny

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("default")  # PyTorch's advice on TF32 is no failure


def value_and_gradients(run, device: torch.device, **changes) -> list[torch.Tensor]:
    model = tiny(stem_width=3, memory_gate=True, **changes)
    on_cpu = ragged(model, [38, 13, 6])
    memory = random_memory(model, 3).detach().to(device).requires_grad_()  # drawn on the CPU
    model = model.to(device)
    segments = Segments(on_cpu.tokens.to(device), on_cpu.lengths, 6, model.config.halo)
    memories = run(model, segments, memory)
    loss = memories.square().sum() + memories[..., 0].sum()
    return [loss, *torch.autograd.grad(loss, [memory, *model.parameters()])]


@pytest.mark.gpu
def test_replay_equals_unroll_with_dropout_on_every_device(device: torch.device) -> None:
    plain = value_and_gradients(unroll, device, ff_dropout=0.4, attn_dropout=0.2)
    replayed = value_and_gradients(replay, device, ff_dropout=0.4, attn_dropout=0.2)
    torch.testing.assert_close(replayed, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.gpu
def test_every_device_gives_the_result_of_the_cpu(device: torch.device) -> None:
    here = [value.cpu() for value in value_and_gradients(replay, device)]
    torch.testing.assert_close(here, value_and_gradients(replay, CPU), rtol=1e-9, atol=1e-10)


@pytest.mark.gpu
def test_memories_kept_on_the_cpu_change_nothing(device: torch.device) -> None:
    model = tiny().to(device)
    tokens = torch.randint(0, 5, (2, 20)).to(device)
    results = []
    for memory_device in (None, CPU):
        model.zero_grad()
        segments = Segments(tokens, [20, 20], 6, model.config.halo)
        memories = replay(model, segments, model.memory.initial(2), memory_device=memory_device)
        assert memory_device is None or memories.device == CPU
        memories[-1].square().mul(torch.arange(8, device=memories.device)).sum().backward()
        results.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


@pytest.mark.gpu
def test_bfloat16_stays_within_two_percent(device: torch.device) -> None:
    model = tiny(dim=64, dim_head=32, seq_len=32).float().to(device)
    tokens = torch.randint(0, 5, (2, 128)).to(device)
    segments = Segments(tokens, [128, 128], 32)
    with torch.no_grad():
        exact = unroll(model, segments, model.memory.initial(2))[-1]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            rough = unroll(model, segments, model.memory.initial(2))[-1]
    assert (rough - exact).norm() / exact.norm() < 0.02


def cuda_or_skip() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch.cuda.is_available() is False on this machine")
    return torch.device("cuda")


@pytest.mark.gpu
def test_full_segments_take_the_flash_path() -> None:
    device = cuda_or_skip()
    model = tiny(dim=64, dim_head=32, seq_len=32).bfloat16().to(device)
    segments = Segments(torch.randint(0, 5, (2, 64), device=device), [64, 64], 32)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # anything else would raise
        unroll(model, segments, model.memory.initial(2))[-1].sum().backward()


@pytest.mark.gpu
@pytest.mark.parametrize("rel_pos_bias", [False, True])
def test_replay_draws_the_same_dropout_in_bfloat16(*, rel_pos_bias: bool) -> None:
    device, results = cuda_or_skip(), []
    changes = {"rotary_pos_emb": not rel_pos_bias, "rel_pos_bias": rel_pos_bias}
    model = tiny(dim=64, dim_head=32, seq_len=32, attn_dropout=0.3, **changes).float().to(device)
    segments = Segments(torch.randint(0, 5, (2, 96), device=device), [96, 96], 32)
    for run in (unroll, replay):
        torch.manual_seed(3)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            memories = run(model, segments, model.memory.initial(2))
        gradients = torch.autograd.grad(memories.float().square().sum(), [*model.parameters()])
        results.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert (results[1] - results[0]).norm() / results[0].norm() < 0.02


@pytest.mark.gpu
def test_peak_memory_does_not_grow_with_segments() -> None:
    device, peaks = cuda_or_skip(), []
    model = tiny(dim=128, dim_head=64, seq_len=128, depth=4).float().to(device)
    for num_segments in (8, 64):
        tokens = torch.randint(0, 5, (2, 128 * num_segments), device=device)
        segments = Segments(tokens, [tokens.shape[1]] * 2, 128)
        torch.cuda.reset_peak_memory_stats()
        replay(model, segments, model.memory.initial(2))[-1].sum().backward()
        model.zero_grad()
        peaks.append(torch.cuda.max_memory_allocated())
    stored = 3 * 56 * 2 * 2 * 128 * 4 + 56 * 2 * 128 * 8  # memories, their gradient; tokens
    assert peaks[1] <= 1.05 * peaks[0] + stored
