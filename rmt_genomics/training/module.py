"""The Lightning module: training step, validation, optimiser, averaged weights.

All randomness of a training step follows from the seed, the epoch, the index of the batch and the
rank: every batch seeds PyTorch anew. So a run that is resumed at a batch draws the same numbers as
one that was never interrupted.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.hooks import RemovableHandle

from rmt_genomics.datasets import Batch
from rmt_genomics.datasets.label_checks import first_few
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.metrics import compute_metrics
from rmt_genomics.model.tokenization import N
from rmt_genomics.training import distributed
from rmt_genomics.training.callbacks import validation_columns
from rmt_genomics.training.config import TrainingSettings
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.loss import RegressionLoss, WeightedLoss
from rmt_genomics.training.micro_batches import MicroBatches
from rmt_genomics.training.optimizer import adamw, warmup_then_cosine


class TrainingModule(LightningModule):
    """A model in training, with the section ``training`` of the settings; without a loss.

    Plain values that identify the run are part of every checkpoint. The learning rate falls in the
    last stage of the curriculum only. ``rows`` is as in ``MicroBatches``.
    """

    def __init__(
        self,
        model: RMTClassifier,
        settings: TrainingSettings,
        *,
        seed: int,
        run_record: Mapping[str, str | int],
        curriculum: Curriculum | None = None,
        rows: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.seed = seed
        self.run_record = dict(run_record)
        self.curriculum = curriculum or Curriculum()
        self.micro_batches = MicroBatches(rows)
        decay = settings.weight_average
        self.average = averaged_copy(model, decay) if decay else None
        self.epoch_loss = (0.0, 0)  # sum over what is counted, and its number
        self.validation: dict[str, float] = {}
        self.hooks: list[RemovableHandle] = []
        self.may_stop = False  # within a step: its checkpoint callback knows the state before it

    @property
    def evaluated_model(self) -> RMTClassifier:
        """The model that is validated and saved: with averaged weights, if there is an average."""
        if self.average is None:
            return self.model
        averaged = self.average.module
        assert isinstance(averaged, RMTClassifier)
        return averaged

    @property
    def train_loss(self) -> float:
        """Mean loss over the epoch, of each example when it was trained on."""
        total, count = self.epoch_loss
        return total / max(1, count)

    @property
    def steps(self) -> set[torch.nn.Module]:
        """Modules that are called for each segment."""
        return {self.model.encoder.step, self.evaluated_model.encoder.step}

    def count(self, batch: Batch) -> int:
        """Return what a loss is the mean of: the number of examples."""
        return len(batch.names)

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the sum of the losses of a batch."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Take the micro-batch size and settings of rank 0, the only process that has measured."""
        del stage
        distributed.keep_process_group()
        self.settings = distributed.broadcast(self.settings)
        self.trainer.fit_loop.max_epochs = self.settings.max_epochs
        self.micro_batches.rows = distributed.broadcast(self.micro_batches.rows)
        self._add_hooks()

    def _add_hooks(self) -> None:
        if self.trainer.world_size == 1:  # another process would wait for this one
            self.hooks = [
                step.register_forward_pre_hook(self._stop_at_sigterm) for step in self.steps
            ]

    def teardown(self, stage: str) -> None:
        """Remove the hooks: a copy of the model must not contain this module."""
        del stage
        self._remove_hooks()

    def _remove_hooks(self) -> None:
        for hook in self.hooks:
            hook.remove()

    @contextmanager
    def without_hooks(self) -> Iterator[None]:
        """Let the model be copied while it is trained."""
        self._remove_hooks()
        try:
            yield
        finally:
            self._add_hooks()

    def _stop_at_sigterm(self, *_: Any) -> None:
        """Stop before the next segment: a step over many may take minutes."""
        if self.trainer.received_sigterm and (self.may_stop or self.trainer.validating):
            raise SIGTERMException

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the batch, after every loader has drawn its own random numbers."""
        del batch
        if batch_idx == 0:
            self.epoch_loss = (0.0, 0)
        rank, _ = distributed.rank_and_world_size()
        torch.manual_seed(batch_seed(self.seed, self.current_epoch, batch_idx, rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: the mean over the examples of all processes.

        DDP averages the gradients of the processes, so the loss of this one's examples is
        multiplied by the number of processes.

        Raises:
            ConfigError: If it is not a finite number, or an example does not fit into memory.
        """
        del batch_idx
        if self.settings.shift_bp:
            codes = shift_randomly(batch.codes, batch.lengths, self.settings.shift_bp)
            batch = batch._replace(codes=codes)
        total = self.micro_batches.total(self.loss_of, batch, self.parameters())
        sums = distributed.all_reduce(
            torch.stack([total.detach(), total.new_tensor(self.count(batch))])
        )
        loss, count = sums[0] / sums[1].clamp(min=1), int(sums[1])
        if not torch.isfinite(loss):
            names = [] if torch.isfinite(total) else batch.names
            raise self.not_finite("loss", loss.item(), distributed.all_gather(names))
        epoch_total, epoch_count = self.epoch_loss
        self.epoch_loss = (epoch_total + float(loss) * count, epoch_count + count)
        _, world_size = distributed.rank_and_world_size()
        return total * (world_size / max(1, count))

    def replay_options(self) -> dict[str, Any]:
        """Return how gradients are computed, as arguments of ``RMTClassifier.forward``."""
        depth = self.settings.bptt_depth
        return {
            "replay": self.micro_batches.must_replay or self.settings.replay,
            "bptt_depth": None if depth == "all" else depth,
        }

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make a step, then update the averaged weights."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule for all steps of the run.

        The number of steps is computed here: ``Trainer.estimated_stepping_batches`` would set up
        the loader before its position in the epoch is restored.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # a property it does not type
        settings = self.settings
        batches_per_epoch = -(-data.examples_per_epoch // data.batch_size)  # of all processes
        steps_per_epoch = -(-batches_per_epoch // settings.accumulate_batches)
        optimizer = adamw(
            self.model,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            encoder=self.model.encoder.step,
            encoder_lr_factor=settings.encoder_lr_factor,
        )
        scheduler = warmup_then_cosine(
            optimizer,
            num_steps=steps_per_epoch * settings.max_epochs,
            warmup_fraction=settings.warmup_fraction,
            decay_start=lambda: self.curriculum.last_began_at,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_train_start(self) -> None:
        """Take the learning rate of the present schedule: a resumed run may have more epochs."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            groups = scheduler.optimizer.param_groups
            schedule = zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
            for group, highest, fraction in schedule:
                group["lr"] = highest * fraction(scheduler.last_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the run record, the micro-batch size and the epoch's loss."""
        checkpoint["run"] = self.run_record
        checkpoint["micro_batches"] = self.micro_batches.state_dict()
        checkpoint["epoch_loss"] = self.epoch_loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the micro-batch size and the epoch's loss."""
        if "micro_batches" in checkpoint:
            self.micro_batches.load_state_dict(checkpoint["micro_batches"])
        self.epoch_loss = checkpoint["epoch_loss"]

    def not_finite(self, what: str, value: float, names: list[str]) -> ConfigError:
        """Return the error of a loss that is not finite, with the examples it is of."""
        is_bf16 = self.settings.precision == "bf16"
        return ConfigError(
            f"epoch {self.current_epoch + 1}, step {self.global_step} ({first_few(names)}): the "
            f"{what} is {value}, but must be a finite number. Lower training.learning_rate (now "
            f"{self.settings.learning_rate:g})"
            f"{', or set training.precision to fp32' if is_bf16 else ''}."
        )


class ClassifierModule(TrainingModule):
    """A classifier in training; arguments are those of ``TrainingModule``, and the loss."""

    def __init__(
        self,
        model: RMTClassifier,
        loss: WeightedLoss | RegressionLoss,
        settings: TrainingSettings,
        **options: Any,
    ) -> None:
        super().__init__(model, settings, **options)
        self.loss = loss
        self.outputs: list[tuple[Tensor, Tensor, list[str]]] = []

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the sum of the losses of the examples."""
        logits = self.model(batch.codes, batch.lengths, **self.replay_options())
        loss: Tensor = self.loss(logits, batch.targets) * len(batch.names)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits: metrics are computed on the whole set, not averaged over batches."""
        del batch_idx
        model = self.evaluated_model
        logits = self.micro_batches.retry(
            lambda parts: [model(part.codes, part.lengths) for part in parts], batch
        )
        if logits:
            self.outputs.append((torch.cat(logits).float().cpu(), batch.targets.cpu(), batch.names))

    def on_validation_epoch_end(self) -> None:
        """Compute loss and metrics of the whole validation part.

        Raises:
            ConfigError: If a logit is not a finite number.
        """
        outputs = distributed.all_gather(self.outputs)
        logits = torch.cat([logits for logits, _, _ in outputs])
        targets = torch.cat([targets for _, targets, _ in outputs])
        names = [name for _, _, names in outputs for name in names]
        self.outputs.clear()
        not_finite = (~torch.isfinite(logits).all(dim=1)).nonzero().flatten().tolist()
        if not_finite:
            bad_names = [names[index] for index in not_finite]
            raise self.not_finite("validation output", float("nan"), bad_names)
        task = self.model.config.task
        answers = self.model.outputs(logits).numpy()
        columns = validation_columns(task)
        metrics = compute_metrics(
            targets.numpy(), answers, classes=self.model.classes_, task=task, only=columns.values()
        )
        loss = self.loss(logits.to(self.device), targets.to(self.device))
        self.validation = {
            "val_loss": float(loss),
            **{column: metrics[name] for column, name in columns.items()},
        }


def averaged_copy(model: RMTClassifier, decay: float) -> AveragedModel:
    """Return a copy of the model; ``update_parameters`` moves it towards the model's weights.

    ``decay`` of the average remains at each step; less in the first steps, so that the initial
    weights are soon forgotten.
    """

    def step(average: Sequence[Tensor], now: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        num = int(num_averaged)
        weight = min(decay, (1 + num) / (10 + num))
        torch._foreach_lerp_(list(average), list(now), 1 - weight)

    average = AveragedModel(model, multi_avg_fn=torch.no_grad()(step))
    return average.requires_grad_(requires_grad=False)


def shift_randomly(
    codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"], max_shift_bp: int
) -> UInt8[Tensor, "b n"]:
    """Shift each sequence by a random number of base pairs, to the left or to the right.

    What is shifted out is lost, and the gap is filled with N: lengths do not change. A sequence is
    shifted by less than its length. Drawn from PyTorch's global random generator.
    """
    shifts = torch.randint(-max_shift_bp, max_shift_bp + 1, (len(codes),)).tolist()
    shifted = codes.clone()
    for row, (length, shift) in enumerate(zip(lengths.tolist(), shifts, strict=True)):
        shift = max(1 - length, min(length - 1, shift))
        begin, end = max(0, shift), min(length, length + shift)
        shifted[row, :length] = N
        shifted[row, begin:end] = codes[row, begin - shift : end - shift]
    return shifted


def batch_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Return the seed of a batch, independent of those of other batches and processes."""
    return int(np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1)[0])
