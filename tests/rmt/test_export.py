"""torch.export of the segment step and of whole models, which leaves other models usable."""

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from rmt_genomics.rmt import Segment, SegmentTransformer
from tests.model.toys import toy
from tests.toys import random_tokens, tiny, token_model

BATCH = Dim("batch", min=2, max=64)
EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Step(nn.Module):
    """The step with cache, with tensors as arguments."""

    def __init__(self, model: SegmentTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, tokens: Tensor, keep: Tensor | None, memory: Tensor, cache: tuple[Tensor, ...]
    ) -> tuple[Any, ...]:
        segment = Segment(tokens, keep, 0, tokens.shape[1], may_be_empty=keep is not None)
        return tuple(self.model.read(segment, memory, cache, return_tokens=True))

    def arguments(self, batch_size: int, *, is_masked: bool) -> tuple[Any, ...]:
        """A second segment, with the cache after the first."""
        tokens, keep = random_tokens(batch_size, 6), None
        if is_masked:
            keep = torch.arange(6) < torch.arange(batch_size)[:, None] + 3
        memory = torch.randn(batch_size, 2, 8, dtype=torch.float64)
        return tokens, keep, memory, self(tokens, keep, memory, ())[1]


@pytest.mark.parametrize(
    "changes",
    [{}, {"use_xl_memories": True}, {"use_xl_memories": True, "causal": True, "stem_width": 3}],
)
@pytest.mark.parametrize(("is_masked", "is_dynamic"), [(False, True), (True, True), (True, False)])
def test_the_segment_step_can_be_exported(
    changes: dict[str, Any], *, is_masked: bool, is_dynamic: bool
) -> None:
    step = Step(tiny(**changes)).eval()
    arguments = step.arguments(3, is_masked=is_masked)
    row = {0: BATCH}
    shapes = (row, row if is_masked else None, row, tuple({1: BATCH} for _ in arguments[3]))

    program = export(step, arguments, dynamic_shapes=shapes if is_dynamic else None)

    for batch_size in (3, 5) if is_dynamic else (3,):
        arguments = step.arguments(batch_size, is_masked=is_masked)
        torch.testing.assert_close(program.module()(*arguments), step(*arguments), **EXACT)


@pytest.mark.parametrize("is_xl", [False, True])
@pytest.mark.usefixtures("unchecked")  # a dynamic size is no int
def test_the_token_model_can_be_exported(*, is_xl: bool) -> None:
    model = token_model(use_xl_memories=is_xl).eval()

    def arguments(batch_size: int) -> tuple[Any, ...]:
        with torch.no_grad():
            _, memories, xl = model(random_tokens(batch_size, 6))
        named = {"read_memories": memories, **({"xl_memories": xl} if is_xl else {})}
        return (random_tokens(batch_size, 6),), named

    row: Any = {0: BATCH}
    shapes = {
        "x": row,
        "read_memories": row,
        **({"xl_memories": [{1: BATCH}] * 2} if is_xl else {}),
    }

    program = export(model, *arguments(3), dynamic_shapes=shapes)

    tokens, named = arguments(5)
    torch.testing.assert_close(
        program.module()(*tokens, **named).output, model(*tokens, **named).output, **EXACT
    )


def test_other_models_stay_usable_after_an_export() -> None:
    codes, lengths = torch.randint(0, 4, (2, 20), dtype=torch.uint8), torch.tensor([20, 12])
    expected = toy()(codes, lengths)
    segment = Segment(random_tokens(2, 6), None, 0, 6)
    model = tiny(num_memory_tokens=3)  # a layout that no other test has

    export(model, (segment, model.memory.initial(2)))
    with contextlib.suppress(Exception):  # the classifier cannot be exported: it reads lengths
        export(toy(), (codes, lengths))

    model(segment, model.memory.initial(2)).sum().backward()
    assert torch.equal(toy()(codes, lengths), expected)
