"""What a training would need, before it is begun: lengths, memory, speed, and a fitting batch."""

import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from rmt_genomics.datasets import EncodedStore, LabelSource, LengthBuckets, split_examples
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.model.batching import batches_of_similar_length
from rmt_genomics.model.bidirectional_encoder import LONG_BP, SEGMENTS_AT_ONCE
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.rmt.runtime import free_bytes
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.distributed import Processes
from rmt_genomics.training.profiling import PROBED, WITHIN, Costs, Probe, fits, measure
from rmt_genomics.training.runtime import fast_matrix_products

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


Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was read and measured; ``rows`` is the table of it."""

    config: ExperimentConfig
    device: torch.device
    train_bp: list[int]
    """Lengths of the examples that are trained on."""

    validation_bp: list[int]
    """Lengths of those that validate."""

    all_bp: list[int]
    """Lengths of all examples, or of all records if there are no labels."""

    num_parameters: int
    choice: Choice
    """For the settings as they are."""

    free: Choice
    """For the settings with training.batch_size = "auto"."""

    predict_peak: float
    predict_bp_per_second: float
    free_bytes: int

    @property
    def epoch_seconds(self) -> float:
        """Time of an epoch: training and validation."""
        return epoch_seconds(self.choice, self.train_bp) + (
            sum(self.validation_bp) / self.predict_bp_per_second
        )

    @property
    def precision(self) -> str:
        """The number format that this machine computes fastest without harm."""
        is_fast = self.device.type == "cuda" and torch.cuda.is_bf16_supported(
            including_emulation=False
        )
        return "bf16" if is_fast else "fp32"

    @property
    def replay(self) -> str:
        """``false`` where a quarter of the free memory holds the graphs of the longest batch."""
        segments = self.choice.costs.segments(max(self.train_bp))
        return "false" if segments <= min(self.choice.costs.fitting, PROBED + 1) else "auto"

    def rows(self) -> Iterator[Row]:
        """Yield key, value, unit."""
        costs, epochs = self.choice.costs, self.config.training.max_epochs
        counts = sorted(costs.segments(length) for length in self.all_bp)
        yield from _of_lengths(self.all_bp)
        yield "segment_length", f"{costs.segment_bp}", "bp"
        yield "segments_median", f"{median(counts):.0f}", "segments"
        yield "segments_most", f"{counts[-1]}", "segments"
        yield "parameters", f"{self.num_parameters}", "numbers"
        yield "device", self.device.type, ""
        yield "free_memory", f"{self.free_bytes}", "bytes"
        yield "batch_size", f"{self.choice.batch_size}", "examples"
        yield "examples_at_a_time", f"{self.choice.rows}", "examples"
        yield "segments_kept", f"{costs.kept(costs.segments(max(self.train_bp)))}", "segments"
        yield "train_fixed_memory", f"{costs.fixed_bytes}", "bytes"
        yield "train_peak_memory", f"{self.choice.peak:.0f}", "bytes"
        yield "train_speed", f"{speed(self.choice, self.train_bp):.0f}", "bp/s"
        yield "epoch_time", f"{self.epoch_seconds:.1f}", "s"
        yield "training_time_at_most", f"{self.epoch_seconds * epochs:.0f}", "s"
        yield "predict_peak_memory", f"{self.predict_peak:.0f}", "bytes"
        yield "predict_speed", f"{self.predict_bp_per_second:.0f}", "bp/s"
        yield "predict_time", f"{sum(self.all_bp) / self.predict_bp_per_second:.1f}", "s"
        yield "chosen_batch_size", f"{self.free.batch_size}", "examples"
        yield "chosen_examples_at_a_time", f"{self.free.rows}", "examples"
        yield "chosen_replay", self.replay, ""
        yield "chosen_precision", self.precision, ""


def plan(
    fasta: Path,
    config: ExperimentConfig,
    *,
    labels: Path | LabelSource | None = None,
    device: str = "auto",
    seed: int = 0,
) -> Plan:
    """Read the lengths, run a few short steps on made-up sequences, and reckon.

    Memory is that of tensors; the program itself (Python, PyTorch) comes on top. The stages of a
    curriculum shorten examples, which is not taken into account.

    Args:
        fasta: A file of sequences, or a folder of such files.
        config: Settings.
        labels: Labels, for the lengths of the examples and their split; None = every record is
            an example, split as the settings say.
        device: auto, cpu, cuda or mps.
        seed: Of the split.

    Raises:
        ConfigError: If there is no such device.
        DataError: If the data cannot be used.
    """
    where, config = choose_device(device), config.resolved()
    train, validation, every = _lengths(fasta, config, labels, seed=seed)
    with fast_matrix_products(where.type):
        choice = choose_batch(config, train, where)
        is_auto = config.training.batch_size == "auto"
        free = choice if is_auto else choose_batch(_with_auto(config), train, where)
        probe = Probe(config, where)
        peak, bp_per_second = _prediction(probe, choice, every)
    return Plan(
        config=config,
        device=where,
        train_bp=train,
        validation_bp=validation,
        all_bp=every,
        num_parameters=probe.num_parameters,
        choice=choice,
        free=free,
        predict_peak=peak,
        predict_bp_per_second=bp_per_second,
        free_bytes=free_bytes(where),
    )


def summary(plan: Plan) -> str:
    """Say in words whether it fits, and with which settings to train."""
    enough = fits(plan.choice.peak, plan.device) and plan.choice.is_enough
    wanted = {"training.precision": plan.precision, "training.replay": plan.replay}
    now = plan.config.flat()
    is_faster = speed(plan.free, plan.train_bp) > WORTH_IT * speed(plan.choice, plan.train_bp)
    if is_faster:
        wanted["training.batch_size"] = str(plan.free.batch_size)
    if not enough:
        wanted["training.batch_size"] = "auto"  # which takes fewer examples at a time
    settings = [
        f"--set {key}={value}" for key, value in wanted.items() if str(now[key]).lower() != value
    ]
    free = f" of {plan.free_bytes / 2**30:.1f} GiB free" if plan.free_bytes else ""
    lines = [
        f"Training needs about {plan.choice.peak / 2**30:.2f} GiB{free} on {plan.device.type}"
        f"{'' if enough else ', which is too much'}; an epoch takes about "
        f"{plan.epoch_seconds:.0f} s.",
    ]
    if plan.config.curriculum.segments:
        lines.append("This is for whole sequences: the shorter stages of the curriculum need less.")
    if plan.config.training.compile:
        lines.append("This is for layers that are not compiled: compiled ones should need less.")
    if settings:
        lines.append(f"For this machine: rmt-genomics train ... {' '.join(settings)}")
    else:
        lines.append("For this machine: the settings as they are.")
    return "\n".join(lines)


def _with_auto(config: ExperimentConfig) -> ExperimentConfig:
    return replace(config, training=replace(config.training, batch_size="auto"))


def _lengths(
    fasta: Path, config: ExperimentConfig, labels: Path | LabelSource | None, *, seed: int
) -> tuple[list[int], list[int], list[int]]:
    """Return the lengths in bp of what trains, what validates, and everything."""
    source = None if labels is None else LabelSource.of(labels)
    if source is not None:
        source.check()
    store = EncodedStore.open(fasta, progress=sys.stderr.isatty())
    if source is None:
        lengths = [record.length for record in store.records()]
        if len(lengths) < 2:
            raise DataError(
                f"{fasta}: has {len(lengths)} record, but a training part and a validation part "
                "need one each. Give --labels with intervals, or more records."
            )
        order = np.random.default_rng(seed).permutation(len(lengths)).tolist()
        held_out = max(1, round(config.data.validation_fraction * len(lengths)))
        parts = [lengths[index] for index in order]
        return parts[held_out:] or parts[-1:], parts[:held_out], lengths
    examples = source.read(store.records(), group_column=config.data.group, task=config.data.task)
    split = split_examples(
        examples,
        how=config.data.split,
        validation_fraction=config.data.validation_fraction,
        seed=seed,
        task=config.data.task,
    )
    train, validation, every = (
        [len(each.interval) for each in part] for part in (split.train, split.validation, examples)
    )
    return train, validation, every


def _prediction(probe: Probe, choice: Choice, lengths_bp: Sequence[int]) -> tuple[float, float]:
    """Return the peak in bytes, and base pairs a second."""
    segment_bp = choice.costs.segment_bp
    batches = [[lengths_bp[i] for i in each] for each in batches_of_similar_length(lengths_bp)]
    worst = max(batches, key=lambda each: sum(min(length, segment_bp) for length in each))
    longest = max(worst)
    counts = [PROBED - 1, PROBED] if longest > PROBED * segment_bp else []
    peaks = [probe.predict_peak([segment_bp * count] * len(worst)) for count in counts]
    if not peaks:
        peaks = [probe.predict_peak(worst)]
    probed = [min(length, 2 * segment_bp) for length in worst]
    bp_per_second = sum(probed) / probe.predict_seconds(probed)
    if len(peaks) == 1:
        return float(peaks[0]), bp_per_second
    segments = choice.costs.segments(longest)
    model = probe.module.model.config
    memory = 2 * len(worst) * model.num_memory_tokens * model.dim * 4
    codes = max(0, peaks[1] - peaks[0] - memory) if longest <= LONG_BP else 0
    held = min(segments, SEGMENTS_AT_ONCE) - PROBED
    return float(peaks[1]) + codes * (segments - PROBED) + memory * held, bp_per_second


def _of_lengths(lengths_bp: Sequence[int]) -> Iterator[Row]:
    """Yield how many there are, and a histogram whose bins double."""
    yield "examples", f"{len(lengths_bp)}", "examples"
    yield "total_length", f"{sum(lengths_bp)}", "bp"
    yield "shortest", f"{min(lengths_bp)}", "bp"
    yield "median_length", f"{median(lengths_bp):.0f}", "bp"
    yield "longest", f"{max(lengths_bp)}", "bp"
    bins = Counter(length.bit_length() - 1 for length in lengths_bp)
    for power in range(min(bins), max(bins) + 1):
        yield f"length_{2**power}_to_{2 ** (power + 1) - 1}", f"{bins[power]}", "examples"
