"""Time and memory of training steps, extrapolated from a few short ones.

A step's time is ``overhead + a x segments + b x base pairs``; its peak of memory is linear in the
number of segments, with one line for stored graphs of all segments and one for replay. The
measured steps have two and three segments, so a record of a million segments costs no more to plan
than one of four.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from rmt_genomics.datasets import Batch
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.bidirectional_encoder import REPLAY_BEYOND, Replay
from rmt_genomics.rmt.replay import FRACTION_FOR_GRAPHS
from rmt_genomics.rmt.runtime import evaluating, free_bytes, measure_saved_bytes
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.loss import WeightedLoss
from rmt_genomics.training.micro_batches import MicroBatches
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.optimizer import adamw

PROBED = 3
"""Segments of the longest measured step; examples that are not longer are measured directly."""

USABLE_FRACTION = 0.8
"""Fraction of the free memory that a plan may use; the rest is for what is not measured."""

_MAX_SECONDS = 1.0  # of repeating one measurement
_MAX_RUNS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity that is linear in the number of segments, by its value at the longest probe."""

    at_probe: float
    slope: float
    probed: int = PROBED

    def at(self, segments: int | float) -> float:
        """Return the quantity for a number of segments."""
        return self.at_probe + self.slope * (segments - self.probed)


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of steps with batches of one size.

    Args:
        config: Settings.
        rows: Examples in the measured batches.
        segment_bp: Base pairs in one segment.
        overhead: Seconds per step without any segment: mostly the optimiser.
        per_segment: Seconds per segment, whatever its size.
        per_bp: Seconds per base pair of each example.
        forward_per_bp: Seconds per base pair in prediction.
        replay_ratio: Time of a segment with replay relative to one without.
        unrolled: Peak bytes when the graphs of all segments are stored.
        replayed: Peak bytes with replay of all segments but one.
        fitting: Segments whose graphs replay = "auto" would store.
        fixed_bytes: Part of the peak that does not depend on the batch.
        memory_fraction: Fraction of memory tokens in the positions of a full segment.
    """

    config: ExperimentConfig
    rows: int
    segment_bp: int
    overhead: float
    per_segment: float
    per_bp: float
    forward_per_bp: float
    replay_ratio: float
    unrolled: Line
    replayed: Line
    fitting: int
    fixed_bytes: int
    memory_fraction: float

    def segments(self, length_bp: int) -> int:
        """Return the number of segments of an example."""
        return max(1, -(-length_bp // self.segment_bp))

    def stored_graphs(self, segments: int) -> int:
        """Return the number of segments of a batch whose graphs are stored."""
        training = self.config.training
        is_long = segments > REPLAY_BEYOND or training.bptt_depth != "all"
        if training.replay is False or (training.replay == "auto" and not is_long):
            return segments
        return 1 if training.replay is True else min(segments, self.fitting)

    def seconds(self, lengths_bp: Sequence[int]) -> float:
        """Return the time of a training step over examples of these lengths."""
        segments, bp = self.segments(max(lengths_bp)), sum(lengths_bp)
        work = self.per_segment * segments + self.per_bp * bp
        crossed = self._crossed(segments)
        replayed = max(0, crossed - self.stored_graphs(segments)) / segments
        backward = crossed / segments
        slowdown = 1 + (self.replay_ratio - 1) * replayed / backward
        forward_only = self.forward_per_bp * bp * (1 - backward)
        return self.overhead + work * backward * slowdown + forward_only

    def peak(self, lengths_bp: Sequence[int]) -> float:
        """Return the peak bytes of a training step, for examples longer than the probes."""
        longest = self.segments(max(lengths_bp))
        stored = self.stored_graphs(longest)
        if stored == longest:
            return self.unrolled.at(self._mean_graphs(lengths_bp, 0))
        graphs = self._mean_graphs(lengths_bp, longest - stored)
        graph_bytes = (self.unrolled.slope - self.replayed.slope) * max(0.0, graphs - 1)
        return self.replayed.at(longest) + graph_bytes

    def peak_of_rows(self, peak: float, rows: int) -> float:
        """Scale a peak of ``self.rows`` examples to another number of examples."""
        return self.fixed_bytes + (peak - self.fixed_bytes) * rows / self.rows

    def _mean_graphs(self, lengths_bp: Sequence[int], begin: int) -> float:
        """Return the mean size of an example's graphs from segment ``begin`` on, in full segments.

        A last segment has fewer tokens, but all memory tokens.
        """
        total = 0.0
        for length in lengths_bp:
            if (count := self.segments(length) - begin) > 0:
                tokens = length / self.segment_bp - begin
                total += self.memory_fraction * count + (1 - self.memory_fraction) * tokens
        return total / len(lengths_bp)

    def _crossed(self, segments: int) -> int:
        """Return the number of segments that a gradient reaches; earlier ones are only read."""
        depth = self.config.training.bptt_depth
        if depth == "all" or self.config.model.pooling != "last":
            return segments
        return min(segments, depth)


class Probe:
    """A model of the size in the settings, with its optimiser, to be measured.

    Args:
        config: Settings.
        device: Where it runs.
    """

    def __init__(self, config: ExperimentConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        model = RMTClassifier(config.classifier(("any", "other"), "binary"))
        loss = WeightedLoss(torch.ones(2), is_multilabel=False)
        self.module = ClassifierModule(model, loss, config.training, seed=0, run_record={}).to(
            device
        )
        self.optimizer = adamw(
            self.module.model,
            learning_rate=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
        )
        self._train_step([64], replay=True)  # creates the optimiser's state

    @property
    def resting_bytes(self) -> int:
        """Weights, buffers and the optimiser's state."""
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        tensors = [*self.module.parameters(), *self.module.buffers(), *states]
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))

    @property
    def fixed_bytes(self) -> int:
        """The resting bytes and the gradients: what is allocated between steps."""
        trained = [weight for weight in self.module.parameters() if weight.requires_grad]
        return self.resting_bytes + sum(weight.nbytes for weight in trained)

    def train_seconds(self, lengths_bp: list[int], *, replay: bool) -> float:
        """Return the time of one step over sequences of these lengths."""
        return self._seconds(lambda: self._train_step(lengths_bp, replay=replay))

    def train_peak(self, lengths_bp: list[int], *, replay: bool) -> int:
        """Return the peak bytes of training steps, everything included.

        Two steps, since the gradients of the first are still allocated in the second.
        """

        def run() -> None:
            for _ in range(2):
                self._train_step(lengths_bp, replay=replay)

        self.optimizer.zero_grad()
        return self.resting_bytes + peak_bytes(run, self.device)

    def predict_seconds(self, lengths_bp: list[int]) -> float:
        """Return the time of one prediction."""
        return self._seconds(lambda: self._predict(lengths_bp))

    def predict_peak(self, lengths_bp: list[int]) -> int:
        """Return the peak bytes of one prediction, everything included."""
        weights = sum(weight.nbytes for weight in self.module.model.parameters())
        return weights + peak_bytes(lambda: self._predict(lengths_bp), self.device)

    def graph_bytes(self, lengths_bp: list[int]) -> int:
        """Return the bytes stored for backward, which determine what replay = "auto" does."""
        batch, model = self._batch(lengths_bp), self.module.model
        with self._autocast():
            _, saved = measure_saved_bytes(lambda: model(batch.codes, batch.lengths, replay=False))
        return saved

    def _train_step(self, lengths_bp: list[int], *, replay: bool) -> None:
        """Make one step as Lightning does, in the same order."""
        settings = self.config.training
        batch = self._batch(lengths_bp)
        depth = None if settings.bptt_depth == "all" else settings.bptt_depth
        mode: Replay = replay
        if not replay and settings.replay is not False and depth is not None:
            mode = "auto"  # with a depth, replay stores the graphs, of all of so few segments

        def loss_of(part: Batch) -> Tensor:
            model = self.module.model
            logits = model(part.codes, part.lengths, replay=mode, bptt_depth=depth)
            loss: Tensor = self.module.loss(logits, part.targets) * len(part.names)
            return loss

        with self._autocast():
            total = MicroBatches().total(loss_of, batch, self.module.parameters())
        self.optimizer.zero_grad()
        (total / len(lengths_bp)).backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), settings.gradient_clip)
        self.optimizer.step()

    def _predict(self, lengths_bp: list[int]) -> None:
        model, batch = self.module.model, self._batch(lengths_bp)
        with evaluating(model), torch.inference_mode():
            model(batch.codes, batch.lengths)

    def _batch(self, lengths_bp: list[int]) -> Batch:
        """Return random sequences."""
        rows = len(lengths_bp)
        codes = torch.randint(0, 4, (rows, max(lengths_bp)), dtype=torch.uint8)
        lengths, targets = torch.tensor(lengths_bp), torch.zeros(rows, dtype=torch.int64)
        names, device = ["random"] * rows, self.device
        return Batch(codes.to(device), lengths.to(device), targets.to(device), names)

    def _autocast(self) -> AbstractContextManager[object]:
        is_bf16 = self.config.training.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_bf16)

    def _seconds(self, run: Callable[[], object]) -> float:
        """Return the median time of a few runs, after a warm-up run."""
        run()
        times: list[float] = []
        while not times or (len(times) < _MAX_RUNS and sum(times) < _MAX_SECONDS):
            self._synchronize()
            start = time.perf_counter()
            run()
            self._synchronize()
            times.append(time.perf_counter() - start)
        return median(times)

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def measure(probe: Probe, rows: int, longest_bp: int) -> Costs:
    """Measure short steps of ``rows`` examples, none longer than the longest example.

    Args:
        probe: The model to measure.
        rows: Examples at a time.
        longest_bp: Length of the longest example.
    """
    config = probe.config
    model = config.classifier(("any", "other"), "binary")
    segment_bp = model.rmt().tokens_per_segment * model.stride
    depth = config.training.bptt_depth
    probed = PROBED if depth == "all" else min(depth, PROBED) + 2  # costs change beyond the depth
    lengths = [[segment_bp * count] * rows for count in (probed - 1, probed)]
    unrolled = replayed = Line(0.0, 0.0)
    fitting = PROBED
    if longest_bp > PROBED * segment_bp:  # otherwise the peak is measured directly
        unrolled = _peak_line(probe, lengths, probed, replay=False)
        replayed = _peak_line(probe, lengths, probed, replay=True)
        graph = probe.graph_bytes([segment_bp] * rows)
        fitting = int(FRACTION_FOR_GRAPHS * free_bytes(probe.device) / max(1, graph))
    overhead, per_segment, per_bp = _times(probe, rows, segment_bp, longest_bp)
    forward_bp = min(longest_bp, 2 * segment_bp)
    num_memory = 2 * model.num_memory_tokens  # read memory and write memory
    return Costs(
        config=config,
        rows=rows,
        segment_bp=segment_bp,
        overhead=overhead,
        per_segment=per_segment,
        per_bp=per_bp,
        forward_per_bp=probe.predict_seconds([forward_bp] * rows) / (forward_bp * rows),
        replay_ratio=_replay_ratio(probe, lengths) if longest_bp > PROBED * segment_bp else 1.0,
        unrolled=unrolled,
        replayed=replayed,
        fitting=max(1, fitting),
        fixed_bytes=probe.fixed_bytes,
        memory_fraction=num_memory / (num_memory + model.rmt().seq_len),
    )


def _peak_line(probe: Probe, lengths: Sequence[list[int]], probed: int, *, replay: bool) -> Line:
    shorter, longer = (probe.train_peak(batch, replay=replay) for batch in lengths)
    return Line(float(longer), float(max(0, longer - shorter)), probed)


def _times(probe: Probe, rows: int, segment_bp: int, longest_bp: int) -> tuple[float, float, float]:
    """Return seconds per step, per segment and per base pair (see ``Costs``)."""

    def seconds(length_bp: int) -> float:
        return probe.train_seconds([length_bp] * rows, replay=False)

    if longest_bp <= segment_bp:
        short_bp, long_bp = max(1, longest_bp // 2), max(2, longest_bp)
        short, long = seconds(short_bp), seconds(long_bp)
        per_bp = max(0.0, long - short) / (rows * (long_bp - short_bp))
        return max(0.0, long - per_bp * rows * long_bp), 0.0, per_bp
    quarter_bp = max(1, segment_bp // 4)
    quarter, two, three = seconds(quarter_bp), seconds(2 * segment_bp), seconds(3 * segment_bp)
    segment = three - two if three > two else three / 3  # clocks are noisy
    overhead = max(0.0, two - 2 * segment)
    for_bp = (segment - (quarter - overhead)) / (1 - quarter_bp / segment_bp)
    for_bp = min(max(for_bp, 0.0), segment)
    return overhead, segment - for_bp, for_bp / (rows * segment_bp)


def _replay_ratio(probe: Probe, lengths: Sequence[list[int]]) -> float:
    """Return the time of a segment with replay relative to one without; about 4/3."""
    plain, replayed = (
        [probe.train_seconds(batch, replay=replay) for batch in lengths] for replay in (False, True)
    )
    ratio = (replayed[1] - replayed[0]) / max(plain[1] - plain[0], 1e-9)
    return ratio if 1 <= ratio <= 2 else 4 / 3


def fits(num_bytes: int | float, device: torch.device, *, processes: int = 1) -> bool:
    """Whether the free memory is sufficient; True on devices that do not report it (mps)."""
    free = free_bytes(device)
    sharing = processes if device.type == "cpu" else 1
    return free == 0 or num_bytes <= USABLE_FRACTION * free / sharing


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
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        compute()
    results: Any = profiler.profiler
    changes = [
        (event.start_ns(), event.nbytes())
        for event in results.kineto_results.events()
        if event.name() == "[memory]"
    ]
    peak = total = 0
    for _, change in sorted(
        changes, key=lambda change: change[0]
    ):  # stable: keeps the order of equal times
        total += change
        peak = max(peak, total)
    return peak
