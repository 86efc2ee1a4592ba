"""One training step, one validation: what Lightning's Trainer calls.

Randomness has one source: every batch starts it anew from the seed and its place in the run. So a
run that is resumed at a batch draws what the run that never stopped would have drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from rmt_genomics.datasets import Batch
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.metrics import compute_metrics
from rmt_genomics.model.tokenization import N
from rmt_genomics.training.callbacks import scores_of
from rmt_genomics.training.config import TrainingSettings
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.distributed import gathered, keep_group, of_the_first, summed, this_rank
from rmt_genomics.training.loss import RegressionLoss, WeightedLoss
from rmt_genomics.training.micro_batches import MicroBatches
from rmt_genomics.training.optimizer import adamw, warmup_then_cosine


def average_of(model: RMTClassifier, decay: float) -> AveragedModel:
    """Return a copy of the model whose ``update_parameters`` takes a step towards its weights.

    Args:
        model: What is trained.
        decay: Share of the average that stays at each step. The first steps keep less, so that
            the weights a model starts with do not linger.
    """

    def step(average: Sequence[Tensor], now: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        num = int(num_averaged)
        stays = min(decay, (1 + num) / (10 + num))
        torch._foreach_lerp_(list(average), list(now), 1 - stays)

    average = AveragedModel(model, multi_avg_fn=torch.no_grad()(step))
    return average.requires_grad_(requires_grad=False)


def shifted(
    codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"], at_most: int
) -> UInt8[Tensor, "b n"]:
    """Move each row by a random number of base pairs, to the left or to the right.

    What moves beyond an end is cut off, and N comes in at the other: lengths stay as they are.
    The same seed of PyTorch gives the same numbers. A row is moved by less than its length.

    Args:
        codes: Base codes, padded at the end; left as they are.
        lengths: Base pairs of each row.
        at_most: Most base pairs to move by.
    """
    moves = torch.randint(-at_most, at_most + 1, (len(codes),)).tolist()
    moved = codes.clone()
    for row, (length, move) in enumerate(zip(lengths.tolist(), moves, strict=True)):
        move = max(1 - length, min(length - 1, move))
        if move > 0:
            moved[row, move:length] = codes[row, : length - move]
            moved[row, :move] = N
        elif move < 0:
            moved[row, : length + move] = codes[row, -move:length]
            moved[row, length + move : length] = N
    return moved


_SHOWN = 5


class ClassifierModule(LightningModule):
    """A classifier in training.

    Args:
        model: What is trained.
        loss: From logits and targets to a number.
        settings: How.
        seed: Where random numbers come from.
        record: Plain values that go into every checkpoint: what this run is.
        curriculum: The learning rate falls in its last stage only.
    """

    def __init__(
        self,
        model: RMTClassifier,
        loss: WeightedLoss | RegressionLoss,
        settings: TrainingSettings,
        *,
        seed: int,
        record: Mapping[str, str | int],
        curriculum: Curriculum | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.settings = settings
        self.seed = seed
        self.record = dict(record)
        self.curriculum = curriculum or Curriculum()
        self.micro = MicroBatches()
        decay = settings.weight_average
        self.average = average_of(model, decay) if decay else None
        self.epoch_loss = (0.0, 0)  # summed over so many examples
        self.outputs: list[tuple[Tensor, Tensor, list[str]]] = []
        self.validation: dict[str, float] = {}

    def setup(self, stage: str) -> None:
        """Compute as many examples at a time as the first process does, to begin with."""
        del stage
        keep_group()
        self.micro.rows = of_the_first(self.micro.rows)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Start the batch's random numbers, after every loader has drawn its own."""
        del batch
        if batch_idx == 0:
            self.epoch_loss = (0.0, 0)
        torch.manual_seed(batch_seed(self.seed, self.current_epoch, batch_idx, this_rank()[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch: the mean over the examples of all processes.

        DDP takes the mean of the gradients of its processes, so that the loss of this one's part
        is multiplied by their number.

        Raises:
            ConfigError: If it is not a finite number, or an example does not fit into memory.
        """
        del batch_idx
        if self.settings.shift_bp:
            codes = shifted(batch.codes, batch.lengths, self.settings.shift_bp)
            batch = batch._replace(codes=codes)
        total = self.micro.total(self._loss_of, batch, self.parameters())
        of_all = summed(torch.stack([total.detach(), total.new_tensor(len(batch.names))]))
        loss, count = of_all[0] / of_all[1], int(of_all[1])
        if not torch.isfinite(loss):
            names = [] if torch.isfinite(total) else batch.names
            raise self._not_finite("loss", loss.item(), gathered(names))
        before, num_before = self.epoch_loss
        self.epoch_loss = (before + float(loss) * count, num_before + count)
        return total * (this_rank()[1] / count)

    def _loss_of(self, batch: Batch) -> Tensor:
        """Return the sum of the losses of some examples."""
        depth = self.settings.bptt_depth
        logits = self.model(
            batch.codes,
            batch.lengths,
            replay=self.micro.must_replay or self.settings.replay,
            bptt_depth=None if depth == "all" else depth,
        )
        loss: Tensor = self.loss(logits, batch.targets) * len(batch.names)
        return loss

    @property
    def judged(self) -> RMTClassifier:
        """What is validated and saved: the average of the weights, or the weights themselves."""
        if self.average is None:
            return self.model
        averaged = self.average.module
        assert isinstance(averaged, RMTClassifier)
        return averaged

    def optimizer_step(self, *given: Any, **named: Any) -> None:
        """Make a step, then average the weights."""
        super().optimizer_step(*given, **named)
        if self.average is not None:
            self.average.update_parameters(self.model)

    @property
    def train_loss(self) -> float:
        """Mean loss over the epoch's examples, each as it was when it was trained on."""
        total, count = self.epoch_loss
        return total / count

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits: metrics are of the whole set, never means over batches."""
        del batch_idx
        logits = self.micro.outputs(lambda part: self.judged(part.codes, part.lengths), batch)
        if logits:
            self.outputs.append((torch.cat(logits).float().cpu(), batch.targets.cpu(), batch.names))

    def on_validation_epoch_end(self) -> None:
        """Compute loss and metrics of the whole validation part.

        Raises:
            ConfigError: If a logit is not a finite number.
        """
        outputs = gathered(self.outputs)  # those of all processes
        logits = torch.cat([each for each, _, _ in outputs])
        targets = torch.cat([each for _, each, _ in outputs])
        names = [name for _, _, batch in outputs for name in batch]
        self.outputs.clear()
        broken = (~torch.isfinite(logits).all(dim=1)).nonzero().flatten().tolist()
        if broken:
            raise self._not_finite("validation output", float("nan"), [names[i] for i in broken])
        task = self.model.config.task
        answers = self.model.outputs(logits).numpy()
        metrics = compute_metrics(targets.numpy(), answers, classes=self.model.classes_, task=task)
        loss = self.loss(logits.to(self.device), targets.to(self.device))
        self.validation = {
            "val_loss": float(loss),
            **{column: metrics[name] for column, name in scores_of(task).items()},
        }

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule for all steps of the run.

        The Trainer's own estimate of their number is not asked for: it would set up the loader
        before its place in the epoch is known.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # a property it does not type
        steps_an_epoch = -(-data.batches_an_epoch // self.settings.accumulate_batches)
        optimizer = adamw(
            self.model,
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        scheduler = warmup_then_cosine(
            optimizer,
            num_steps=steps_an_epoch * self.settings.max_epochs,
            warmup_fraction=self.settings.warmup_fraction,
            falls_from=lambda: self.curriculum.last_began_at,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what this run is into its checkpoints."""
        checkpoint["run"] = self.record
        checkpoint["micro_batches"] = self.micro.state_dict()
        checkpoint["epoch_loss"] = self.epoch_loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with as many examples at a time as fitted before, and with the epoch's loss."""
        if "micro_batches" in checkpoint:
            self.micro.load_state_dict(checkpoint["micro_batches"])
        self.epoch_loss = checkpoint["epoch_loss"]

    def _not_finite(self, what: str, value: float, names: list[str]) -> ConfigError:
        """Say when, in which examples, and what to do."""
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        is_bf16 = self.settings.precision == "bf16"
        return ConfigError(
            f"epoch {self.current_epoch + 1}, step {self.global_step} ({shown}): the {what} is "
            f"{value}, but must be a finite number. Lower training.learning_rate (now "
            f"{self.settings.learning_rate:g})"
            f"{', or set training.precision to fp32' if is_bf16 else ''}."
        )


def batch_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Return a seed for a batch, unrelated to those of its neighbours and of other processes."""
    return int(np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1)[0])
