"""One training step, one validation: what Lightning's Trainer calls.

Randomness has one source: every epoch starts it anew from the seed and the epoch's number. So a
run that is resumed at an epoch draws what the run that never stopped would have drawn.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from rmt_genomics.datasets import Batch
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier, classification_metrics
from rmt_genomics.training.config import TrainingSettings
from rmt_genomics.training.loss import WeightedLoss
from rmt_genomics.training.optimizer import adamw, warmup_then_cosine

_SHOWN = 5


class ClassifierModule(LightningModule):
    """A classifier in training.

    Args:
        model: What is trained.
        loss: From logits and targets to a number.
        settings: How.
        seed: Where random numbers come from.
        record: Plain values that go into every checkpoint: what this run is.
    """

    def __init__(
        self,
        model: RMTClassifier,
        loss: WeightedLoss,
        settings: TrainingSettings,
        *,
        seed: int,
        record: Mapping[str, str | int],
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.settings = settings
        self.seed = seed
        self.record = dict(record)
        self.losses: list[tuple[Tensor, int]] = []
        self.outputs: list[tuple[Tensor, Tensor, list[str]]] = []
        self.validation: dict[str, float] = {}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Start the epoch's random numbers, after every loader has drawn its own."""
        del batch
        if batch_idx == 0:
            self.losses.clear()
            torch.manual_seed(epoch_seed(self.seed, self.current_epoch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            ConfigError: If it is not a finite number.
        """
        del batch_idx
        depth = self.settings.bptt_depth
        logits = self.model(
            batch.codes,
            batch.lengths,
            replay=self.settings.replay,
            bptt_depth=None if depth == "all" else depth,
        )
        loss: Tensor = self.loss(logits, batch.targets)
        if not torch.isfinite(loss):
            raise self._not_finite("loss", loss.item(), batch.names)
        self.losses.append((loss.detach(), len(batch.names)))
        return loss

    @property
    def train_loss(self) -> float:
        """Mean loss over the epoch's examples, each as it was when it was trained on."""
        total = sum(float(loss) * count for loss, count in self.losses)
        return total / sum(count for _, count in self.losses)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits: metrics are of the whole set, never means over batches."""
        del batch_idx
        logits = self.model(batch.codes, batch.lengths).float()
        self.outputs.append((logits.cpu(), batch.targets.cpu(), batch.names))

    def on_validation_epoch_end(self) -> None:
        """Compute loss and metrics of the whole validation part.

        Raises:
            ConfigError: If a logit is not a finite number.
        """
        logits = torch.cat([each for each, _, _ in self.outputs])
        targets = torch.cat([each for _, each, _ in self.outputs])
        names = [name for _, _, batch in self.outputs for name in batch]
        self.outputs.clear()
        broken = (~torch.isfinite(logits).all(dim=1)).nonzero().flatten().tolist()
        if broken:
            raise self._not_finite("validation output", float("nan"), [names[i] for i in broken])
        metrics = classification_metrics(
            targets.numpy(),
            self.model.probabilities(logits).numpy(),
            classes=self.model.classes_,
            task=self.model.config.task,
        )
        loss = self.loss(logits.to(self.device), targets.to(self.device))
        self.validation = {
            "val_loss": float(loss),
            "val_mcc": metrics["mcc"],
            "val_accuracy": metrics["accuracy"],
        }

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule for all steps of the run."""
        optimizer = adamw(
            self.model,
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        scheduler = warmup_then_cosine(
            optimizer,
            num_steps=int(self.trainer.estimated_stepping_batches),
            warmup_fraction=self.settings.warmup_fraction,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what this run is into its checkpoints."""
        checkpoint["run"] = self.record

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


def epoch_seed(seed: int, epoch: int) -> int:
    """Return a seed for an epoch, unrelated to those of its neighbours."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
