"""Memory and time of a training, measured before it starts; and the choice of the batch size.

``plan`` is the command of the same name; ``resolve_batch_size`` replaces ``batch_size = "auto"``.
Both run real steps on random sequences, with the lengths of the largest and of the median batch.
Sequences longer than ``MAX_SEGMENTS`` segments are cut to that many: a plan for a chromosome takes
seconds, too. Time is then linear in the base pairs of a batch, peak memory in its length.
"""

import logging
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from rmt_genomics.datasets import Batch, EncodedStore, Example, LabelSource, LengthBuckets
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted
from rmt_genomics.model.batching import batches_of_similar_length
from rmt_genomics.model.bidirectional_encoder import REPLAY_BEYOND, SEGMENTS_AT_ONCE, Replay
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.prediction.progress import duration
from rmt_genomics.rmt.replay import FRACTION_FOR_GRAPHS
from rmt_genomics.rmt.runtime import evaluating, free_bytes, measure_saved_bytes
from rmt_genomics.training.automatic import (
    Choice,
    TrainingPart,
    choose,
    read_initial,
    settled,
    shown,
)
from rmt_genomics.training.backbone import build_model, with_backbone_sizes
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.data_module import examples_in_epoch, read_and_split
from rmt_genomics.training.distributed import DistributedSetup
from rmt_genomics.training.fresh_data import open_simulated
from rmt_genomics.training.loss import WeightedLoss
from rmt_genomics.training.micro_batches import MicroBatches
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.optimizer import adamw
from rmt_genomics.training.runtime import tf32_matmul

logger = logging.getLogger(__name__)

MAX_SEGMENTS = 8
DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE = 8, 64
MIN_SPEEDUP = 1.15  # of a larger batch
_MOST_OF_TIME = 0.75  # of the present settings, that a coarser proposal may take
MIN_STEPS = 50  # per epoch
USABLE_FRACTION = 0.8  # of the free memory; the rest is for what is not measured
_MAX_SECONDS, _MAX_RUNS = 1.0, 3  # of repeating one measurement

Run = Callable[[list[int]], object]  # a computation on sequences of these lengths in bp


class Probe:
    """A model of the size in the settings, with its optimiser, to be measured."""

    def __init__(self, config: ExperimentConfig, device: torch.device) -> None:
        self.config, self.device, training = config, device, config.training
        model = build_model(config, config.classifier(("any", "other"), "binary"), for_timing=True)
        self.num_parameters = sum(weight.numel() for weight in model.parameters())
        self.segment_bp = model.config.rmt().tokens_per_segment * model.config.stride
        loss = WeightedLoss(torch.ones(2), is_multilabel=False)
        self.module = ClassifierModule(model, loss, training, seed=0, run_record={}).to(device)
        self.optimizer = adamw(
            model, learning_rate=training.learning_rate, weight_decay=training.weight_decay
        )
        self.train([64], training.replay)  # creates the optimiser's state
        weights = list(self.module.parameters())
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        tensors = [*weights, *self.module.buffers(), *filter(torch.is_tensor, states)]
        self.resting_bytes: int = sum(tensor.nbytes for tensor in tensors)
        gradients = sum(weight.nbytes for weight in weights if weight.requires_grad)
        self.fixed_bytes = self.resting_bytes + gradients  # what is allocated between steps

    def shorten(self, lengths_bp: list[int]) -> list[int]:
        """Scale lengths so that the longest has at most ``MAX_SEGMENTS`` segments."""
        limit = MAX_SEGMENTS * self.segment_bp
        longest = max(limit, *lengths_bp)
        return [max(1, length * limit // longest) for length in lengths_bp]

    def train(self, lengths_bp: list[int], replay: Replay) -> None:
        """Make one step as Lightning does, in the same order."""
        settings, module = self.config.training, self.module
        module.settings = settings.replace(replay=replay)
        module.micro_batches = MicroBatches()
        with self._autocast():
            loss = module.training_step(self._batch(lengths_bp), 0)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip:
            nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
        self.optimizer.step()

    def predict(self, lengths_bp: list[int]) -> None:
        """Make one prediction."""
        model, batch = self.module.model, self._batch(lengths_bp)
        with evaluating(model), torch.inference_mode():
            model(batch.codes, batch.lengths)

    def train_peak(self, lengths_bp: list[int], replay: Replay) -> float:
        """Return the peak bytes of training steps, everything included."""

        def two_steps(lengths_bp: list[int]) -> None:
            self.optimizer.zero_grad()
            for _ in range(2):  # the gradients of the first are still allocated in the second
                self.train(lengths_bp, replay)

        longest = max(lengths_bp)
        peak = self.peak(two_steps, lengths_bp, longest) + self.resting_bytes
        if replay == "auto" and longest > MAX_SEGMENTS * self.segment_bp:
            # Beyond a few segments, graphs take at most a fixed fraction of the free memory.
            limit = FRACTION_FOR_GRAPHS * free_bytes(self.device)
            peak = min(peak, self.train_peak(lengths_bp, replay=True) + limit)
        return peak

    def predict_peak(self, lengths_bp: list[int]) -> float:
        """Return the peak bytes of one prediction, everything included."""
        longest, weights = max(lengths_bp), self.module.model.parameters()
        # Beyond that length the memories of earlier segments are pooled, and only bases remain.
        pooled_bp = min(longest, SEGMENTS_AT_ONCE * self.segment_bp)
        peak = self.peak(self.predict, lengths_bp, pooled_bp) + 2 * (longest - pooled_bp)
        return peak + sum(weight.nbytes for weight in weights)

    def peak(self, run: Run, lengths_bp: list[int], longest: int) -> float:
        """Measure; where lengths had to be cut, extrapolate linearly up to ``longest`` bp."""
        measured = self.shorten(lengths_bp)
        peak = float(peak_bytes(lambda: run(measured), self.device))
        if longest > max(measured):
            half = [max(1, length // 2) for length in measured]
            increase = max(0.0, peak - peak_bytes(lambda: run(half), self.device))
            peak += 2 * increase * (longest / max(measured) - 1)
        return peak

    def seconds(self, run: Run, lengths_bp: list[int]) -> float:
        """Return the median time of a few runs, after a warm-up run."""
        times: list[float] = []
        while len(times) <= _MAX_RUNS and sum(times[1:]) < _MAX_SECONDS:
            start = time.perf_counter()
            run(lengths_bp)
            if self.device.type != "cpu":
                torch.accelerator.synchronize(self.device)
            times.append(time.perf_counter() - start)
        return median(times[1:])

    def graphs_that_fit(self, rows: int) -> int:
        """Return how many segments' graphs replay = "auto" would store for a full batch."""
        batch, model = self._batch([self.segment_bp] * rows), self.module.model
        with self._autocast():
            _, saved = measure_saved_bytes(lambda: model(batch.codes, batch.lengths, replay=False))
        return max(1, int(FRACTION_FOR_GRAPHS * free_bytes(self.device) / max(1, saved)))

    def _batch(self, lengths_bp: list[int]) -> Batch:
        rows, device = len(lengths_bp), self.device
        codes = torch.randint(0, 4, (rows, max(lengths_bp)), dtype=torch.uint8).to(device)
        targets = torch.zeros(rows, dtype=torch.int64, device=device)
        return Batch(codes, torch.tensor(lengths_bp, device=device), targets, ["random"] * rows)

    def _autocast(self) -> AbstractContextManager[object]:
        is_bf16 = self.config.training.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_bf16)


def peak_bytes(compute: Callable[[], object], device: torch.device) -> int:
    """Run a computation; return the peak bytes of its tensors.

    Tensors that existed before do not count. Measured by PyTorch's profiler on a CPU, and by the
    allocator on a GPU; 0 on other devices (mps).
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        compute()
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        compute()
        return 0
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it reports each start on stderr
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Profiler clears events")  # PyTorch 2.11, on cycles
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            compute()
    results: Any = profiler.profiler
    events = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())  # stable: keeps the order of equal times
    return int(max(accumulate((event.nbytes() for event in events), initial=0)))


@dataclass(frozen=True, slots=True)
class BatchChoice:
    """A batch size and its costs.

    ``rows`` examples are computed at a time: a power of two, or the whole batch. Times are those of
    a step, and of each base pair in it. ``peak`` is the peak bytes of any step; ``fits`` says
    whether so much memory is free.
    """

    batch_size: int
    rows: int
    step_seconds: float
    bp_seconds: float
    peak: float
    fits: bool

    def epoch_seconds(self, lengths_bp: Sequence[int]) -> float:
        """Return the training time of an epoch over examples of these lengths."""
        num_steps = -(-len(lengths_bp) // self.rows)
        return self.step_seconds * num_steps + self.bp_seconds * sum(lengths_bp)

    def speed(self, lengths_bp: Sequence[int]) -> float:
        """Return the base pairs per second of such an epoch."""
        return sum(lengths_bp) / self.epoch_seconds(lengths_bp)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings that may be used as they are."""

    name: str
    values: dict[str, int]
    """By dotted key; with them the training takes the time that is given here."""

    seconds: float
    """Of the training without its validations."""

    resolution_bp: int
    """Bases that a position of a segment stands for."""

    @property
    def settings(self) -> str:
        """The options of the command line."""
        return " ".join(f"--set {key}={value}" for key, value in self.values.items())


class Plan:
    """Lengths of examples in bp, measured costs and recommended settings.

    ``choice`` is for the given settings, ``auto_choice`` for training.batch_size = "auto".
    """

    def __init__(
        self, probe: Probe, train_bp: list[int], validation_bp: list[int], all_bp: list[int]
    ) -> None:
        self.probe, device = probe, probe.device
        self.choices: dict[str, Choice] = {}
        """Settings that were chosen by the data."""

        self.proposals: list[Proposal] = []
        self.train_bp, self.validation_bp, self.all_bp = train_bp, validation_bp, all_bp
        setting = probe.config.training.batch_size
        self.choice = self.auto_choice = choose_batch(probe, setting, train_bp)
        if setting != "auto":
            self.auto_choice = choose_batch(probe, "auto", train_bp)
        batches = [[all_bp[i] for i in batch] for batch in batches_of_similar_length(all_bp)]
        largest = max(batches, key=lambda batch: max(batch) * len(batch))
        measured = probe.shorten(largest)
        self.num_segments = -(-max(train_bp) // probe.segment_bp)  # of the longest example
        self.graphs_that_fit = probe.graphs_that_fit(min(self.choice.rows, len(train_bp)))
        # Without replay if a quarter of the free memory holds the graphs of the longest batch.
        is_small = self.num_segments <= min(self.graphs_that_fit, REPLAY_BEYOND)
        self.replay = "false" if is_small else "auto"
        self.predict_peak = probe.predict_peak(largest)
        self.predict_speed = sum(measured) / probe.seconds(probe.predict, measured)
        training = probe.config.training
        self.examples_per_epoch = examples_in_epoch(training, len(train_bp))
        self.validation_examples = min(
            len(validation_bp), training.validation_examples or len(validation_bp)
        )
        # An epoch, and a validation, may be a sample.
        train_seconds = self.choice.epoch_seconds(train_bp) / len(train_bp)
        validation_seconds = sum(validation_bp) / self.predict_speed / len(validation_bp)
        self.epoch_seconds = (
            train_seconds * self.examples_per_epoch + validation_seconds * self.validation_examples
        )
        self.free_bytes = free_bytes(device)
        # The fastest number format of this machine that trains as well as fp32.
        is_cuda = device.type == "cuda"
        is_fast = is_cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        self.precision = "bf16" if is_fast else "fp32"

    @property
    def stored_graphs(self) -> int:
        """Segments of the longest batch whose graphs are stored."""
        training = self.probe.config.training
        if training.replay is True:
            return 1
        is_short = self.num_segments <= REPLAY_BEYOND and training.bptt_depth == "all"
        is_unrolled = training.replay is False or is_short
        return self.num_segments if is_unrolled else min(self.num_segments, self.graphs_that_fit)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, value and unit; lengths have a histogram with bins between powers of two."""
        lengths, choice = self.all_bp, self.choice
        max_epochs = self.probe.config.training.max_epochs
        segments = [-(-length // self.probe.segment_bp) for length in lengths]
        yield "examples", f"{len(lengths)}", "examples"
        yield "total_length", f"{sum(lengths)}", "bp"
        yield "shortest", f"{min(lengths)}", "bp"
        yield "median_length", f"{median(lengths):.0f}", "bp"
        yield "longest", f"{max(lengths)}", "bp"
        bins = Counter(length.bit_length() - 1 for length in lengths)
        for power in range(min(bins), max(bins) + 1):
            yield f"length_{2**power}_to_{2 ** (power + 1) - 1}", f"{bins[power]}", "examples"
        yield "segment_length", f"{self.probe.segment_bp}", "bp"
        yield "segments_median", f"{median(segments):.0f}", "segments"
        yield "segments_most", f"{max(segments)}", "segments"
        yield "parameters", f"{self.probe.num_parameters}", "numbers"
        yield "device", self.probe.device.type, ""
        yield "free_memory", f"{self.free_bytes}", "bytes"
        yield "batch_size", f"{choice.batch_size}", "examples"
        yield "examples_at_a_time", f"{choice.rows}", "examples"
        yield "segments_kept", f"{self.stored_graphs}", "segments"
        yield "examples_per_epoch", f"{self.examples_per_epoch}", "examples"
        yield "validation_examples", f"{self.validation_examples}", "examples"
        yield "train_fixed_memory", f"{self.probe.fixed_bytes}", "bytes"
        yield "train_peak_memory", f"{choice.peak:.0f}", "bytes"
        yield "train_speed", f"{choice.speed(self.train_bp):.0f}", "bp/s"
        yield "epoch_time", f"{self.epoch_seconds:.1f}", "s"
        yield "training_time_at_most", f"{self.epoch_seconds * max_epochs:.0f}", "s"
        yield "predict_peak_memory", f"{self.predict_peak:.0f}", "bytes"
        yield "predict_speed", f"{self.predict_speed:.0f}", "bp/s"
        yield "predict_time", f"{sum(lengths) / self.predict_speed:.1f}", "s"
        yield "chosen_batch_size", f"{self.auto_choice.batch_size}", "examples"
        yield "chosen_examples_at_a_time", f"{self.auto_choice.rows}", "examples"
        yield "chosen_replay", self.replay, ""
        yield "chosen_precision", self.precision, ""
        for key, chosen in self.choices.items():
            yield key, shown(chosen.value), ""
        for each in self.proposals:
            yield f"proposal_{each.name}", each.settings, ""
            yield f"proposal_{each.name}_time", f"{each.seconds:.0f}", "s"
            yield f"proposal_{each.name}_resolution", f"{each.resolution_bp}", "bp"

    def summary(self) -> Iterator[str]:
        """Yield sentences on whether the training fits, and with which settings to train."""
        choice, auto_choice, config = self.choice, self.auto_choice, self.probe.config
        free = f" of {self.free_bytes / 2**30:.1f} GiB free" if self.free_bytes else ""
        yield (
            f"Training needs about {choice.peak / 2**30:.2f} GiB{free} on {self.probe.device.type}"
            f"{'' if choice.fits else ', which is too much'}; an epoch takes about "
            f"{self.epoch_seconds:.0f} s."
        )
        if config.curriculum.segments:
            yield "Estimated for whole sequences: earlier stages of the curriculum need less."
        if config.training.compile:
            yield "Estimated without training.compile: compiled layers should need less."
        recommended = {"training.precision": self.precision, "training.replay": self.replay}
        if not choice.fits:
            recommended["training.batch_size"] = "auto"  # which computes fewer examples at a time
        elif auto_choice.speed(self.train_bp) > MIN_SPEEDUP * choice.speed(self.train_bp):
            recommended["training.batch_size"] = str(auto_choice.batch_size)
        changes = [
            f" --set {key}={value}"
            for key, value in recommended.items()
            if str(config.flat()[key]).lower() != value
        ]
        for key, chosen in self.choices.items():
            yield f"{key} {shown(chosen.value)}: {chosen.reason}"
        if self.choices and config.model.features == "none":
            yield "model.features auto: the training chooses them, which takes seconds."
        for each in self.proposals:
            yield (
                f"{each.name}: {each.settings}: at most about {duration(each.seconds)}, and "
                f"a position of a segment is {each.resolution_bp} bp"
            )
        command = f"rmt-genomics train ...{''.join(changes)}"
        yield f"For this machine: {command if changes else 'the present settings.'}"


def plan(
    fasta: Path,
    config: ExperimentConfig,
    *,
    labels: Path | LabelSource | None = None,
    device: str = "auto",
) -> Plan:
    """Read the lengths, measure a few short steps on random sequences, and extrapolate.

    Memory is that of tensors; the program itself (Python, PyTorch) needs more. The stages of a
    curriculum shorten examples, which is not taken into account. The arguments and errors are those
    of ``train``, but without labels every record is an example, split at random by the fraction in
    the settings.
    """
    torch_device, choices = choose_device(device), dict[str, Choice]()
    config, _ = read_initial(config)
    config = with_backbone_sizes(config)
    if config.simulation.is_on:
        choices = choose(config, TrainingPart.of_simulation(config.simulation))
    lengths = _lengths(fasta, settled(config, choices), labels)
    if not config.simulation.is_on:
        choices = choose(config, TrainingPart(lengths[0], len(lengths[1])))
    config = settled(config, choices)
    with tf32_matmul(torch_device.type):
        result = Plan(Probe(config, torch_device), *lengths)
        result.choices = choices
        result.proposals = list(_proposals(result))
    return result


def _proposals(plan: Plan) -> Iterator[Proposal]:
    """Yield the settings as they are, and with a coarser and a finer resolution.

    A coarser one that saves little time is left out.
    """
    config = plan.probe.config
    pool, stride = config.model.stem_pool, config.tokenizer.stride
    steps = plan.examples_per_epoch / len(plan.train_bp) * config.training.max_epochs
    longest_bp, fixed = max(plan.train_bp), {"training.max_epochs": config.training.max_epochs}
    if config.training.examples_per_epoch is not None:
        fixed["training.examples_per_epoch"] = config.training.examples_per_epoch
    for name, other in (("quick", 4 * pool), ("default", pool), ("fine", pool // 4)):
        if (
            other < 1
            or (other > pool and other * stride > longest_bp)
            or not config.model.stem_width
        ):
            continue
        choice = plan.choice
        if other != pool:
            probe = Probe(
                config.replace(model=config.model.replace(stem_pool=other)), plan.probe.device
            )
            choice = choose_batch(probe, plan.choice.batch_size, plan.train_bp)
        seconds = steps * choice.epoch_seconds(plan.train_bp)
        if other > pool and seconds > _MOST_OF_TIME * steps * plan.choice.epoch_seconds(
            plan.train_bp
        ):
            continue
        yield Proposal(name, {"model.stem_pool": other, **fixed}, seconds, other * stride)


def _lengths(
    fasta: Path, config: ExperimentConfig, labels: Path | LabelSource | None
) -> tuple[list[int], list[int], list[int]]:
    """Return the lengths in bp of the training, the validation and all examples."""
    if config.simulation.is_on:
        if labels is not None:
            config.check_no_labels()
        fresh = open_simulated(fasta, config, seed=0).fresh
        train, validation = (fresh.lengths(part, 0).tolist() for part in ("train", "validation"))
        return train, validation, train + validation
    if labels is not None:
        _, examples, split = read_and_split(fasta, LabelSource.of(labels), config, seed=0)
        parts = (split.train, split.validation, examples)
        train, validation, everything = ([len(each.interval) for each in part] for part in parts)
        return train, validation, everything
    store = EncodedStore.open(fasta, progress=sys.stderr.isatty(), names=config.data.names)
    records = [
        Example(Interval(record.name, 0, record.length), whole=True, labels=())
        for record in store.records()
    ]
    if config.data.windows is not None:
        records = config.data.windows.cut(records)
    lengths = [len(record.interval) for record in records]
    if len(lengths) < 2:
        raise DataError(
            f"{fasta}: has {counted(len(lengths), 'record')}, but a training part and a "
            "validation part need one each. Pass --labels with intervals, or more records."
        )
    shuffled = np.random.default_rng(0).permutation(lengths).tolist()
    held_out = max(1, round(config.data.validation_fraction * len(lengths)))
    return shuffled[held_out:] or shuffled[-1:], shuffled[:held_out], lengths


def resolve_batch_size(
    config: ExperimentConfig, lengths_bp: Sequence[int], device: str, distributed: DistributedSetup
) -> tuple[ExperimentConfig, int | None]:
    """Replace a batch size of "auto" by a number, and log it; also return the micro-batch size.

    Only rank 0 measures; the others get both numbers from it once the process group exists
    (``SplitDataModule.setup``, ``ClassifierModule.setup``). None = whole batches.
    """
    training = config.training
    if training.batch_size != "auto":
        return config, None
    if not distributed.is_rank_zero:
        return config.replace(training=training.replace(batch_size=1)), None
    with tf32_matmul(device):  # as in the training
        probe = Probe(config, torch.device(device))
        choice = choose_batch(probe, "auto", lengths_bp, processes=distributed.devices)
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
    return config.replace(training=training.replace(batch_size=choice.batch_size)), rows


def choose_batch(
    probe: Probe, setting: int | Literal["auto"], lengths_bp: Sequence[int], *, processes: int = 1
) -> BatchChoice:
    """Measure a few short steps and choose; a number in the settings is not changed.

    A batch is doubled while that is faster and fits, and an epoch has enough steps. ``processes``
    divide each batch, and on a CPU the memory.
    """
    if setting != "auto":
        return _assess(probe, lengths_bp, setting, processes)
    choice = _assess(probe, lengths_bp, min(DEFAULT_BATCH_SIZE, len(lengths_bp)), processes)
    epoch_size = examples_in_epoch(probe.config.training, len(lengths_bp))
    while choice.rows == choice.batch_size:
        double = 2 * choice.batch_size
        is_small = double <= min(MAX_BATCH_SIZE, epoch_size // MIN_STEPS)
        if not (is_small and _fits(2 * choice.peak - probe.fixed_bytes, probe.device)):
            break
        larger = _assess(probe, lengths_bp, double, processes)
        is_faster = larger.speed(lengths_bp) >= MIN_SPEEDUP * choice.speed(lengths_bp)
        if not is_faster or larger.rows < double:
            break
        choice = larger
    return choice


def _assess(
    probe: Probe, lengths_bp: Sequence[int], batch_size: int, processes: int
) -> BatchChoice:
    """Measure the costs of one batch size, and how many of its examples fit at a time."""
    num_examples = min(batch_size, len(lengths_bp))
    rows = max(1, -(-num_examples // processes))
    while True:
        buckets = LengthBuckets(lengths_bp, rows, shuffle=True, seed=0)
        batches = [[lengths_bp[index] for index in batch] for batch in buckets]
        largest = max(batches, key=lambda batch: (max(batch) * len(batch), sum(batch)))
        peak = probe.train_peak(largest, probe.config.training.replay)
        fits = _fits(peak, probe.device, processes)
        if rows == 1 or fits:
            break
        rows = 1 << ((rows - 1).bit_length() - 1)  # the next lower power of two
    whole_rows = batch_size if rows * processes >= num_examples else rows
    median_batch = sorted(batches, key=sum)[len(batches) // 2]
    times = _train_seconds(probe, largest, median_batch)
    return BatchChoice(batch_size, whole_rows, *times, peak, fits)


def _train_seconds(
    probe: Probe, largest: list[int], median_batch: list[int]
) -> tuple[float, float]:
    """Return seconds per step and per base pair, from two measured steps."""
    step = partial(probe.train, replay=probe.config.training.replay)
    long, short = probe.shorten(largest), probe.shorten(median_batch)
    if 4 * sum(short) > 3 * sum(long):  # too similar for a line through both
        short = [max(1, length // 2) for length in long]
    seconds, short_seconds = probe.seconds(step, long), probe.seconds(step, short)
    per_bp = (seconds - short_seconds) / max(1, sum(long) - sum(short))
    if not 0 < per_bp * sum(long) <= seconds:  # clocks are noisy
        per_bp = seconds / sum(long)
    return seconds - per_bp * sum(long), per_bp


def _fits(num_bytes: float, device: torch.device, processes: int = 1) -> bool:
    """Whether the free memory is sufficient; True on devices that do not report it (mps)."""
    free = free_bytes(device)
    sharing = processes if device.type == "cpu" else 1
    return free == 0 or num_bytes <= USABLE_FRACTION * free / sharing
