"""Short steps on made-up sequences, measured: what training and prediction cost on this machine."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median

import torch
from torch import Tensor, nn

from rmt_genomics.datasets import Batch
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.strands import Replay
from rmt_genomics.rmt.free_memory import with_saved_bytes
from rmt_genomics.rmt.modes import evaluating
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.loss import WeightedLoss
from rmt_genomics.training.micro_batches import MicroBatches
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.optimizer import adamw
from rmt_genomics.training.peak_memory import peak_bytes

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

        return with_saved_bytes(run)[1]

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
