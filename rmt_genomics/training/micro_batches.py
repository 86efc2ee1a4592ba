"""The loss and the gradients of a batch, in as few parts as the memory allows.

When memory runs out, the number of examples computed at a time is halved, the batch is begun again
and the run goes on; a single example that does not fit is replayed. Losses and gradients of the
parts are added up, so a step is that of the whole batch.

Gradients are computed together with the loss and handed out in backward. So a batch gives all of
its gradients or none, whatever was in ``.grad`` before; DDP, clipping and accumulation see ordinary
gradients, once a batch.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from pytorch_lightning.utilities.memory import garbage_collection_cuda, is_oom_error
from torch import Tensor
from torch.autograd.function import once_differentiable

from rmt_genomics.datasets import Batch
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning

Compute = Callable[[Batch], Tensor]
Result = TypeVar("Result")


class MicroBatches:
    """How many examples are computed at a time, and less when memory runs out.

    Args:
        rows: Examples at a time; None = whole batches.
    """

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows
        self.must_replay = False
        """Whether one example alone has run out of memory without replay."""

    def total(
        self, compute: Compute, batch: Batch, parameters: Iterable[Tensor]
    ) -> Float[Tensor, ""]:
        """Return the sum of what ``compute`` gives; backward reaches ``parameters``, once.

        A parameter that is not used has a gradient of zero, not None: DDP waits for each.

        Args:
            compute: From some examples to the sum of their losses.
            batch: All examples; may be without any.
            parameters: What gradients are wanted for.

        Raises:
            ConfigError: If one example alone does not fit into memory.
        """
        wanted = [each for each in parameters if each.requires_grad]
        total: Tensor = _Total.apply(self, compute, batch, *wanted)  # type: ignore[no-untyped-call]
        return total

    def outputs(self, compute: Compute, batch: Batch) -> list[Tensor]:
        """Return what ``compute`` gives for each part, in order."""
        return self.attempt(lambda parts: [compute(part) for part in parts], batch)

    def attempt(self, run: Callable[[list[Batch]], Result], batch: Batch) -> Result:
        """Run over the parts of a batch; if memory runs out, once more over smaller ones."""
        while True:
            try:
                return run(list(cut(batch, self.rows)))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            garbage_collection_cuda()  # out here: the error had held on to what was computed
            self._take_less(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must remember."""
        return {"rows": self.rows, "must_replay": self.must_replay}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rows, self.must_replay = state["rows"], state["must_replay"]

    def _take_less(self, batch: Batch) -> None:
        """Halve the examples at a time, and say so."""
        rows = min(self.rows or len(batch.names), len(batch.names))
        if rows > 1:
            self.rows = rows // 2
            change = f"{self.rows} at a time, and adding their gradients up"
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
            f"memory ran out with {rows} of {len(batch.names)} examples at a time; going on with "
            f"{change}. The steps stay the same.",
            RMTGenomicsWarning,
            stacklevel=2,
        )


def cut(batch: Batch, rows: int | None) -> Iterator[Batch]:
    """Yield a batch in parts of so many rows, each no wider than its longest."""
    size = rows or max(1, len(batch.names))
    for start in range(0, len(batch.names), size):
        part = slice(start, start + size)
        lengths = batch.lengths[part]
        codes = batch.codes[part]
        if size < len(batch.names):
            codes = codes[:, : int(lengths.max())]
        yield Batch(codes, lengths, batch.targets[part], batch.names[part])


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has no memory left."""
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or is_oom_error(error)
        or any(words in str(error) for words in _OUT_OF_MEMORY)
    )


class _Total(torch.autograd.Function):
    """Computes gradients in forward, where running out of memory can be mended."""

    @staticmethod
    def forward(
        ctx: Any, micro: MicroBatches, compute: Compute, batch: Batch, *parameters: Tensor
    ) -> Tensor:
        loss, ctx.gradients = micro.attempt(
            lambda parts: _loss_and_gradients(compute, parts, parameters), batch
        )
        return torch.zeros((), device=batch.codes.device) if loss is None else loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        handed: list[Tensor] = []
        while ctx.gradients:  # each is let go when its product is there
            handed.insert(0, ctx.gradients.pop() * grad_output)
        return None, None, None, *handed


def _loss_and_gradients(
    compute: Compute, parts: Sequence[Batch], parameters: Sequence[Tensor]
) -> tuple[Tensor | None, list[Tensor]]:
    """Add up the losses of parts, and their gradients; a loss of no parts is None."""
    loss: Tensor | None = None
    totals: list[Tensor | None] = [None] * len(parameters)
    for part in parts:
        with torch.enable_grad():
            own = compute(part)
        loss = own.detach() if loss is None else loss + own.detach()
        for index, gradient in enumerate(_gradients(own, parameters)):
            total = totals[index]
            if gradient is not None:  # never added in place: autograd may give one tensor twice
                totals[index] = gradient if total is None else total + gradient
        del own
    return loss, [
        torch.zeros_like(parameter) if total is None else total
        for total, parameter in zip(totals, parameters, strict=True)
    ]


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Walk back from a loss, outside of autocast as PyTorch asks for."""
    torch.clear_autocast_cache()  # the weights cast for this part belong to its graph
    with torch.autocast(loss.device.type, enabled=False):
        found: Sequence[Tensor | None] = torch.autograd.grad(loss, parameters, allow_unused=True)
    return found
