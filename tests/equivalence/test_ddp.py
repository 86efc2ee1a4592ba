"""Law 1 across processes: under DDP the gradients are those of one process."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
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


def run_rank(rank: int, folder: str) -> None:
    """Backward over half of the batch in one of two processes; rank 0 writes the gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    model = DistributedDataParallel(Scored())
    model(all_tokens()[rank::2]).backward()
    if rank == 0:
        torch.save([parameter.grad for parameter in model.parameters()], f"{folder}/gradients.pt")
    dist.destroy_process_group()
    exit_without_cleanup()


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_give_the_gradients_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    mp.spawn(run_rank, (str(tmp_path),), nprocs=2)
    alone = Scored()
    alone(all_tokens()).backward()

    together = torch.load(tmp_path / "gradients.pt", weights_only=True)
    torch.testing.assert_close(
        together, [parameter.grad for parameter in alone.parameters()], rtol=1e-10, atol=1e-12
    )
