"""Learning that needs memory: a motif in the first segment, classified after the last."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmt_genomics.rmt import RMTConfig, Segments, SegmentTransformer, replay

SEGMENT, NUM_SEGMENTS = 24, 3
MOTIF = torch.tensor([0, 2, 3, 1, 1, 0, 2, 3])


def batch(batch_size: int) -> tuple[Tensor, Tensor]:
    """Random bases; half of the sequences have the motif somewhere in the first segment."""
    tokens = torch.randint(0, 4, (batch_size, SEGMENT * NUM_SEGMENTS))
    has_motif = torch.arange(batch_size) % 2
    for row in has_motif.nonzero().flatten().tolist():
        start = int(torch.randint(0, SEGMENT - len(MOTIF) + 1, ()))
        tokens[row, start : start + len(MOTIF)] = MOTIF
    return tokens, has_motif


class MotifModel(nn.Module):
    """Read all segments of one strand, then classify from the last memory."""

    def __init__(self, memory_reset: str) -> None:
        super().__init__()
        self.step = SegmentTransformer(
            RMTConfig(
                num_tokens=4,
                num_memory_tokens=4,
                dim=32,
                depth=2,
                heads=2,
                dim_head=16,
                seq_len=SEGMENT,
                causal=False,
                stem_width=9,
                add_write_to_next_write_mem=True,
                next_write_mem_stop_grad=False,
                memory_reset=memory_reset,
            )
        )
        self.head = nn.Linear(32, 2)

    def forward(self, tokens: Tensor, num_segments: int) -> Tensor:
        length = num_segments * SEGMENT
        segments = Segments(
            tokens[:, :length], [length] * len(tokens), SEGMENT, self.step.config.halo
        )
        memories = replay(self.step, segments, self.step.memory.initial(len(tokens)))
        return self.head(memories[-1].mean(dim=1))


def accuracy_after_training(memory_reset: str) -> float:
    """Train on one, two, then three segments; return the accuracy on fresh sequences of three."""
    torch.manual_seed(0)
    model = MotifModel(memory_reset)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(330):
        tokens, labels = batch(64)
        loss = F.cross_entropy(model(tokens, min(NUM_SEGMENTS, 1 + step // 150)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    tokens, labels = batch(400)
    with torch.no_grad():
        return (model(tokens, NUM_SEGMENTS).argmax(dim=1) == labels).float().mean().item()


@pytest.mark.slow
def test_a_motif_of_the_first_segment_is_recalled_after_the_last() -> None:
    assert accuracy_after_training("never") >= 0.95


@pytest.mark.slow
def test_the_control_without_memory_stays_near_chance() -> None:
    assert accuracy_after_training("segment") <= 0.6
