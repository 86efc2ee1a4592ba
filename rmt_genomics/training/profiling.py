"""What steps cost in seconds and bytes, foretold from a few short ones.

A step's time is ``overhead + a x segments + b x base pairs``; its peak of memory is a line in the
number of segments, one with the graphs of all segments kept and one with replay. The probes have
two and three segments, so a record of a million segments costs no more to plan than one of four.
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


def peak_bytes(compute: Callable[[], object], device: torch.device) -> int:
    """Run a computation; return the most bytes of tensors that it had at one time.

    Tensors that were there before do not count. On a CPU every allocation is written down by
    PyTorch's profiler; on a GPU the allocator knows. Elsewhere (mps) nobody does: 0.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        compute()
        return torch.cuda.max_memory_allocated(device) - before
    if device.type == "cpu":
        return _peak_on_cpu(compute)
    compute()
    return 0


def _peak_on_cpu(compute: Callable[[], object]) -> int:
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it tells stderr of each start and stop
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        compute()
    found: Any = profiler.profiler
    changes = [
        (event.start_ns(), event.nbytes())
        for event in found.kineto_results.events()
        if event.name() == "[memory]"
    ]
    peak = total = 0
    for _, change in sorted(changes, key=lambda each: each[0]):  # stable: equal times keep order
        total += change
        peak = max(peak, total)
    return peak


_LONG_ENOUGH = 1.0  # seconds of measuring
_MOST_RUNS = 3


class Probe:
    """A model of the size asked for, with its optimiser, to be measured.

    Args:
        config: Settings.
        device: Where.
    """

    def __init__(self, config: ExperimentConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        model = RMTClassifier(config.classifier(("any", "other"), "binary"))
        loss = WeightedLoss(torch.ones(2), is_multilabel=False)
        self.module = ClassifierModule(model, loss, config.training, seed=0, record={}).to(device)
        self.optimizer = adamw(
            self.module.model,
            learning_rate=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
        )
        self._train_step([64], replay=True)  # from now on the optimiser has its state

    @property
    def num_parameters(self) -> int:
        """Trained numbers."""
        return sum(each.numel() for each in self.module.model.parameters())

    @property
    def resting_bytes(self) -> int:
        """Weights, buffers and the optimiser's state."""
        states = [each for one in self.optimizer.state.values() for each in one.values()]
        kept = [*self.module.parameters(), *self.module.buffers(), *states]
        return sum(each.nbytes for each in kept if isinstance(each, Tensor))

    @property
    def fixed_bytes(self) -> int:
        """What is there between steps: the resting bytes and the gradients."""
        wanted = [each for each in self.module.parameters() if each.requires_grad]
        return self.resting_bytes + sum(each.nbytes for each in wanted)

    @property
    def weight_bytes(self) -> int:
        """Weights alone: what prediction holds."""
        return sum(each.nbytes for each in self.module.model.parameters())

    def train_seconds(self, lengths_bp: list[int], *, replay: bool) -> float:
        """Return the time of one step over sequences of these lengths."""
        return self._seconds(lambda: self._train_step(lengths_bp, replay=replay))

    def train_peak(self, lengths_bp: list[int], *, replay: bool) -> int:
        """Return the bytes that steps need at their peak, all included.

        Two steps, since the second finds the gradients of the first.
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
        """Return the bytes that one prediction needs at its peak, all included."""
        return self.weight_bytes + peak_bytes(lambda: self._predict(lengths_bp), self.device)

    def graph_bytes(self, lengths_bp: list[int]) -> int:
        """Return the bytes that are kept for backward, by which replay's "auto" decides."""
        batch = self._batch(lengths_bp)

        def run() -> Tensor:
            with self._autocast():
                logits: Tensor = self.module.model(batch.codes, batch.lengths, replay=False)
            return logits

        return measure_saved_bytes(run)[1]

    def _train_step(self, lengths_bp: list[int], *, replay: bool) -> None:
        """Do in one step what Lightning does, in its order."""
        settings = self.config.training
        batch = self._batch(lengths_bp)
        depth = None if settings.bptt_depth == "all" else settings.bptt_depth
        how: Replay = replay
        if not replay and settings.replay is not False and depth is not None:
            how = "auto"  # with a depth, it is replay that keeps graphs: all of so few segments

        def loss_of(part: Batch) -> Tensor:
            model = self.module.model
            logits = model(part.codes, part.lengths, replay=how, bptt_depth=depth)
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
        """Make up sequences."""
        rows = len(lengths_bp)
        codes = torch.randint(0, 4, (rows, max(lengths_bp)), dtype=torch.uint8)
        targets, names = torch.zeros(rows, dtype=torch.int64), ["made up"] * rows
        lengths = torch.tensor(lengths_bp)
        where = self.device
        return Batch(codes.to(where), lengths.to(where), targets.to(where), names)

    def _autocast(self) -> AbstractContextManager[object]:
        is_bf16 = self.config.training.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_bf16)

    def _seconds(self, run: Callable[[], object]) -> float:
        """Return the median time of a few runs, after one that does not count."""
        run()
        times: list[float] = []
        while not times or (len(times) < _MOST_RUNS and sum(times) < _LONG_ENOUGH):
            self._wait()
            start = time.perf_counter()
            run()
            self._wait()
            times.append(time.perf_counter() - start)
        return median(times)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


PROBED = 3
"""Segments of the longest probe; what is not longer is measured as it is."""


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity that grows with the number of segments: what it is at the longest probe."""

    at_probe: float
    slope: float
    probed: int = PROBED

    def at(self, segments: int | float) -> float:
        """Return the quantity for so many segments."""
        return self.at_probe + self.slope * (segments - self.probed)


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of steps with batches of one size.

    Args:
        config: Settings.
        rows: Examples in the batch of the probes.
        segment_bp: Base pairs that one segment reads.
        overhead: Seconds of a step without any segment: the optimiser, mostly.
        a_segment: Seconds for each segment, whatever its size.
        a_bp: Seconds for each base pair of each example.
        forward_bp: Seconds for each base pair in prediction.
        replay_ratio: How much longer a segment takes that is run twice.
        unrolled: Peak bytes when all graphs are kept.
        replayed: Peak bytes with replay of all segments but one.
        fitting: Segments whose graphs replay = "auto" would keep.
        fixed_bytes: Part of the peak that no batch changes.
        memory_share: Share of memory tokens in the rows of a full segment.
    """

    config: ExperimentConfig
    rows: int
    segment_bp: int
    overhead: float
    a_segment: float
    a_bp: float
    forward_bp: float
    replay_ratio: float
    unrolled: Line
    replayed: Line
    fitting: int
    fixed_bytes: int
    memory_share: float

    def segments(self, length_bp: int) -> int:
        """Return the segments of an example."""
        return max(1, -(-length_bp // self.segment_bp))

    def kept(self, segments: int) -> int:
        """Return how many segments of a batch keep their graph."""
        training = self.config.training
        is_long = segments > REPLAY_BEYOND or training.bptt_depth != "all"
        if training.replay is False or (training.replay == "auto" and not is_long):
            return segments
        return 1 if training.replay is True else min(segments, self.fitting)

    def seconds(self, lengths_bp: Sequence[int]) -> float:
        """Return the time of a training step over examples of these lengths."""
        segments, bp = self.segments(max(lengths_bp)), sum(lengths_bp)
        work = self.a_segment * segments + self.a_bp * bp
        crossed = self._crossed(segments)
        replayed = max(0, crossed - self.kept(segments)) / segments
        backward = crossed / segments
        again = 1 + (self.replay_ratio - 1) * replayed / backward
        return self.overhead + work * backward * again + self.forward_bp * bp * (1 - backward)

    def peak(self, lengths_bp: Sequence[int]) -> float:
        """Return the bytes of a training step at its peak; for examples of many segments."""
        longest = self.segments(max(lengths_bp))
        kept = self.kept(longest)
        if kept == longest:
            return self.unrolled.at(self._graphs(lengths_bp, 0))
        share = self._graphs(lengths_bp, longest - kept)
        graphs = (self.unrolled.slope - self.replayed.slope) * max(0.0, share - 1)
        return self.replayed.at(longest) + graphs

    def peak_of_rows(self, peak: float, rows: int) -> float:
        """Scale a peak to fewer examples at a time."""
        return self.fixed_bytes + (peak - self.fixed_bytes) * rows / self.rows

    def _graphs(self, lengths_bp: Sequence[int], begin: int) -> float:
        """Return the mean size of an example's graphs from a segment on, in whole segments.

        A last segment has fewer tokens, but as much memory.
        """
        total = 0.0
        for length in lengths_bp:
            if (count := self.segments(length) - begin) > 0:
                tokens = length / self.segment_bp - begin
                total += self.memory_share * count + (1 - self.memory_share) * tokens
        return total / len(lengths_bp)

    def _crossed(self, segments: int) -> int:
        """Return how many segments a gradient reaches: those before are only read."""
        depth = self.config.training.bptt_depth
        if depth == "all" or self.config.model.pooling != "last":
            return segments
        return min(segments, depth)


def measure(probe: Probe, rows: int, longest_bp: int) -> Costs:
    """Measure short steps of ``rows`` examples, no longer than the longest there is.

    Args:
        probe: What is measured.
        rows: Examples at a time.
        longest_bp: The longest example.
    """
    config = probe.config
    model = config.classifier(("any", "other"), "binary")
    segment_bp = model.rmt().tokens_per_segment * model.stride
    depth = config.training.bptt_depth
    probed = PROBED if depth == "all" else min(depth, PROBED) + 2  # a depth is felt beyond itself
    lengths = [[segment_bp * count] * rows for count in (probed - 1, probed)]
    unrolled = replayed = Line(0.0, 0.0)
    fitting = PROBED
    if longest_bp > PROBED * segment_bp:  # otherwise the peak is measured as it is
        unrolled = _line([probe.train_peak(each, replay=False) for each in lengths], probed)
        replayed = _line([probe.train_peak(each, replay=True) for each in lengths], probed)
        graph = probe.graph_bytes([segment_bp] * rows)
        fitting = int(FRACTION_FOR_GRAPHS * free_bytes(probe.device) / max(1, graph))
    overhead, a_segment, a_bp = _times(probe, rows, segment_bp, longest_bp)
    forward_bp = min(longest_bp, 2 * segment_bp)
    return Costs(
        config=config,
        rows=rows,
        segment_bp=segment_bp,
        overhead=overhead,
        a_segment=a_segment,
        a_bp=a_bp,
        forward_bp=probe.predict_seconds([forward_bp] * rows) / (forward_bp * rows),
        replay_ratio=_replay_ratio(probe, lengths) if longest_bp > PROBED * segment_bp else 1.0,
        unrolled=unrolled,
        replayed=replayed,
        fitting=max(1, fitting),
        fixed_bytes=probe.fixed_bytes,
        memory_share=2
        * model.num_memory_tokens
        / (2 * model.num_memory_tokens + model.rmt().seq_len),
    )


def _line(peaks: Sequence[int], probed: int) -> Line:
    shorter, longer = peaks
    return Line(float(longer), float(max(0, longer - shorter)), probed)


def _times(probe: Probe, rows: int, segment_bp: int, longest_bp: int) -> tuple[float, float, float]:
    """Return seconds: of no segment, of a segment whatever its size, and of a base pair."""
    if longest_bp <= segment_bp:
        short, long = max(1, longest_bp // 2), max(2, longest_bp)
        some, more = (probe.train_seconds([each] * rows, replay=False) for each in (short, long))
        a_bp = max(0.0, more - some) / (rows * (long - short))
        return max(0.0, more - a_bp * rows * long), 0.0, a_bp
    quarter = max(1, segment_bp // 4)
    little, some, more = (
        probe.train_seconds([each] * rows, replay=False)
        for each in (quarter, 2 * segment_bp, 3 * segment_bp)
    )
    segment = more - some if more > some else more / 3  # clocks are noisy
    overhead = max(0.0, some - 2 * segment)
    of_bp = (segment - (little - overhead)) / (1 - quarter / segment_bp)
    of_bp = min(max(of_bp, 0.0), segment)
    return overhead, segment - of_bp, of_bp / (rows * segment_bp)


def _replay_ratio(probe: Probe, lengths: Sequence[list[int]]) -> float:
    """Return by how much a segment takes longer that is run twice; about 4/3."""
    plain, again = (
        [probe.train_seconds(each, replay=replay) for each in lengths] for replay in (False, True)
    )
    ratio = (again[1] - again[0]) / max(plain[1] - plain[0], 1e-9)
    return ratio if 1 <= ratio <= 2 else 4 / 3


WITHIN = 0.8
"""Share of the free memory that a plan may use; the rest is for what it does not see."""


def fits(need: int | float, device: torch.device, *, processes: int = 1) -> bool:
    """Whether so many bytes are well within what is free; True where that cannot be known."""
    free = free_bytes(device)
    sharing = processes if device.type == "cpu" else 1
    return free == 0 or need <= WITHIN * free / sharing
