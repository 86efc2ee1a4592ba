"""Memory and time of a training, estimated before it starts; and the choice of the batch size.

``plan`` is the command of the same name; ``resolve_batch_size`` replaces ``batch_size = "auto"``.
Both run real steps on random sequences (``profiling``) with the lengths of the largest batch and
of the median batch. Time is then linear in the base pairs of a batch, peak memory in its length.
"""

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch

from rmt_genomics.datasets import EncodedStore, LabelSource, LengthBuckets
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted
from rmt_genomics.model.batching import batches_of_similar_length
from rmt_genomics.model.bidirectional_encoder import REPLAY_BEYOND, SEGMENTS_AT_ONCE, Replay
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.rmt.replay import FRACTION_FOR_GRAPHS
from rmt_genomics.rmt.runtime import free_bytes
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.data_module import read_and_split
from rmt_genomics.training.distributed import DistributedSetup
from rmt_genomics.training.profiling import MAX_SEGMENTS, Probe
from rmt_genomics.training.runtime import tf32_matmul

logger = logging.getLogger(__name__)

Row = tuple[str, str, str]
"""Key, value, unit."""

DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE = 8, 64
MIN_SPEEDUP = 1.15  # of a larger batch
USABLE_FRACTION = 0.8
"""Fraction of the free memory that a plan may use; the rest is for what is not measured."""

_MIN_STEPS = 50  # per epoch
_MAX_EPOCHS = 3  # in which the batch with the highest peak is searched


@dataclass(frozen=True, slots=True)
class BatchChoice:
    """A batch size, its micro-batches and its costs."""

    batch_size: int
    """Examples in a batch."""

    rows: int
    """Examples computed at a time; a power of two, or the whole batch."""

    seconds_per_step: float
    """Time of a step whatever its base pairs: mostly the optimiser."""

    seconds_per_bp: float
    """Time of a step for each base pair of its examples."""

    peak: float
    """Peak bytes of any step of the run."""

    fixed_bytes: int
    """Part of the peak that does not depend on the batch."""

    fits: bool
    """Whether the peak fits into the free memory."""

    def epoch_seconds(self, lengths_bp: Sequence[int]) -> float:
        """Return the training time of an epoch over examples of these lengths."""
        steps = len(batches_of(lengths_bp, self.rows, 1))
        return self.seconds_per_step * steps + self.seconds_per_bp * sum(lengths_bp)


@dataclass(frozen=True, slots=True)
class Plan:
    """Lengths, measured costs and recommended settings; ``rows`` is the table of them."""

    config: ExperimentConfig
    device: torch.device
    train_bp: list[int]
    """Lengths of the training examples."""

    validation_bp: list[int]
    """Lengths of the validation examples."""

    all_bp: list[int]
    """Lengths of all examples, or of all records if there are no labels."""

    num_parameters: int
    segment_bp: int
    """Base pairs in one segment."""

    graphs_that_fit: int
    """Segments whose graphs replay = "auto" would store for a full batch."""

    choice: BatchChoice
    """For the given settings."""

    auto_choice: BatchChoice
    """For the settings with training.batch_size = "auto"."""

    predict_peak: float
    predict_bp_per_second: float
    free_bytes: int

    @property
    def epoch_seconds(self) -> float:
        """Time of an epoch: training and validation."""
        validation = sum(self.validation_bp) / self.predict_bp_per_second
        return self.choice.epoch_seconds(self.train_bp) + validation

    @property
    def precision(self) -> str:
        """The fastest number format of this machine that trains as well as fp32."""
        is_fast = self.device.type == "cuda" and torch.cuda.is_bf16_supported(
            including_emulation=False
        )
        return "bf16" if is_fast else "fp32"

    @property
    def replay(self) -> str:
        """``false`` if a quarter of the free memory holds the graphs of the longest batch."""
        segments = -(-max(self.train_bp) // self.segment_bp)
        return "false" if segments <= min(self.graphs_that_fit, REPLAY_BEYOND) else "auto"

    @property
    def stored_graphs(self) -> int:
        """Segments of the longest batch whose graphs are stored."""
        segments, training = -(-max(self.train_bp) // self.segment_bp), self.config.training
        is_short = segments <= REPLAY_BEYOND and training.bptt_depth == "all"
        if training.replay is False or (training.replay == "auto" and is_short):
            return segments
        return 1 if training.replay is True else min(segments, self.graphs_that_fit)

    def rows(self) -> Iterator[Row]:
        """Yield key, value, unit."""
        counts = sorted(-(-length // self.segment_bp) for length in self.all_bp)
        yield from _length_rows(self.all_bp)
        yield "segment_length", f"{self.segment_bp}", "bp"
        yield "segments_median", f"{median(counts):.0f}", "segments"
        yield "segments_most", f"{counts[-1]}", "segments"
        yield "parameters", f"{self.num_parameters}", "numbers"
        yield "device", self.device.type, ""
        yield "free_memory", f"{self.free_bytes}", "bytes"
        yield "batch_size", f"{self.choice.batch_size}", "examples"
        yield "examples_at_a_time", f"{self.choice.rows}", "examples"
        yield "segments_kept", f"{self.stored_graphs}", "segments"
        yield "train_fixed_memory", f"{self.choice.fixed_bytes}", "bytes"
        yield "train_peak_memory", f"{self.choice.peak:.0f}", "bytes"
        yield "train_speed", f"{speed(self.choice, self.train_bp):.0f}", "bp/s"
        yield "epoch_time", f"{self.epoch_seconds:.1f}", "s"
        yield (
            "training_time_at_most",
            f"{self.epoch_seconds * self.config.training.max_epochs:.0f}",
            "s",
        )
        yield "predict_peak_memory", f"{self.predict_peak:.0f}", "bytes"
        yield "predict_speed", f"{self.predict_bp_per_second:.0f}", "bp/s"
        yield "predict_time", f"{sum(self.all_bp) / self.predict_bp_per_second:.1f}", "s"
        yield "chosen_batch_size", f"{self.auto_choice.batch_size}", "examples"
        yield "chosen_examples_at_a_time", f"{self.auto_choice.rows}", "examples"
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
    """Read the lengths, measure a few short steps on random sequences, and extrapolate.

    Memory is that of tensors; the program itself (Python, PyTorch) needs more. The stages of a
    curriculum shorten examples, which is not taken into account.

    Args:
        fasta: A file of sequences, or a folder of such files.
        config: Settings.
        labels: Labels, for the lengths of the examples and their split; None = every record is an
            example, split at random by the fraction in the settings.
        device: auto, cpu, cuda or mps.
        seed: Seed of the split.

    Raises:
        ConfigError: If the device does not exist.
        DataError: If the data cannot be used.
    """
    torch_device, config = choose_device(device), config.resolved()
    train_bp, validation_bp, all_bp = _lengths(fasta, config, labels, seed=seed)
    with tf32_matmul(torch_device.type):
        choice = auto_choice = choose_batch(config, train_bp, torch_device)
        if config.training.batch_size != "auto":
            auto_choice = choose_batch(_with_batch_size(config, "auto"), train_bp, torch_device)
        probe = Probe(config, torch_device)
        peak, bp_per_second = _prediction(probe, all_bp)
        graph = max(1, probe.graph_bytes(min(choice.rows, len(train_bp))))
    return Plan(
        config=config,
        device=torch_device,
        train_bp=train_bp,
        validation_bp=validation_bp,
        all_bp=all_bp,
        num_parameters=sum(weight.numel() for weight in probe.module.model.parameters()),
        segment_bp=probe.segment_bp,
        graphs_that_fit=max(1, int(FRACTION_FOR_GRAPHS * free_bytes(torch_device) / graph)),
        choice=choice,
        auto_choice=auto_choice,
        predict_peak=peak,
        predict_bp_per_second=bp_per_second,
        free_bytes=free_bytes(torch_device),
    )


def _lengths(
    fasta: Path, config: ExperimentConfig, labels: Path | LabelSource | None, *, seed: int
) -> tuple[list[int], list[int], list[int]]:
    """Return the lengths in bp of the training, the validation and all examples."""
    if labels is not None:
        _, examples, split = read_and_split(fasta, LabelSource.of(labels), config, seed=seed)
        train, validation, all_lengths = (
            [len(example.interval) for example in part]
            for part in (split.train, split.validation, examples)
        )
        return train, validation, all_lengths
    store = EncodedStore.open(fasta, progress=sys.stderr.isatty())
    lengths = [record.length for record in store.records()]
    if len(lengths) < 2:
        raise DataError(
            f"{fasta}: has {counted(len(lengths), 'record')}, but a training part and a "
            "validation part need one each. Pass --labels with intervals, or more records."
        )
    order = np.random.default_rng(seed).permutation(len(lengths)).tolist()
    held_out = max(1, round(config.data.validation_fraction * len(lengths)))
    shuffled = [lengths[index] for index in order]
    return shuffled[held_out:] or shuffled[-1:], shuffled[:held_out], lengths


def _prediction(probe: Probe, lengths_bp: Sequence[int]) -> tuple[float, float]:
    """Return the peak bytes and the base pairs per second of a prediction."""
    batches = [[lengths_bp[i] for i in batch] for batch in batches_of_similar_length(lengths_bp)]
    largest = max(batches, key=lambda batch: max(batch) * len(batch))
    measured, longest = _shortened(probe, largest), max(largest)
    bp_per_second = sum(measured) / probe.predict_seconds(measured)
    peak = float(probe.predict_peak(measured))
    if (longest_measured := max(measured)) < longest:
        half = probe.predict_peak([max(1, length // 2) for length in measured])
        per_bp = max(0.0, peak - half) / (longest_measured / 2)
        # Beyond that length the memories of earlier segments are pooled, and only bases remain.
        pooled_bp = max(longest_measured, min(longest, SEGMENTS_AT_ONCE * probe.segment_bp))
        peak += per_bp * (pooled_bp - longest_measured) + 2 * (longest - pooled_bp)
    return peak, bp_per_second


def summary(plan: Plan) -> str:
    """Return sentences on whether the training fits, and with which settings to train."""
    is_enough = fits(plan.choice.peak, plan.device) and plan.choice.fits
    recommended = {"training.precision": plan.precision, "training.replay": plan.replay}
    auto_speed = speed(plan.auto_choice, plan.train_bp)
    if auto_speed > MIN_SPEEDUP * speed(plan.choice, plan.train_bp):
        recommended["training.batch_size"] = str(plan.auto_choice.batch_size)
    if not is_enough:
        recommended["training.batch_size"] = "auto"  # which computes fewer examples at a time
    current = plan.config.flat()
    settings = [
        f"--set {key}={value}"
        for key, value in recommended.items()
        if str(current[key]).lower() != value
    ]
    free = f" of {plan.free_bytes / 2**30:.1f} GiB free" if plan.free_bytes else ""
    lines = [
        f"Training needs about {plan.choice.peak / 2**30:.2f} GiB{free} on {plan.device.type}"
        f"{'' if is_enough else ', which is too much'}; an epoch takes about "
        f"{plan.epoch_seconds:.0f} s.",
    ]
    if plan.config.curriculum.segments:
        lines.append("Estimated for whole sequences: earlier stages of the curriculum need less.")
    if plan.config.training.compile:
        lines.append("Estimated without training.compile: compiled layers should need less.")
    if settings:
        lines.append(f"For this machine: rmt-genomics train ... {' '.join(settings)}")
    else:
        lines.append("For this machine: the present settings.")
    return "\n".join(lines)


def resolve_batch_size(
    config: ExperimentConfig,
    lengths_bp: Sequence[int],
    device: str,
    distributed: DistributedSetup,
) -> tuple[ExperimentConfig, int | None]:
    """Replace a batch size of "auto" by a number, and log it.

    Only rank 0 measures; the others get both numbers from it once the process group exists
    (``SplitDataModule.setup``, ``ClassifierModule.setup``).

    Args:
        config: Settings.
        lengths_bp: Lengths of the training examples.
        device: Where the training runs.
        distributed: The processes that train together.

    Returns:
        The settings with a number, and the size of micro-batches; None = whole batches.
    """
    if config.training.batch_size != "auto":
        return config, None
    if not distributed.is_rank_zero:
        return _with_batch_size(config, 1), None
    with tf32_matmul(device):  # as in the training
        choice = choose_batch(
            config, lengths_bp, torch.device(device), processes=distributed.devices
        )
    rows = choice.rows if choice.rows < choice.batch_size else None
    at_a_time = f", {rows} at a time" if rows else ""
    logger.info(
        f"training.batch_size auto: {counted(choice.batch_size, 'example')}{at_a_time}; a step "
        f"needs about {choice.peak / 2**20:,.1f} MiB."
    )
    if not choice.fits:
        warnings.warn(
            f"one example at a time needs about {choice.peak / 2**20:,.0f} MiB, which is more than "
            f"{USABLE_FRACTION:.0%} of the free memory. Set training.replay to true, or lower "
            "model.segment_length or model.dim.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
    return _with_batch_size(config, choice.batch_size), rows


def choose_batch(
    config: ExperimentConfig,
    lengths_bp: Sequence[int],
    device: torch.device,
    *,
    processes: int = 1,
) -> BatchChoice:
    """Measure a few short steps and choose; a number in the settings is not changed.

    Args:
        config: Settings.
        lengths_bp: Lengths of the training examples.
        device: Where the training runs.
        processes: Number of processes that divide each batch, and on a CPU the memory.
    """
    probe = Probe(config, device)
    setting = config.training.batch_size
    size = min(DEFAULT_BATCH_SIZE, len(lengths_bp)) if setting == "auto" else setting
    choice = assess(probe, lengths_bp, size, processes=processes)
    while (
        setting == "auto"
        and choice.rows == choice.batch_size
        and _may_grow(choice, lengths_bp, device)
    ):
        larger = assess(probe, lengths_bp, 2 * choice.batch_size, processes=processes)
        speedup = speed(larger, lengths_bp) / speed(choice, lengths_bp)
        if speedup < MIN_SPEEDUP or larger.rows < larger.batch_size:
            break
        choice = larger
    return choice


def assess(
    probe: Probe, lengths_bp: Sequence[int], batch_size: int, *, processes: int = 1
) -> BatchChoice:
    """Measure the costs of one batch size, and how many of its examples fit at a time."""
    num_examples = min(batch_size, len(lengths_bp))
    rows = max(1, -(-num_examples // processes))
    epochs = min(_MAX_EPOCHS, probe.config.training.max_epochs)
    while True:
        batches = batches_of(lengths_bp, rows, epochs)
        largest = max(batches, key=lambda batch: (max(batch) * len(batch), sum(batch)))
        peak = _train_peak(probe, largest)
        is_enough = fits(peak, probe.device, processes=processes)
        if rows == 1 or is_enough:
            break
        rows = 1 << ((rows - 1).bit_length() - 1)  # the next lower power of two
    median_batch = sorted(batches, key=sum)[len(batches) // 2]
    per_step, per_bp = _train_seconds(probe, largest, median_batch)
    is_whole = rows * processes >= num_examples
    return BatchChoice(
        batch_size=batch_size,
        rows=batch_size if is_whole else rows,
        seconds_per_step=per_step,
        seconds_per_bp=per_bp,
        peak=peak,
        fixed_bytes=probe.fixed_bytes,
        fits=is_enough,
    )


def _train_seconds(
    probe: Probe, largest: list[int], median_batch: list[int]
) -> tuple[float, float]:
    """Return seconds per step and per base pair, from two measured steps."""
    long, short = _shortened(probe, largest), _shortened(probe, median_batch)
    if 4 * sum(short) > 3 * sum(long):  # too similar for a line through both
        short = [max(1, length // 2) for length in long]
    seconds, short_seconds = probe.train_seconds(long), probe.train_seconds(short)
    per_bp = (seconds - short_seconds) / max(1, sum(long) - sum(short))
    if not 0 < per_bp * sum(long) <= seconds:  # clocks are noisy
        per_bp = seconds / sum(long)
    return seconds - per_bp * sum(long), per_bp


def _train_peak(probe: Probe, lengths_bp: list[int]) -> float:
    """Return the peak bytes of a training step, extrapolated if it is a long one."""
    replay = probe.config.training.replay
    peak = _peak_at(probe, lengths_bp, replay)
    if replay == "auto" and max(lengths_bp) > MAX_SEGMENTS * probe.segment_bp:
        # Beyond a few segments, graphs take at most a fixed fraction of the free memory.
        limit = FRACTION_FOR_GRAPHS * free_bytes(probe.device)
        peak = min(peak, _peak_at(probe, lengths_bp, True) + limit)  # noqa: FBT003 (a setting)
    return peak


def _peak_at(probe: Probe, lengths_bp: list[int], replay: Replay) -> float:
    measured = sorted(_shortened(probe, lengths_bp))
    peak = float(probe.train_peak(measured, replay))
    if (factor := max(lengths_bp) / max(measured)) > 1:
        half = probe.train_peak([max(1, length // 2) for length in measured], replay)
        peak += 2 * max(0.0, peak - half) * (factor - 1)
    return peak


def _shortened(probe: Probe, lengths_bp: list[int]) -> list[int]:
    """Scale lengths so that the longest has at most ``MAX_SEGMENTS`` segments."""
    limit, longest = MAX_SEGMENTS * probe.segment_bp, max(lengths_bp)
    if longest <= limit:
        return lengths_bp
    return [max(1, length * limit // longest) for length in lengths_bp]


def fits(num_bytes: int | float, device: torch.device, *, processes: int = 1) -> bool:
    """Whether the free memory is sufficient; True on devices that do not report it (mps)."""
    free = free_bytes(device)
    sharing = processes if device.type == "cpu" else 1
    return free == 0 or num_bytes <= USABLE_FRACTION * free / sharing


def batches_of(lengths_bp: Sequence[int], batch_size: int, epochs: int) -> list[list[int]]:
    """Return the lengths in each batch of the first epochs (seed 0)."""
    buckets = LengthBuckets(lengths_bp, batch_size, shuffle=True, seed=0)
    batches: list[list[int]] = []
    for epoch in range(epochs):
        buckets.set_epoch(epoch)
        batches += [[lengths_bp[index] for index in batch] for batch in buckets]
    return batches


def speed(choice: BatchChoice, lengths_bp: Sequence[int]) -> float:
    """Return the base pairs per second of the training."""
    return sum(lengths_bp) / choice.epoch_seconds(lengths_bp)


def _may_grow(choice: BatchChoice, lengths_bp: Sequence[int], device: torch.device) -> bool:
    """Whether twice the batch size leaves enough steps per epoch, and probably fits."""
    double = 2 * choice.batch_size
    peak = choice.fixed_bytes + 2 * (choice.peak - choice.fixed_bytes)
    has_steps = double <= MAX_BATCH_SIZE and len(lengths_bp) >= _MIN_STEPS * double
    return has_steps and fits(peak, device)


def _with_batch_size(
    config: ExperimentConfig, batch_size: int | Literal["auto"]
) -> ExperimentConfig:
    return config.replace(training=config.training.replace(batch_size=batch_size))


def _length_rows(lengths_bp: Sequence[int]) -> Iterator[Row]:
    """Yield statistics of the lengths, and a histogram with bins between powers of two."""
    yield "examples", f"{len(lengths_bp)}", "examples"
    yield "total_length", f"{sum(lengths_bp)}", "bp"
    yield "shortest", f"{min(lengths_bp)}", "bp"
    yield "median_length", f"{median(lengths_bp):.0f}", "bp"
    yield "longest", f"{max(lengths_bp)}", "bp"
    bins = Counter(length.bit_length() - 1 for length in lengths_bp)
    for power in range(min(bins), max(bins) + 1):
        yield f"length_{2**power}_to_{2 ** (power + 1) - 1}", f"{bins[power]}", "examples"
