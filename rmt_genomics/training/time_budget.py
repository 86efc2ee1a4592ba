"""``training.time_budget``: a training, with its evaluation and report, that ends in time.

Once, before the first step, ``settle`` chooses from measured speeds how many epochs there are, and
how many examples an epoch and a validation have; ``config.toml`` keeps these numbers. So the
learning rate falls to its end within the budget. Should steps be slower than measured,
``TimeBudget`` stops the training at the step after which validation and evaluation would not end in
time.
"""

import logging
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, Trainer

from rmt_genomics.datasets import LengthBuckets, Split
from rmt_genomics.errors import ConfigError, counted
from rmt_genomics.parsing import read_duration
from rmt_genomics.training.config import ExperimentConfig, TrainingSettings
from rmt_genomics.training.data_module import PreparedData
from rmt_genomics.training.distributed import DistributedSetup, broadcast
from rmt_genomics.training.planning import MAX_SEGMENTS, Probe
from rmt_genomics.training.runtime import tf32_matmul

logger = logging.getLogger("rmt_genomics.training")

EVALUATION_FRACTION = 0.25  # most of the budget that evaluation and report get,
SHORT_FRACTION = 0.5  # unless it is so short that even that of a few examples takes more
VALIDATION_FRACTION = 0.2  # most of the training time that the validations take
FEWEST_EPOCHS, EPOCHS_OF_SAMPLES = 5, 8
_SAFETY = 0.9  # of the time that is planned for; the rest is for steps that are slower
_MEASURED_SECONDS, _MEASURED_FRACTION, _MOST_RUNS = 1.0, 0.02, 5
_VALIDATION_STEP = 0.4  # time of a batch in validation, in steps of training; until it is measured
_REPORT_SECONDS = 7.0  # evaluation and report of a few examples: imports, fits, figures
_READINGS = 4.3  # how often an evaluation predicts an example: whole, in segments, shortened
_FEWEST_EVALUATED = 10  # examples, whatever the time (``evaluation.time_limit``)
_KMER_BP_PER_SECOND = 10e6  # of the k-mer baselines, all together
_NUM_KMERS, _FIT_FLOPS, _FLOPS = 2500, 300, 2e9  # of all k-mer baselines; per number; per second


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured seconds of a mean example of the training part, of the validation part, of a bp.

    ``slowdown`` is how much longer a computation takes than it would if no other ran.
    """

    train_example: float
    validation_example: float
    predicted_bp: float
    slowdown: float = 1.0


@dataclass(frozen=True, slots=True)
class Settled:
    """How long a training is: epochs, and the examples of an epoch and of a validation.

    None = all examples of the part. ``seconds`` is the expected time.
    """

    max_epochs: int
    examples_per_epoch: int | None
    validation_examples: int | None
    seconds: float


def settle(
    seconds: float, costs: Costs, training: TrainingSettings, num_train: int, num_validation: int
) -> Settled:
    """Choose the numbers with which training and validations end within some seconds.

    If at least ``FEWEST_EPOCHS`` passes over the training part fit, or as many as ``max_epochs``
    says, epochs are whole passes. Else they are samples, so that the model is validated
    ``EPOCHS_OF_SAMPLES`` times. A validation is a sample if the whole part would take more than
    ``VALIDATION_FRACTION`` of the training time of an epoch.

    Args:
        seconds: For training and validations, nothing else.
        costs: Measured on this machine.
        training: ``max_epochs`` is the most; ``examples_per_epoch`` and ``validation_examples``
            are not changed if they are set. An epoch has whole steps, at least one, of
            ``batch_size`` (a number) times ``accumulate_batches`` examples.
        num_train: Examples of the training part.
        num_validation: Examples of the validation part.

    Raises:
        ConfigError: If not even one epoch of one step fits, or one of the given size.
    """

    step_size = int(training.batch_size) * training.accumulate_batches
    max_epochs, given_size = training.max_epochs, training.examples_per_epoch

    def validated(size: int) -> int:
        affordable = VALIDATION_FRACTION * size * costs.train_example / costs.validation_example
        return min(num_validation, training.validation_examples or max(1, int(affordable)))

    def epoch_seconds(size: int) -> float:
        return size * costs.train_example + validated(size) * costs.validation_example

    size = min(num_train, given_size or num_train)
    epochs = min(max_epochs, int(seconds / epoch_seconds(size)))
    smallest = min(step_size, num_train) if given_size is None else size
    if epoch_seconds(smallest) > seconds:
        raise ConfigError(
            f"about {max(0.0, seconds):.1f} s are left for training, but the shortest epoch "
            f"({counted(smallest, 'example')}, and the validation after it) takes about "
            f"{epoch_seconds(smallest):.1f} s."
        )
    if epochs < min(FEWEST_EPOCHS, max_epochs) and given_size is None:
        wanted = min(max_epochs, EPOCHS_OF_SAMPLES)
        num_steps = bisect_right(
            range(1, 1 + size // step_size),
            seconds / wanted,
            key=lambda number: epoch_seconds(number * step_size),
        )
        size = min(num_train, max(1, num_steps) * step_size)
        epochs = min(max_epochs, int(seconds / epoch_seconds(size)))
    return Settled(
        max_epochs=epochs,
        examples_per_epoch=None if size == num_train else size,
        validation_examples=None if validated(size) == num_validation else validated(size),
        seconds=epochs * epoch_seconds(size),
    )


def measure(
    config: ExperimentConfig,
    lengths_bp: tuple[list[int], list[int]],
    rows: int,
    device: str,
    *,
    most_seconds: float = _MEASURED_SECONDS,
) -> Costs:
    """Time a few steps and predictions on random sequences, as ``plan`` does.

    ``lengths_bp`` are those of the training and of the validation part; ``rows`` examples are
    computed at a time. Each of the two is repeated for ``most_seconds``.
    """
    train_bp, validation_bp = lengths_bp
    start, start_of_process = time.monotonic(), time.process_time()
    with tf32_matmul(device):
        probe = Probe(config, torch.device(device))
        batch = probe.shorten(typical_batch(train_bp, rows))
        step = _seconds_per_bp(probe, batch, "train", most_seconds)
        batch = probe.shorten(typical_batch(validation_bp, rows))
        prediction = _seconds_per_bp(probe, batch, "predict", most_seconds)
    slowdown = (time.monotonic() - start) / max(1e-9, time.process_time() - start_of_process)
    return Costs(
        step * mean(train_bp), prediction * mean(validation_bp), prediction, max(1.0, slowdown)
    )


def typical_batch(lengths_bp: Sequence[int], rows: int) -> list[int]:
    """Return the lengths of the batch of similar length that is nearest to the mean of all."""
    buckets = LengthBuckets(lengths_bp, min(rows, len(lengths_bp)), shuffle=True, seed=0)
    batches = [[lengths_bp[index] for index in batch] for batch in buckets]
    return min(batches, key=lambda batch: abs(mean(batch) - mean(lengths_bp)))


def _seconds_per_bp(
    probe: Probe, lengths_bp: list[int], what: Literal["train", "predict"], most_seconds: float
) -> float:
    """Return the median time of a few runs, the first of which is only a warm-up if it is short."""
    replay, times = probe.config.training.replay, list[float]()
    if replay == "auto" and max(lengths_bp) >= MAX_SEGMENTS * probe.segment_bp:
        replay = True  # of long sequences not all graphs fit into memory
    while len(times) < _MOST_RUNS and sum(times) < most_seconds:
        start = time.monotonic()
        if what == "train":
            probe.train(lengths_bp, replay)
        else:
            probe.predict(lengths_bp)
        if probe.device.type != "cpu":
            torch.accelerator.synchronize(probe.device)
        times.append(time.monotonic() - start)
    return max(1e-9, median(times[1:] or times)) / sum(lengths_bp)


def evaluation_seconds(total: float, costs: Costs, split: Split, num_classes: int) -> float:
    """Estimate the time of evaluation and report, at most ``EVALUATION_FRACTION`` of the total.

    Of a short total it may be more: what the evaluation of a few examples takes.
    """

    def num_bp(part: Sequence[Any]) -> int:
        return sum(len(example.interval) for example in part)

    part = split.test or split.validation
    evaluated = num_bp(part)
    predicted = _READINGS * evaluated + num_bp(split.validation)
    fewest = predicted * costs.predicted_bp * min(1.0, _FEWEST_EVALUATED / len(part))
    counted_bp = num_bp(split.train) + num_bp(split.validation) + evaluated
    fits = len(split.train) * _NUM_KMERS * num_classes * _FIT_FLOPS / _FLOPS
    seconds = predicted * costs.predicted_bp + counted_bp / _KMER_BP_PER_SECOND + fits
    at_least = costs.slowdown * _REPORT_SECONDS
    expected = min(EVALUATION_FRACTION * total, at_least + seconds)
    return max(expected, min(SHORT_FRACTION * total, at_least) + fewest)


class Clock:
    """The time of a run: since ``started_at`` (``time.monotonic``), and in earlier sessions."""

    def __init__(self, total: float, started_at: float) -> None:
        self.total = total
        self.started_at = started_at
        self.earlier_seconds = 0.0
        self.evaluation_seconds = EVALUATION_FRACTION * total
        """Kept for evaluation and report."""

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without the time between its sessions."""
        return self.earlier_seconds + time.monotonic() - self.started_at

    @property
    def left(self) -> float:
        """Seconds left for training."""
        return self.left_in_all - self.evaluation_seconds

    @property
    def left_in_all(self) -> float:
        """Seconds left for training, evaluation and report."""
        return self.total - self.elapsed


class TimeBudget(Callback):
    """Stop a training that would not end in time: after a step, with a validation, or an epoch.

    Args:
        clock: Says how much time is left.
        setting: The setting, for messages.
        within_epochs: Whether it may stop within an epoch. A control, which has as many epochs as
            its model, would not.
    """

    state_key = "TimeBudget"

    def __init__(self, clock: Clock, setting: str, *, within_epochs: bool) -> None:
        self.clock = clock
        self.setting = setting
        self.within_epochs = within_epochs
        self.is_over = False
        self._began_at = self._epoch_began_at = self._validation_began_at = 0.0
        self._steps: list[float] = []  # seconds of this session
        self._epoch_seconds = self._validation_seconds = 0.0  # of the last; 0 = not known

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Stop a resumed run that was stopped, or that has no time left and has been validated."""
        self._began_at = self._epoch_began_at = time.monotonic()
        no_time = bool(self._validation_seconds) and self._must_stop(self._needed(trainer))
        trainer.should_stop = trainer.should_stop or self.is_over or no_time

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock of the epoch."""
        self._began_at = self._epoch_began_at = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop after a step, if another one and the validation would take too long."""
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if progress.is_last_batch or progress.current.ready % trainer.accumulate_grad_batches:
            return
        now = time.monotonic()
        self._steps.append(now - self._began_at)
        self._began_at = now
        if self.within_epochs and self._must_stop(self._needed(trainer)):
            done = f"{progress.current.ready} of {trainer.num_training_batches} batches"
            self._stop(trainer, f"in epoch {trainer.current_epoch + 1}, after {done}")

    def on_validation_start(self, *_: Any) -> None:
        """Start the clock of the validation."""
        self._validation_began_at = time.monotonic()

    def on_validation_end(self, *_: Any) -> None:
        """Measure the validation."""
        self._validation_seconds = time.monotonic() - self._validation_began_at

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop after an epoch, if the next one, or its first step, would take too long."""
        self._epoch_seconds = time.monotonic() - self._epoch_began_at
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        if not (is_last or trainer.should_stop) and self._must_stop(self._needed(trainer)):
            self._stop(trainer, f"after epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def _needed(self, trainer: Trainer) -> float:
        """Return the seconds of the next step and the validation, or of the next epoch."""
        if not self.within_epochs:
            return self._epoch_seconds
        # The first step of a session has what is done once, such as compiling.
        steps = self._steps[1:] or self._steps or [0.0]
        validation = self._validation_seconds
        if not validation:
            num_batches = sum(trainer.num_val_batches)
            validation = (
                _VALIDATION_STEP * num_batches * mean(steps) / trainer.accumulate_grad_batches
            )
        return max(steps) + validation

    def _must_stop(self, needed: float) -> bool:
        return broadcast(self.clock.left < needed)  # all processes stop at the same step

    def _stop(self, trainer: Trainer, where: str) -> None:
        """Within an epoch, the Trainer validates, and the epoch ends as it is."""
        trainer.should_stop = self.is_over = True
        if not trainer.is_global_zero:
            return
        logger.info(
            f"training.time_budget {self.setting}: training stops {where}: steps were slower than "
            f"measured, and {self.clock.evaluation_seconds:.0f} s are kept for the evaluation."
        )

    def state_dict(self) -> dict[str, float | bool]:
        """Return the time so far, for a checkpoint."""
        return {
            "is_over": self.is_over,
            "seconds": self.clock.elapsed,
            "evaluation_seconds": self.clock.evaluation_seconds,
            "validation_seconds": self._validation_seconds,
            "epoch_seconds": self._epoch_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the time of earlier sessions."""
        self.is_over = state_dict["is_over"]
        self.clock.earlier_seconds = state_dict["seconds"]
        self.clock.evaluation_seconds = state_dict["evaluation_seconds"]
        self._validation_seconds = state_dict["validation_seconds"]
        self._epoch_seconds = state_dict["epoch_seconds"]


def resolve_time_budget(
    config: ExperimentConfig,
    data: PreparedData,
    clock: Clock | None,
    *,
    rows: int | None,
    device: str,
    distributed: DistributedSetup,
    num_trainings: int = 1,
) -> ExperimentConfig:
    """Measure, settle and log the numbers of a new run with a budget, and return its settings.

    Only rank 0 measures; the others get the settings from it once the process group exists.
    ``rows`` is as for ``MicroBatches``; ``num_trainings`` are made in the same time.

    Raises:
        ConfigError: If the budget is too short.
    """
    if clock is None or not distributed.is_rank_zero:
        return config
    training, processes, split = config.training, distributed.world_size, data.split
    batch_size = int(training.batch_size)
    train_bp, validation_bp = (
        [len(example.interval) for example in part] for part in (split.train, split.validation)
    )
    of_process = -(-min(batch_size, len(train_bp)) // processes)
    costs = measure(
        config,
        (train_bp, validation_bp),
        min(rows or of_process, of_process),
        device,
        most_seconds=min(_MEASURED_SECONDS, _MEASURED_FRACTION * clock.total),
    )
    num_classes = len(data.scheme.classes)
    clock.evaluation_seconds = evaluation_seconds(clock.total, costs, split, num_classes)
    factor = num_trainings / processes
    costs = replace(
        costs,
        train_example=factor * costs.train_example,
        validation_example=factor * costs.validation_example,
    )
    try:
        seconds = _SAFETY * clock.left
        settled = settle(seconds, costs, training, len(train_bp), len(validation_bp))
    except ConfigError as error:
        raise ConfigError(
            f"training.time_budget is {training.time_budget!r}: {clock.elapsed:.1f} s have passed "
            f"(start, reading, measuring), {clock.evaluation_seconds:.1f} s are kept for the "
            f"evaluation, and {error} Give more time, or set a smaller model or batch."
        ) from error
    _log_settled(training, settled, split, clock)
    changes = {
        "max_epochs": settled.max_epochs,
        "examples_per_epoch": settled.examples_per_epoch,
        "validation_examples": settled.validation_examples,
    }
    return config.replace(training=training.replace(**changes))


def _log_settled(training: TrainingSettings, settled: Settled, split: Split, clock: Clock) -> None:
    size = settled.examples_per_epoch or len(split.train)
    validated = settled.validation_examples or len(split.validation)
    logger.info(
        f"training.time_budget {training.time_budget}: {counted(settled.max_epochs, 'epoch')} of "
        f"{counted(size, 'example')}, each validated on {validated:,}: about {settled.seconds:.0f} "
        f"s, after {clock.elapsed:.0f} s for start and reading, and before about "
        f"{clock.evaluation_seconds:.0f} s for the evaluation."
    )


def clock_of(config: ExperimentConfig, started_at: float) -> Clock | None:
    """Return the clock of a run with a time budget, or None."""
    setting = config.training.time_budget
    seconds = None if setting is None else read_duration(setting)
    return None if seconds is None else Clock(seconds, started_at)
