"""Law 1 across processes: under DDP and FSDP2 the gradients are those of one process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from rmt_genomics.rmt import Segments, replay
from rmt_genomics.training.distributed import exit_without_cleanup
from tests.toys import tiny


class Scored(nn.Module):
    """Mean square of all written memories, as a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.step = tiny(stem_width=3)

    def forward(self, tokens: Tensor) -> Tensor:
        segments = Segments(tokens, [tokens.shape[1]] * len(tokens), 6, self.step.config.halo)
        memories = replay(self.step, segments, self.step.memory.initial(len(tokens)))
        return memories.square().mean()


def all_tokens() -> Tensor:
    return torch.randint(0, 5, (4, 20), generator=torch.Generator().manual_seed(5))


def with_unused(scored: Scored) -> Scored:
    """Add weights without a use, in the step and outside, behind all others."""
    scored.step.unused = nn.Linear(2, 2).double()
    scored.outside = nn.Linear(2, 2).double()
    return scored


def fsdp(module: nn.Module, **options: Any) -> nn.Module:
    return fully_shard(module, mesh=init_device_mesh("cpu", (2,)), **options)


RIGHT: dict[str, Callable[[Scored], nn.Module]] = {
    "DDP": DistributedDataParallel,
    "find_unused_parameters": lambda scored: DistributedDataParallel(
        with_unused(scored), find_unused_parameters=True
    ),
    "static_graph": lambda scored: DistributedDataParallel(scored, static_graph=True),
    "FSDP2": fsdp,
    "FSDP2, resharded": lambda scored: fsdp(scored, reshard_after_forward=True),
}


def ddp_of_the_step(scored: Scored) -> nn.Module:
    scored.step.layers = DistributedDataParallel(scored.step.layers)
    return scored


def fsdp_of_the_layers(scored: Scored) -> nn.Module:
    for layer in scored.step.layers.layers:
        fsdp(layer)
    return fsdp(scored)


def gradients_under(wrap: Callable[[Scored], nn.Module], tokens: Tensor) -> list[Tensor]:
    """Return the gradients of two backward passes in a wrapper, over the tokens of this rank."""
    model = wrap(Scored())
    for _ in range(2):
        model(tokens).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return [grad.full_tensor() if hasattr(grad, "full_tensor") else grad for grad in gradients]


def run_rank(rank: int, folder: str) -> None:
    """Backward over half of the batch in one of two processes; rank 0 writes the gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    tokens = all_tokens()[rank::2]
    results: dict[str, Any] = {name: gradients_under(wrap, tokens) for name, wrap in RIGHT.items()}
    for wrap in (ddp_of_the_step, fsdp_of_the_layers):
        try:
            gradients_under(wrap, tokens)
        except ValueError as error:
            results[wrap.__name__] = str(error)
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()
    exit_without_cleanup()


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_give_the_gradients_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or refuse: a module in the step that would communicate whenever it is called."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    mp.spawn(run_rank, (str(tmp_path),), nprocs=2)
    expected = gradients_under(lambda scored: scored, all_tokens())

    results = torch.load(tmp_path / "results.pt", weights_only=True)
    for name in RIGHT:
        gradients, unused = results[name][: len(expected)], results[name][len(expected) :]
        torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-12)
        assert not any(gradient is not None and gradient.any() for gradient in unused)
    for name in ("ddp_of_the_step", "fsdp_of_the_layers"):
        assert "Wrap the module whose forward calls replay" in results[name]
