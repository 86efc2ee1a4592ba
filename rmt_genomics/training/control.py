"""A trained control: the same network without memory, or from random weights.

``DIR/control`` is its run folder: that of a training with ``model.memory_reset = "segment"``, or
without the weights that the model starts from, and the data, split, seed and other settings of the
model. It makes the steps of the model: it trains for as
many epochs, in the same stages of a curriculum, whatever its own validation loss is. A process of
its own trains it: beside the model on a CPU with two cores or more, which they divide; after it
elsewhere.

The process sends log messages, warnings and how it ended; the process of the model sends the stage
of each epoch that it begins, and whether it has finished.
"""

import io
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException

from rmt_genomics.datasets import LabelSource
from rmt_genomics.datasets.folds import Fold
from rmt_genomics.errors import ConfigError, RMTGenomicsError, RMTGenomicsWarning, counted
from rmt_genomics.locks import is_unused
from rmt_genomics.model.initial_weights import initial_files
from rmt_genomics.training.callbacks import MetricsLogger
from rmt_genomics.training.checkpoints import CheckpointCallback
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import read_config
from rmt_genomics.training.distributed import DistributedSetup, num_cores
from rmt_genomics.training.run_folder import RunFolder

logger = logging.getLogger("rmt_genomics.training")

MEMORY_RESET, RANDOM_WEIGHTS = "memory-reset", "random-weights"
CONTROLS = {MEMORY_RESET: "without memory", RANDOM_WEIGHTS: "from random weights"}
"""The values of ``--control``, and how each is trained."""

_WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One training: the arguments of ``training.train`` of the same names."""

    fasta: Path
    labels: LabelSource | None
    out: Path
    config: ExperimentConfig
    device: str
    seed: int
    resume: bool
    overwrite: bool
    strict: bool
    started_at: float = field(default_factory=time.monotonic)
    """``time.monotonic`` of the beginning, for a time budget."""
    fold: Fold | None = None
    """The fold of a cross-validation, whose run this is."""
    cache: Path | None = None
    """The folder for encoded sequences; None = that of ``atomic_io.default_cache``."""

    @property
    def inputs(self) -> list[Path | None]:
        """The files that must not be overwritten."""
        groups = self.config.simulation.groups
        table = None if self.labels is None else self.labels.table
        initial = initial_files(self.config.training.init_from)
        return [self.fasta, table, Path(groups) if groups else None, *initial]


class ModelProgress:
    """How far the model is, as its control knows it: the stage of each epoch that has begun."""

    def __init__(self, stages: Sequence[int] = (), *, is_finished: bool = False) -> None:
        self._stages, self._is_finished = tuple(stages), is_finished
        self._changed = threading.Condition()

    def update(self, stages: Sequence[int], *, is_finished: bool) -> None:
        """Take over what the model has reported."""
        with self._changed:
            self._stages, self._is_finished = tuple(stages), is_finished
            self._changed.notify_all()

    def knows(self, epoch: int) -> bool:
        """Whether the model has begun this epoch (from 0), or has finished."""
        return self._is_finished or epoch < len(self._stages)

    def stage_of(self, epoch: int, must_stop: Callable[[], bool]) -> int | None:
        """Return the stage of an epoch, both from 0; None if the model has finished without it.

        Waits for the model.

        Raises:
            SIGTERMException: If ``must_stop`` is true meanwhile.
        """
        with self._changed:
            while not self.knows(epoch):
                if must_stop():
                    raise SIGTERMException
                self._changed.wait(_WAIT_SECONDS)
            return self._stages[epoch] if epoch < len(self._stages) else None


class ControlCheckpoints(CheckpointCallback):
    """Save the checkpoints of a control, which stops and changes its stage with its model.

    Args:
        folder: Its run folder.
        metrics: The rows of its epochs.
        model: How far its model is.
        minutes: Between checkpoints within an epoch.
    """

    def __init__(
        self, folder: RunFolder, metrics: MetricsLogger, *, model: ModelProgress, minutes: float
    ) -> None:
        super().__init__(folder, sys.maxsize, metrics.curriculum, minutes=minutes)
        self.metrics = metrics
        self.model = model

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Decide again what a checkpoint at the end of an epoch leaves open."""
        super().on_train_start(trainer, pl_module)
        self._follow(trainer)

    def stop_or_advance(self, trainer: Trainer, pl_module: Any) -> None:
        """Wait for the model to begin the next epoch; its stage is begun, or training stops."""
        del pl_module
        if not self.model.knows(len(self.metrics.rows)):
            self._save(trainer)  # the wait may be interrupted
        self._follow(trainer)

    def _follow(self, trainer: Trainer) -> None:
        epoch = len(self.metrics.rows)
        if epoch == trainer.max_epochs:
            return
        stage = self.model.stage_of(epoch, lambda: trainer.received_sigterm)
        trainer.should_stop = stage is None
        while stage is not None and self.curriculum.stage < stage:
            self.begin_next_stage(trainer)


class ReportToControl(Callback):
    """Report to the control each epoch that the model begins."""

    def __init__(self, control: "Control", metrics: MetricsLogger) -> None:
        self.control = control
        self.metrics = metrics

    def on_train_start(self, *_: Any, **__: Any) -> None:
        """Report a resumed run: within an epoch, the beginning of that one is not called."""
        self._report()

    def on_train_epoch_start(self, *_: Any, **__: Any) -> None:
        """Report the stage of the epoch."""
        self._report()

    def _report(self) -> None:
        self.control.report([*stages_of(self.metrics), self.metrics.curriculum.stage])


def stages_of(metrics: MetricsLogger) -> list[int]:
    """Return the stage of each finished epoch, from 0."""
    return [int(row["stage"] or 1) - 1 for row in metrics.rows]


class Control:
    """The control of a run, and the process that trains it.

    Args:
        name: One of ``CONTROLS``.
        job: The training of the model.
        device: Where it is trained.
        is_parallel: Whether both are trained at the same time.
    """

    _relay: threading.Thread  # logs the messages of the process; is there if that is

    def __init__(self, name: str, job: TrainingJob, device: str, *, is_parallel: bool) -> None:
        self.name = name
        self.job = replace(job, device=device)
        self.folder = RunFolder(job.out).control
        self.is_parallel = is_parallel
        self.error: str | None = None
        """Why it failed."""

        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._warnings: list[str] = []
        self._has_ended = self._is_stopped = False

    @classmethod
    def of(
        cls,
        name: str | None,
        job: TrainingJob,
        config: ExperimentConfig,
        *,
        device: str,
        distributed: DistributedSetup,
    ) -> "Control | None":
        """Return the control that is to be trained; None if there is none, or it has finished.

        A resumed run continues the control that it was started with.

        Raises:
            ConfigError: If there cannot be one.
        """
        folder = RunFolder(job.out).control
        is_finished = job.resume and folder.is_finished
        if name is None and job.resume and not is_finished and folder.config.is_file():
            name = _name_of(read_config(folder.config), config)
        if name is None:
            return None
        if name not in CONTROLS:
            names = " or ".join(map(repr, CONTROLS))
            raise ConfigError(f"control is {name!r}, but must be {names}, or left out.")
        changes = _changes(name, config)
        if distributed.world_size > 1:
            remedy = "Train with one process, or leave --control out."
            if changes:
                settings = " ".join(f"--set {key}={value}" for key, value in changes.items())
                remedy = (
                    f"Train the control with a command of its own: the same one with {settings} "
                    f"--out {folder.path} instead of --control; then evaluate {job.out}."
                )
            raise ConfigError(
                f"--control {name} needs one process, but --devices {distributed.devices} and "
                f"--num-nodes {distributed.num_nodes} start {distributed.world_size}. {remedy}"
            )
        if folder.path.exists() and not folder.path.is_dir():
            raise ConfigError(
                f"{folder.path}: is a file, but the control needs a folder there. Give "
                "another --out."
            )
        if is_finished:
            logger.info("control: Nothing to resume: it had finished.")
            return None
        return cls(name, job, device, is_parallel=device == "cpu" and num_cores() > 1)

    @contextmanager
    def sharing_cores(self) -> Iterator[None]:
        """Divide the cores while the model is trained, and stop the control if that fails."""
        threads = torch.get_num_threads()
        if self.is_parallel:
            torch.set_num_threads(max(1, min(threads, num_cores()) // 2))
        try:
            yield
        except BaseException:
            self.stop()
            raise
        finally:
            torch.set_num_threads(threads)

    def begin(self, config: ExperimentConfig) -> None:
        """Take the settings of the model; start the control if it is trained in parallel."""
        can_resume = self.job.resume and self.folder.config.is_file()
        self.job = replace(
            self.job,
            out=self.folder.path,
            config=_config_of(self.name, config),
            resume=can_resume,
            # Only what is proved to be of a run; the model's training has checked that it may.
            overwrite=not (can_resume or is_unused(self.folder.path)),
        )
        if self.is_parallel:
            threads = counted(torch.get_num_threads(), "thread")
            how = CONTROLS[self.name]
            logger.info("Training a control %s beside the model (%s each).", how, threads)
            self._start()

    def report(self, stages: Sequence[int], *, is_finished: bool = False) -> None:
        """Report to the control the stages of the epochs that the model has begun."""
        if self._connection is not None:
            with suppress(OSError):  # it has ended
                self._connection.send((tuple(stages), is_finished))

    def finish(self, metrics: MetricsLogger) -> str | None:
        """Train the control to its end, after the model; return why it failed, or None."""
        if self._process is None:
            logger.info("Training a control %s.", CONTROLS[self.name])
            torch.cuda.empty_cache()
            self._start()
        elif not self._has_ended:
            logger.info("The model is trained; waiting for the control.")
        self.report(stages_of(metrics), is_finished=True)
        try:
            with _exit_at_sigterm():
                self._relay.join()
        except BaseException:
            self.stop()
            raise
        for message in dict.fromkeys(self._warnings):
            warnings.warn(f"control: {message}", RMTGenomicsWarning, stacklevel=2)
        return self.error

    def stop(self) -> None:
        """End the process at its next step; its checkpoint can be resumed."""
        self._is_stopped = True
        if self._process is not None:
            self._process.terminate()
            self._relay.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        connection, end = context.Pipe()
        arguments = (self.job, torch.get_num_threads(), logger.getEffectiveLevel(), end)
        process = context.Process(target=_train_control, args=arguments, name="control")
        with _ignoring_sigint():  # of Ctrl-C; this process stops the other
            process.start()
        end.close()  # then the end of the process is also the end of the pipe
        self._process, self._connection = process, connection
        self._relay = threading.Thread(
            target=self._receive, args=(connection, process), daemon=True
        )
        self._relay.start()

    def _receive(self, connection: Connection, process: BaseProcess) -> None:
        """Log the messages of the process until it ends."""
        with suppress(EOFError, OSError):
            while True:
                kind, content = connection.recv()
                if kind == "log" and not self._is_stopped:
                    logger.log(content[0], "control: %s", content[1])
                elif kind == "warning":
                    self._warnings.append(content)
                elif kind == "end":
                    self._has_ended, self.error = True, content
        process.join()
        if not self._has_ended:
            self.error = (
                f"its process has ended with exit code {process.exitcode} (negative: killed by "
                "this signal), but must finish. Resume the run with --resume; if memory ran out, "
                "with a lower training.batch_size in a new run."
            )
            self._has_ended = True
        if self.error is not None and not self._is_stopped:
            logger.warning("%s: the control has failed: %s", self.folder.path, self.error)


@contextmanager
def _ignoring_sigint() -> Iterator[None]:
    """Ignore Ctrl-C, also in processes that are started meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _exit_at_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit with its exit code, as during a training."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _train_control(job: TrainingJob, num_threads: int, level: int, connection: Connection) -> None:
    """Train the control; the body of its process."""
    from rmt_genomics.training.train import run_training

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(num_threads)
    progress = ModelProgress()
    threading.Thread(target=_receive_progress, args=(connection, progress), daemon=True).start()
    package = logging.getLogger("rmt_genomics")
    package.addHandler(_SendMessages(connection))
    package.setLevel(level)
    package.propagate = False
    error = None
    # Without a terminal there is no progress bar, which would disturb that of the model.
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("always", RMTGenomicsWarning)
        warnings.showwarning = lambda message, category, *_, **__: (
            connection.send(("warning", str(message)))
            if issubclass(category, RMTGenomicsWarning)
            else None
        )
        try:
            run_training(job, DistributedSetup(), follows=progress)
        except (RMTGenomicsError, OSError) as raised:
            error = str(raised)
    connection.send(("end", error))


class _SendMessages(logging.Handler):
    """Send log messages to the process of the model."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the other process has been killed
            self.connection.send(("log", (record.levelno, record.getMessage())))


def _receive_progress(connection: Connection, progress: ModelProgress) -> None:
    """Take over the reports of the process of the model; stop this one when it has ended."""
    with suppress(EOFError, OSError):
        while True:
            stages, is_finished = connection.recv()
            progress.update(stages, is_finished=is_finished)
    os.kill(os.getpid(), signal.SIGTERM)


def _changes(name: str, config: ExperimentConfig) -> dict[str, str]:
    """Return the settings of a control that replace those of its model.

    There are none where the control only leaves ``training.init_from`` out.

    Raises:
        ConfigError: If the model has nothing that the control is to be without.
    """
    if name == MEMORY_RESET:
        if config.model.memory_reset == "segment":
            raise ConfigError(
                f"model.memory_reset is 'segment', so the model has no memory, but --control "
                f"{name} compares a model with the same network without memory. Leave one out."
            )
        return {"model.memory_reset": "segment"}
    if config.training.freeze == "encoder":
        raise ConfigError(
            f"training.freeze is 'encoder', but --control {name} trains the same network from "
            "random weights, and random weights that stay learn nothing. Leave one out."
        )
    if config.training.init_from is not None:
        return {}
    if config.model.backbone is None or config.model.backbone_weights == "random":
        raise ConfigError(
            f"--control {name} trains the same network from random weights, but the model itself "
            "starts from such: neither --init-from nor model.backbone is set. Leave --control out."
        )
    return {"model.backbone_weights": "random"}


def _config_of(name: str, config: ExperimentConfig) -> ExperimentConfig:
    """Return the settings of the control of a model with these settings."""
    changes = {key.removeprefix("model."): value for key, value in _changes(name, config).items()}
    config = config.replace(model=config.model.replace(**changes))
    if name == MEMORY_RESET or config.training.init_from is None:
        return config
    changed = {"init_from": None, "keep_head": False, "encoder_lr_factor": 1.0}
    return config.replace(training=config.training.replace(**changed))


def _name_of(control: ExperimentConfig, model: ExperimentConfig) -> str | None:
    """Return which control an earlier run has started; None if it is none."""
    if control.model.memory_reset != model.model.memory_reset:
        return MEMORY_RESET
    has_none = control.training.init_from is None and model.training.init_from is not None
    is_random = has_none or control.model.backbone_weights == "random"
    return RANDOM_WEIGHTS if is_random else None
