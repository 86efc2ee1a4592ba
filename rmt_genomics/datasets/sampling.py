"""Samples of examples: those of an epoch that is shorter than the training part, and of a part.

Seeds make both the same on every machine, in every process and in a resumed run.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import Example, LabelScheme

Indices = npt.NDArray[np.int64]
_PASSES, _SAMPLE = 5, 6  # separate the random numbers of two purposes, and from other modules


def indices_of_epoch(num_examples: int, size: int, *, epoch: int, seed: int) -> Indices:
    """Return the indices of the ``size`` examples of an epoch, all different, in random order.

    Epochs go through all examples as through a shuffled deck of cards: none is drawn again before
    all have been drawn. An epoch in which one pass ends and the next begins has what was left of
    the one, and of the next only examples that it does not have yet.

    Examples:
        >>> [sorted(indices_of_epoch(4, 2, epoch=epoch, seed=0).tolist()) for epoch in range(4)]
        [[0, 1], [2, 3], [0, 2], [1, 3]]
    """
    assert 0 < size <= num_examples
    begin, end = epoch * size, (epoch + 1) * size
    drawn: list[Indices] = []
    order = np.empty(0, dtype=np.int64)  # of the pass before
    for number in range(-(-end // num_examples)):
        start = number * num_examples  # of the pass, counted in examples since the first epoch
        last = order[len(order) - start % size :]  # of the epoch in which this pass begins
        order = np.random.default_rng([seed, number, _PASSES]).permutation(num_examples)
        if len(last):
            is_free = ~np.isin(order, last)
            first = order[is_free][: size - len(last)]
            order = np.concatenate([first, order[~np.isin(order, first)]])
        drawn.append(order[max(0, begin - start) : max(0, end - start)])
    return np.concatenate(drawn)


def stratified_sample(
    examples: Sequence[Example], count: int | None, scheme: LabelScheme, *, seed: int
) -> list[Example]:
    """Return ``count`` of the examples, in their order; None, or more than there are: all.

    Every class has about the same fraction as among all, and at least one example if ``count`` is
    large enough; for a regression every range of numbers has.
    """
    if count is None or count >= len(examples):
        return list(examples)
    order = np.random.default_rng([seed, _SAMPLE]).permutation(len(examples)).tolist()
    if scheme.task == "regression":
        numbers = scheme.numbers(examples)
        order.sort(key=lambda index: float(numbers[index]))
        first = {}
    else:
        order.sort(key=lambda index: examples[index].labels)
        first = {label: index for index in order for label in examples[index].labels}
    chosen = set(first.values()) if len(first) <= count else set()
    others = [index for index in order if index not in chosen]
    wanted = count - len(chosen)
    # At equal distances among the sorted ones, so that each class has its part.
    chosen |= {others[number * len(others) // wanted] for number in range(wanted)}
    return [examples[index] for index in sorted(chosen)]


def describe_sample(
    sample: Sequence[Example], examples: Sequence[Example], scheme: LabelScheme
) -> str:
    """Return ``600 of 5,000 examples (a 300, b 300)``; no classes for a regression."""
    size = f"{len(sample):,} of {len(examples):,} examples"
    if scheme.task == "regression":
        return size
    most = 10
    counts = [
        f"{label} {sum(label in example.labels for example in sample):,}"
        for label in scheme.classes[:most]
    ]
    others = f" and {len(scheme.classes) - most:,} more classes" * (len(scheme.classes) > most)
    return f"{size} ({', '.join(counts)}{others})"
