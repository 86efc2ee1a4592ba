"""One row of numbers an epoch, in ``metrics.jsonl`` and ``metrics.csv``.

The rows are part of every checkpoint. A resumed run first writes those of its checkpoint anew, so
that an epoch which was cut off, or half a line, never stays in the files.
"""

import csv
import io
import json
import time
from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from rmt_genomics.datasets import Batch
from rmt_genomics.training.run_folder import RunFolder

Row = dict[str, float | int | None]

COLUMNS = (
    "epoch",
    "step",
    "train_loss",
    "val_loss",
    "val_mcc",
    "val_accuracy",
    "learning_rate",
    "bp_per_second",
    "seconds",
)


class MetricsLog(Callback):
    """Measure each epoch and append its row to both files.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.read_bp = 0
        self._epoch_start = 0.0
        self._train_seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin both files: empty, or with the rows of the checkpoint."""
        del trainer, pl_module
        self.folder.write({"metrics.jsonl": as_jsonl(self.rows), "metrics.csv": as_csv(self.rows)})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self.read_bp, self._train_seconds = 0, 0.0
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count base pairs, each once, though the model reads both strands."""
        del trainer, pl_module, outputs, batch_idx
        self.read_bp += int(batch.lengths.sum())
        self._train_seconds = time.perf_counter() - self._epoch_start

    @property
    def bp_per_second(self) -> float:
        """Speed of this epoch's training so far; validation not counted."""
        return self.read_bp / max(self._train_seconds, 1e-9)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Append the row of the epoch."""
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "train_loss": pl_module.train_loss,
            **pl_module.validation,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "bp_per_second": round(self.bp_per_second),
            "seconds": round(time.perf_counter() - self._epoch_start, 3),
        }
        self.rows.append(row)
        for name, text in (("metrics.jsonl", as_jsonl([row])), ("metrics.csv", as_line(row))):
            with (self.folder.path / name).open("a", encoding="utf-8", newline="") as file:
                file.write(text)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])


def as_jsonl(rows: Sequence[Row]) -> str:
    """Write one JSON object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: Sequence[Row]) -> str:
    """Write a header and one line a row; a value that is not defined stays empty."""
    return ",".join(COLUMNS) + "\n" + "".join(map(as_line, rows))


def as_line(row: Row) -> str:
    """Write one line of the CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([row[name] for name in COLUMNS])
    return line.getvalue()
