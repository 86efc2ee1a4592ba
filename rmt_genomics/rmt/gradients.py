"""What replay gathers on its way from the last segment to the first.

``by_age[a]`` is the gradient, at the memory reached, of the losses that stand ``a`` segments
later. Ages are kept apart so that each loss stops exactly ``bptt_depth`` segments back; without a
depth all losses are one. Each segment costs one joint walk of its graph, to the memory it read and
to the parameters; with a depth, one more walk to the memory for each further age present.

Where memory forgets, the gradient shrinks from segment to segment until it is too small for its
number format. Segments that none is left for are not run again.
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
        self.has_vanished = False  # a gradient was there once, and became too small to go on

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
                over = _grad(targets, [gradient, own[age]], [read], keep=True)[0]
                crossed[age] = self._without_dust(over)
            self._add(_grad(targets, total, self.parameters))
        self.by_age = crossed

    def _walk(
        self, targets: list[Tensor | None], gradients: list[Tensor | None], read: Tensor
    ) -> Tensor | None:
        """Walk a segment's graph once, to the memory read and to the parameters."""
        crossed, *of_parameters = _grad(targets, gradients, [read, *self.parameters])
        self._add(of_parameters)
        return self._without_dust(crossed)

    def _without_dust(self, gradient: Tensor | None) -> Tensor | None:
        """Set to zero what is too small to be multiplied in its number format.

        What a CPU makes of such numbers is subnormal, costs it up to ten times as long, and is lost
        in any sum with an ordinary gradient. A GPU does not mind, and would have to be waited for.
        The range of float16 is too narrow for this.

        Returns:
            None if nothing is left.
        """
        if gradient is None or gradient.device.type != "cpu" or gradient.dtype == torch.float16:
            return gradient
        limits = torch.finfo(gradient.dtype)
        kept = gradient.masked_fill(gradient.abs() < limits.tiny / limits.eps, 0)
        if kept.any():
            return kept
        self.has_vanished = True
        return None

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
