"""Time and peak memory of training steps, measured on random sequences.

Real steps are run: with the lengths of the largest batch, and of a typical one. Sequences longer
than ``MAX_SEGMENTS`` segments are cut to that many, and what is measured is extrapolated linearly.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from rmt_genomics.datasets import Batch
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.bidirectional_encoder import Replay
from rmt_genomics.rmt.runtime import evaluating, measure_saved_bytes
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.loss import WeightedLoss
from rmt_genomics.training.micro_batches import MicroBatches
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.optimizer import adamw

MAX_SEGMENTS = 8
"""Segments of the longest measured sequence: a plan for a chromosome takes seconds, too."""

_MAX_SECONDS = 1.0  # of repeating one measurement
_MAX_RUNS = 3


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
        self.segment_bp = model.config.rmt().tokens_per_segment * model.config.stride
        loss = WeightedLoss(torch.ones(2), is_multilabel=False)
        module = ClassifierModule(model, loss, config.training, seed=0, run_record={})
        self.module = module.to(device)
        self.optimizer = adamw(
            self.module.model,
            learning_rate=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
        )
        self._train_step([64], config.training.replay)  # creates the optimiser's state

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

    def train_seconds(self, lengths_bp: list[int]) -> float:
        """Return the time of one training step over sequences of these lengths."""
        return self._seconds(lambda: self._train_step(lengths_bp, self.config.training.replay))

    def train_peak(self, lengths_bp: list[int], replay: Replay) -> int:
        """Return the peak bytes of training steps, everything included.

        Two steps, since the gradients of the first are still allocated in the second.
        """

        def run() -> None:
            for _ in range(2):
                self._train_step(lengths_bp, replay)

        self.optimizer.zero_grad()
        return self.resting_bytes + peak_bytes(run, self.device)

    def predict_seconds(self, lengths_bp: list[int]) -> float:
        """Return the time of one prediction."""
        return self._seconds(lambda: self._predict(lengths_bp))

    def predict_peak(self, lengths_bp: list[int]) -> int:
        """Return the peak bytes of one prediction, everything included."""
        weights = sum(weight.nbytes for weight in self.module.model.parameters())
        return weights + peak_bytes(lambda: self._predict(lengths_bp), self.device)

    def graph_bytes(self, rows: int) -> int:
        """Return the bytes that one full segment stores for backward."""
        batch, model = self._batch([self.segment_bp] * rows), self.module.model
        with self._autocast():
            _, saved = measure_saved_bytes(lambda: model(batch.codes, batch.lengths, replay=False))
        return saved

    def _train_step(self, lengths_bp: list[int], replay: Replay) -> None:
        """Make one step as Lightning does, in the same order."""
        settings = self.config.training
        batch = self._batch(lengths_bp)
        depth = None if settings.bptt_depth == "all" else settings.bptt_depth

        def loss_of(part: Batch) -> Tensor:
            model = self.module.model
            logits = model(part.codes, part.lengths, replay=replay, bptt_depth=depth)
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
