"""What replay gathers on its way from the last segment to the first.

``by_age[a]`` is the gradient, at the memory reached, of the losses that stand ``a`` segments
later. Ages are kept apart so that each loss stops exactly ``bptt_depth`` segments back; without a
depth all losses are one. Each segment costs one joint walk of its graph, to the memory it read and
to the parameters; with a depth, one more walk to the memory for each further age present.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class Gradients:
    """Totals of the parameters and of the memory reached.

    Args:
        parameters: What gradients are gathered for.
        bptt_depth: How many segments each loss crosses; None = all.
    """

    def __init__(self, parameters: Sequence[Tensor], bptt_depth: int | None) -> None:
        self.parameters = list(parameters)
        self.bptt_depth = bptt_depth
        self.of_parameters: list[Tensor | None] = [None] * len(self.parameters)
        self.by_age: list[Tensor | None] = []
        self.of_output: Tensor | None = None

    @property
    def are_present(self) -> bool:
        """Whether any loss reaches the present segment."""
        return self.of_output is not None or any(each is not None for each in self.by_age)

    @property
    def of_memory(self) -> Tensor | None:
        """The gradient of the memory reached."""
        return _total(self.by_age)

    def start(self, of_memory: Tensor | None, of_output: Tensor | None) -> None:
        """Move on to an earlier segment and add the gradients of its own losses."""
        self.by_age.insert(0, of_memory)
        self.of_output = of_output

    def cross(self, read: Tensor, memory: Tensor, output: Tensor | None, *, is_first: bool) -> None:
        """Take the gradients over one segment, from what it wrote to the memory it read."""
        targets, total = [memory, output], [_total(self.by_age), self.of_output]
        if self.bptt_depth is None or is_first:
            self.by_age = [self._walk(targets, total, read)]
            return
        going_on = self.by_age[: self.bptt_depth - 1]
        own = [self.of_output, *(None for _ in going_on)]  # an output is a loss of age 0
        losses = [age for age, each in enumerate(self.by_age) if each is not None]
        losses = sorted({*losses, *([0] if self.of_output is not None else [])})
        crossed: list[Tensor | None] = [None] * len(going_on)
        if len(losses) == 1 and losses[0] < len(going_on):
            crossed[losses[0]] = self._walk(targets, total, read)
        else:
            for age, gradient in enumerate(going_on):
                crossed[age] = _grad(targets, [gradient, own[age]], [read], keep=True)[0]
            self._add(_grad(targets, total, self.parameters))
        self.by_age = crossed

    def _walk(
        self, targets: list[Tensor | None], gradients: list[Tensor | None], read: Tensor
    ) -> Tensor | None:
        """Walk a segment's graph once, to the memory read and to the parameters."""
        crossed, *of_parameters = _grad(targets, gradients, [read, *self.parameters])
        self._add(of_parameters)
        return crossed

    def _add(self, gradients: Sequence[Tensor | None]) -> None:
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                total = self.of_parameters[index]
                # a clone, since autograd may hand one tensor to two parameters
                self.of_parameters[index] = (
                    gradient.clone() if total is None else total.add_(gradient)
                )


def _grad(
    targets: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    *,
    keep: bool = False,
) -> Sequence[Tensor | None]:
    """Return ``autograd.grad`` of those targets that have a gradient; None where there is none."""
    present = [
        (target, gradient)
        for target, gradient in zip(targets, gradients, strict=True)
        if gradient is not None and target is not None and target.requires_grad
    ]
    if not present or not inputs:
        return [None] * len(inputs)
    found: Sequence[Tensor | None] = torch.autograd.grad(
        [target for target, _ in present],
        inputs,
        [gradient for _, gradient in present],
        retain_graph=keep,
        allow_unused=True,
    )
    return found


def _total(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Add what is present; None if nothing is."""
    present = [gradient for gradient in gradients if gradient is not None]
    if len(present) > 1:
        return torch.stack(present).sum(dim=0)
    return present[0] if present else None
