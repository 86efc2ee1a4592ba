import io
from pathlib import Path

from pytorch_lightning import LightningModule, Trainer
from rich.console import Console

from rmt_genomics.training.callbacks import MetricsLog, ShowProgress, line, speed
from rmt_genomics.training.run_folder import RunFolder
from tests.training.test_callbacks import ROW


class FakeTrainer(Trainer):
    """Is in the third epoch, and nothing else."""

    current_epoch = 2
    num_training_batches = 4

    def __init__(self) -> None:
        pass


def shown_on_terminal(tmp_path: Path, *, breaks: bool) -> str:
    """Go through an epoch of one batch on a terminal; return what it has shown."""
    measured = MetricsLog(RunFolder(tmp_path))
    measured.rows, measured.read_bp = [ROW], 500
    progress = ShowProgress(measured, 10)
    progress.console = Console(file=io.StringIO(), force_terminal=True, highlight=False)
    progress.on_train_batch_start(FakeTrainer(), LightningModule(), None, 0)
    progress.on_train_batch_end()
    assert progress.bar is not None
    progress.bar.refresh()
    if breaks:
        progress.on_exception(FakeTrainer(), LightningModule(), KeyboardInterrupt())
    else:
        progress.on_train_epoch_end(FakeTrainer(), LightningModule())
    assert progress.bar is None
    shown: str = progress.console.file.getvalue()  # type: ignore[attr-defined]
    return shown


def test_a_terminal_shows_a_bar_with_epoch_batches_and_speed(tmp_path: Path) -> None:
    shown = shown_on_terminal(tmp_path, breaks=False)

    for part in ("epoch 3/10", "1/4", "b/s", "val_loss 0.2500"):
        assert part in shown


def test_the_cursor_comes_back_when_training_breaks(tmp_path: Path) -> None:
    assert shown_on_terminal(tmp_path, breaks=True).count("\x1b[?25h") == 1


def test_an_epoch_is_one_line_for_people() -> None:
    assert line(ROW, 10) == (
        "epoch 2/10  train_loss 0.5000  val_loss 0.2500  val_mcc n/a  val_accuracy 1.0000  "
        "val_auroc n/a  "
        "12.3 kb/s  1.3 s"
    )


def test_a_speed_has_the_unit_that_keeps_it_short() -> None:
    assert [speed(each) for each in (0, 999, 1e3, 2.5e6, 3e9)] == [
        "0 bp/s",
        "999 bp/s",
        "1.0 kb/s",
        "2.5 Mb/s",
        "3.0 Gb/s",
    ]
