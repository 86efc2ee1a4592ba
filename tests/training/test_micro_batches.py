"""A batch that does not fit is computed in micro-batches; the step is that of the whole batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rmt_genomics.datasets import Batch
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning, out_of_memory
from rmt_genomics.model import RMTClassifier
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.micro_batches import MicroBatches, split_batch
from tests.model.toys import toy
from tests.training.toys import run, write_data

CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 8 bytes. Error code 12 (Cannot allocate memory)"
)
ERRORS = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_MESSAGE), MemoryError()]


def batch(lengths: list[int]) -> Batch:
    torch.manual_seed(1)
    codes = torch.randint(0, 4, (len(lengths), max(lengths)), dtype=torch.uint8)
    targets = torch.arange(len(lengths)) % 3
    return Batch(codes, torch.tensor(lengths), targets, [f"r{n}" for n in range(len(lengths))])


class Step:
    """A model's loss of some examples, on a machine with memory for ``fitting`` examples."""

    def __init__(self, fitting: int, error: BaseException, **model: Any) -> None:
        self.model = toy(**model)
        self.fitting = fitting
        self.error = error
        self.sizes: list[int] = []

    def __call__(self, part: Batch) -> Tensor:
        self.sizes.append(len(part.names))
        logits = self.model(part.codes, part.lengths)
        if len(part.names) > self.fitting:
            raise self.error
        return F.cross_entropy(logits, part.targets, reduction="sum")

    def gradients(self, whole: Batch, micro: MicroBatches) -> tuple[float, list[Tensor]]:
        self.model.zero_grad()
        total = micro.total(self, whole, self.model.parameters())
        (total / len(whole.names)).backward()
        return total.item(), [p.grad.clone() for p in self.model.parameters()]  # type: ignore[union-attr]


@pytest.mark.parametrize("error", ERRORS, ids=["gpu", "cpu", "python"])
def test_half_the_examples_at_a_time_give_the_same_gradients(
    error: BaseException,
) -> None:
    whole, micro, small = batch([40, 9, 33, 4, 20, 6, 1]), MicroBatches(), Step(2, error)
    loss, gradients = Step(99, error).gradients(whole, MicroBatches())

    with pytest.warns(RMTGenomicsWarning, match="memory ran out") as caught:
        less, by_parts = small.gradients(whole, micro)

    assert str(caught[0].message).startswith(
        "memory ran out with 7 of 7 examples at a time; continuing with 3 at a time, and sum"
    )
    assert small.sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert micro.rows == 1
    assert less == pytest.approx(loss, rel=1e-12)
    torch.testing.assert_close(by_parts, gradients, rtol=1e-9, atol=1e-12)


def test_gradients_equal_plain_autograd() -> None:
    whole, step = batch([20, 7, 13]), Step(99, MemoryError())
    _, gradients = step.gradients(whole, MicroBatches())

    step.model.zero_grad()
    (step(whole) / 3).backward()

    plain = [weight.grad for weight in step.model.parameters()]
    torch.testing.assert_close(gradients, plain, rtol=1e-10, atol=1e-14)


def test_an_unused_parameter_has_a_gradient_of_zero() -> None:
    step, other = Step(99, MemoryError()), torch.nn.Parameter(torch.ones(3))

    micro = MicroBatches()
    micro.total(step, batch([5, 4]), [*step.model.parameters(), other]).backward()

    assert torch.equal(other.grad, torch.zeros(3))  # type: ignore[arg-type]


def test_gradients_of_earlier_batches_remain_when_memory_runs_out() -> None:
    """The failed attempt adds nothing to the gradients."""
    whole, step, micro = batch([20, 7, 13, 5]), Step(2, MemoryError()), MicroBatches()
    with pytest.warns(RMTGenomicsWarning):
        _, once = step.gradients(whole, micro)

    micro.rows = None
    with pytest.warns(RMTGenomicsWarning):
        (micro.total(step, whole, step.model.parameters()) / 4).backward()

    twice = [weight.grad for weight in step.model.parameters()]
    torch.testing.assert_close(twice, [2 * gradient for gradient in once], rtol=1e-9, atol=1e-12)


def test_a_single_example_is_replayed_before_it_is_refused() -> None:
    step, micro, whole = Step(0, MemoryError()), MicroBatches(), batch([20, 300])

    with (
        pytest.warns(
            RMTGenomicsWarning, match=r"continuing with replay \(training\.replay = true\)"
        ),
        pytest.raises(ConfigError, match=r"r1: a step needs more memory .* of 300 bp\. Set"),
    ):
        micro.total(step, Batch(*(field[1:] for field in whole)), step.model.parameters())

    assert micro.must_replay


def test_other_errors_are_not_retried() -> None:
    step = Step(0, RuntimeError("a shape does not fit"))

    with pytest.raises(RuntimeError, match="a shape"):
        MicroBatches().total(step, batch([5, 4]), step.model.parameters())

    assert out_of_memory(ValueError("memory")) is None


@pytest.mark.parametrize(
    "message", ["CUDA out of memory. Tried", "cublasCreate: CUBLAS_STATUS_ALLOC_FAILED"]
)
def test_both_gpu_messages_for_exhausted_memory_are_recognised(message: str) -> None:
    assert out_of_memory(RuntimeError(message))


def test_an_empty_batch_has_loss_and_gradients_of_zero() -> None:
    step, whole = Step(9, MemoryError()), batch([3])
    empty = Batch(whole.codes[:0], whole.lengths[:0], whole.targets[:0], [])

    total = MicroBatches().total(step, empty, step.model.parameters())
    total.backward()

    assert total.item() == 0
    assert step.sizes == []
    assert all(not weight.grad.any() for weight in step.model.parameters())  # type: ignore[union-attr]


def test_micro_batches_are_padded_to_their_own_longest_example() -> None:
    whole = batch([40, 9, 33])

    parts = list(split_batch(whole, 2))

    assert [part.codes.shape for part in parts] == [(2, 40), (1, 33)]
    assert [part.names for part in parts] == [["r0", "r1"], ["r2"]]
    assert [part.codes.shape for part in split_batch(whole, None)] == [(3, 40)]


def test_cast_weights_are_not_reused_in_the_next_micro_batch() -> None:
    """In bf16 the copies of weights belong to the graph of the micro-batch that made them."""
    whole, step = batch([40, 9, 33, 4]), Step(9, MemoryError())
    step.model.float()
    results = []
    for rows in (None, 1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            total = MicroBatches(rows).total(step, whole, step.model.parameters())
        step.model.zero_grad()
        total.backward()
        results.append([weight.grad for weight in step.model.parameters()])

    torch.testing.assert_close(*results, rtol=0.1, atol=0.05)


@pytest.mark.slow
def test_a_run_continues_with_smaller_micro_batches_and_saves_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, forward = write_data(tmp_path), RMTClassifier.forward
    run(data, tmp_path / "large")

    def little_memory(self: RMTClassifier, codes: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        logits = forward(self, codes, *args, **kwargs)
        if len(codes) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return logits

    monkeypatch.setattr(RMTClassifier, "forward", little_memory)
    with pytest.warns(RMTGenomicsWarning, match="The optimiser steps do not change"):
        run(data, tmp_path / "small")

    large, small = (
        read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in ("large", "small")
    )
    torch.testing.assert_close(large["state_dict"], small["state_dict"], rtol=1e-4, atol=1e-5)
    assert small["micro_batches"] == {"rows": 2, "must_replay": False}
