"""Loss and gradients of a batch, computed in as few micro-batches as the memory allows.

When memory runs out, the size of the micro-batches is halved and the batch is computed again; a
single example that does not fit is computed with replay. Losses and gradients of the micro-batches
are summed, so that the step is that of the whole batch.

Gradients are computed in the forward pass, together with the loss, and returned in backward. So a
batch yields all of its gradients or none, whatever is in ``.grad``; DDP, clipping and accumulation
see ordinary gradients, once per batch.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from pytorch_lightning.utilities.memory import garbage_collection_cuda
from torch import Tensor
from torch.autograd.function import once_differentiable

from rmt_genomics.datasets import Batch
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning, out_of_memory

Compute = Callable[[Batch], Tensor]
Result = TypeVar("Result")


class MicroBatches:
    """Splits batches into micro-batches of ``rows`` examples (None = whole batches).

    The size is halved when memory runs out.
    """

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows
        self.must_replay = False
        """Whether a single example has run out of memory without replay."""

    def total(
        self, compute: Compute, batch: Batch, parameters: Iterable[Tensor]
    ) -> Float[Tensor, ""]:
        """Return the summed loss of a batch; backward works once and reaches ``parameters``.

        An unused parameter has a gradient of zero, not None: DDP waits for every gradient.
        ``compute`` returns the sum of the losses of some examples.

        Raises:
            ConfigError: If a single example does not fit into memory.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        total: Tensor = _TotalLoss.apply(  # type: ignore[no-untyped-call]
            self, compute, batch, *trained
        )
        return total

    def retry(self, run: Callable[[list[Batch]], Result], batch: Batch) -> Result:
        """Call ``run`` with the micro-batches; if memory runs out, again with smaller ones."""
        while True:
            try:
                return run(list(split_batch(batch, self.rows)))
            except (RuntimeError, MemoryError) as error:
                if out_of_memory(error) is None:
                    raise
            garbage_collection_cuda()  # after the except block: the error references the graph
            self._reduce(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"rows": self.rows, "must_replay": self.must_replay}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state in a checkpoint."""
        self.rows, self.must_replay = state["rows"], state["must_replay"]

    def _reduce(self, batch: Batch) -> None:
        """Halve the micro-batches, or turn replay on, with a warning."""
        rows = min(self.rows or len(batch.names), len(batch.names))
        if rows > 1:
            self.rows = rows // 2
            change = f"{self.rows} at a time, and summing their gradients"
        elif not self.must_replay:
            self.must_replay = True
            change = "replay (training.replay = true), which keeps one segment at a time"
        else:
            longest = int(batch.lengths.argmax())
            raise ConfigError(
                f"{batch.names[longest]}: a step needs more memory than is free for this one "
                f"example of {int(batch.lengths[longest]):,} bp. Set training.precision to bf16, "
                "lower model.segment_length or model.dim, or cut long records into intervals."
            )
        warnings.warn(
            f"memory ran out with {rows} of {len(batch.names)} examples at a time; continuing with "
            f"{change}. The optimiser steps do not change.",
            RMTGenomicsWarning,
            stacklevel=2,
        )


def split_batch(batch: Batch, rows: int | None) -> Iterator[Batch]:
    """Yield micro-batches of ``rows`` examples, each padded to its own longest example."""
    size = rows or max(1, len(batch.names))
    for start in range(0, len(batch.names), size):
        part = slice(start, start + size)
        lengths = batch.lengths[part]
        codes = batch.codes[part]
        if size < len(batch.names):
            codes = codes[:, : int(lengths.max())]
        yield Batch(codes, lengths, batch.targets[part], batch.names[part])


class _TotalLoss(torch.autograd.Function):
    """Computes gradients in forward, where the computation can be repeated."""

    @staticmethod
    def forward(
        ctx: Any, micro_batches: MicroBatches, compute: Compute, batch: Batch, *parameters: Tensor
    ) -> Tensor:
        loss, ctx.gradients = micro_batches.retry(
            lambda parts: _loss_and_gradients(compute, parts, parameters), batch
        )
        return torch.zeros((), device=batch.codes.device) if loss is None else loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        scaled: list[Tensor] = []
        while ctx.gradients:  # popped, so that each is freed once its product exists
            scaled.insert(0, ctx.gradients.pop() * grad_output)
        return None, None, None, *scaled


def _loss_and_gradients(
    compute: Compute, parts: Sequence[Batch], parameters: Sequence[Tensor]
) -> tuple[Tensor | None, list[Tensor]]:
    """Return the sums of losses and gradients; the loss is None if there are no parts."""
    loss: Tensor | None = None
    totals: list[Tensor | None] = [None] * len(parameters)
    for part in parts:
        with torch.enable_grad():
            part_loss = compute(part)
        loss = part_loss.detach() if loss is None else loss + part_loss.detach()
        torch.clear_autocast_cache()  # the weights cast for this part belong to its graph
        with torch.autocast(loss.device.type, enabled=False):  # PyTorch: no autocast in backward
            gradients = torch.autograd.grad(part_loss, parameters, allow_unused=True)
        for index, gradient in enumerate(gradients):
            total = totals[index]
            if gradient is not None:  # not in place: autograd may return one tensor twice
                totals[index] = gradient if total is None else total + gradient
        del part_loss, gradients  # frees the graph before the next part is computed
    return loss, [
        torch.zeros_like(parameter) if total is None else total
        for total, parameter in zip(totals, parameters, strict=True)
    ]
