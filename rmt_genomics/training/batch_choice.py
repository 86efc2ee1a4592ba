"""How many examples a batch has when the settings say "auto", and how many fit at a time.

A batch decides what is learned, and memory must not: so a batch has 8 examples, which the defaults
were tried with, or more where that is faster and leaves an epoch steps enough. If so many do not
fit into memory, fewer are computed at a time and their gradients added up.
"""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from rmt_genomics.datasets import LengthBuckets
from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.costs import PROBED, WITHIN, Costs, fits, measure
from rmt_genomics.training.probe import Probe
from rmt_genomics.training.processes import Processes
from rmt_genomics.training.surroundings import fast_matrix_products

USUAL, MOST = 8, 64
_STEPS_ENOUGH = 50  # an epoch
WORTH_IT = 1.15  # times as fast
_EPOCHS_SEEN = 3  # for the worst batch


@dataclass(frozen=True, slots=True)
class Choice:
    """A batch, and how it is computed."""

    batch_size: int
    """Examples in a batch."""

    rows: int
    """Examples computed at a time; a power of two, or the whole batch."""

    costs: Costs
    """Of steps with such batches."""

    peak: float
    """Most bytes that a step of the run needs."""

    is_enough: bool
    """Whether that fits into what is free."""


def choose_batch(
    config: ExperimentConfig,
    lengths_bp: Sequence[int],
    device: torch.device,
    *,
    processes: int = 1,
) -> Choice:
    """Measure a few short steps and choose; a size that the settings name is kept.

    Args:
        config: Settings.
        lengths_bp: Those of the training part.
        device: Where it is to run.
        processes: How many divide each batch, and on a CPU the memory.
    """
    probe = Probe(config, device)
    asked = config.training.batch_size
    size = min(USUAL, len(lengths_bp)) if asked == "auto" else asked
    choice = assess(probe, lengths_bp, size, processes=processes)
    while (
        asked == "auto"
        and choice.rows == choice.batch_size
        and _may_grow(choice, lengths_bp, device)
    ):
        larger = assess(probe, lengths_bp, 2 * choice.batch_size, processes=processes)
        gain = speed(larger, lengths_bp) / speed(choice, lengths_bp)
        if gain < WORTH_IT or larger.rows < larger.batch_size:
            break
        choice = larger
    return choice


def assess(
    probe: Probe, lengths_bp: Sequence[int], batch_size: int, *, processes: int = 1
) -> Choice:
    """Foretell what batches of one size need, and how many of their examples fit at a time."""
    at_once = max(1, -(-min(batch_size, len(lengths_bp)) // processes))
    longest = max(lengths_bp)
    while True:
        costs = measure(probe, at_once, longest)
        epochs = min(_EPOCHS_SEEN, probe.config.training.max_epochs)
        peak = _peak(probe, costs, batches_of(lengths_bp, at_once, epochs))
        if at_once == 1 or fits(peak, probe.device, processes=processes):
            break
        at_once = 1 << ((at_once - 1).bit_length() - 1)  # the next lower power of two
    return Choice(
        batch_size,
        batch_size if at_once * processes >= min(batch_size, len(lengths_bp)) else at_once,
        costs,
        peak,
        fits(peak, probe.device, processes=processes),
    )


def batches_of(lengths_bp: Sequence[int], batch_size: int, epochs: int) -> list[list[int]]:
    """Return the lengths in each batch of the first epochs (seed 0)."""
    buckets = LengthBuckets(lengths_bp, batch_size, shuffle=True, seed=0)
    found: list[list[int]] = []
    for epoch in range(epochs):
        buckets.set_epoch(epoch)
        found += [[lengths_bp[index] for index in batch] for batch in buckets]
    return found


def speed(choice: Choice, lengths_bp: Sequence[int]) -> float:
    """Return the base pairs that training reads in a second."""
    return sum(lengths_bp) / epoch_seconds(choice, lengths_bp)


def epoch_seconds(choice: Choice, lengths_bp: Sequence[int]) -> float:
    """Return the time that training takes over an epoch, validation not counted."""
    batches = batches_of(lengths_bp, choice.costs.rows, 1)
    return sum(choice.costs.seconds(each) for each in batches)


def _peak(probe: Probe, costs: Costs, batches: Sequence[list[int]]) -> float:
    """Return the peak of the worst batch: measured if it is short, foretold otherwise."""
    if costs.segments(max(map(max, batches))) > PROBED:
        return max(costs.peak(each) for each in batches)
    worst = max(batches, key=lambda each: (max(each) * len(each), sum(each)))
    return float(probe.train_peak(sorted(worst), replay=costs.kept(PROBED) < PROBED))


def _may_grow(choice: Choice, lengths_bp: Sequence[int], device: torch.device) -> bool:
    """Whether twice the batch would leave steps enough, and looks as if it could fit."""
    double = 2 * choice.batch_size
    need = choice.costs.peak_of_rows(choice.peak, 2 * choice.costs.rows)
    is_small = double <= MOST and len(lengths_bp) >= _STEPS_ENOUGH * double
    return is_small and fits(need, device)


def with_batch_size(config: ExperimentConfig, batch_size: int) -> ExperimentConfig:
    """Return settings with a batch of this size."""
    return replace(config, training=replace(config.training, batch_size=batch_size))


def settle_batch(
    config: ExperimentConfig, lengths_bp: Sequence[int], device: str, processes: Processes
) -> tuple[ExperimentConfig, int | None]:
    """Put a number where the settings say "auto", and say so on stderr.

    Only the first process measures; the others get both numbers from it when they meet
    (``SplitDataModule.setup``, ``ClassifierModule.setup``).

    Args:
        config: Settings.
        lengths_bp: Those of the training part.
        device: Where it is to run.
        processes: Those that train together.

    Returns:
        The settings with a number, and the examples at a time; None = whole batches.
    """
    if config.training.batch_size != "auto":
        return config, None
    if not processes.is_first:
        return with_batch_size(config, 1), None
    where = torch.device(device)
    with fast_matrix_products(device):  # as the training will be
        choice = choose_batch(config, lengths_bp, where, processes=processes.devices)
    rows = choice.rows if choice.rows < choice.batch_size else None
    at_a_time = f", {rows} at a time" if rows else ""
    print(
        f"training.batch_size auto: {choice.batch_size} examples{at_a_time}; a step needs about "
        f"{choice.peak / 2**20:,.1f} MiB.",
        file=sys.stderr,
    )
    if not choice.is_enough:
        warnings.warn(
            f"one example at a time needs about {choice.peak / 2**20:,.0f} MiB, which is more than "
            f"{WITHIN:.0%} of what is free. Set training.replay to true, or lower "
            "model.segment_length or model.dim.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
    return with_batch_size(config, choice.batch_size), rows
