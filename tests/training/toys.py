"""A data set that a tiny model learns in seconds: GC-rich records against AT-rich ones."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmt_genomics.training import ExperimentConfig, TrainingResult, read_config, train
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.module import TrainingModule

TINY = {
    "model.dim": 8,
    "model.depth": 1,
    "model.heads": 2,
    "model.segment_length": 16,
    "model.num_memory_tokens": 2,
    "model.stem_width": 3,
    "model.stem_pool": 1,
    "model.pooling": "last",
    "model.dropout": 0.0,
    "model.features": "none",
    "training.max_epochs": 2,
    "training.batch_size": 4,
    "training.learning_rate": 0.01,
    "training.weight_decay": 0.01,
    "training.weight_average": 0.0,
}


def settings(**changes: Any) -> ExperimentConfig:
    """Tiny settings; ``training__max_epochs=3`` changes one."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return read_config(None, [f"{key}={value}" for key, value in {**TINY, **dotted}.items()])


def sequence(random: np.random.Generator, gc: float, length_bp: int) -> str:
    """Return random DNA with a given GC content."""
    frequencies = [(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]
    return "".join(random.choice(list("ACGT"), p=frequencies, size=length_bp))


def write_data(
    folder: Path, *, num_records: int = 16, seed: int = 0, lengths_bp: tuple[int, int] = (20, 60)
) -> tuple[Path, Path]:
    """Write FASTA and labels; the last length does not occur."""
    random = np.random.default_rng(seed)
    fasta, labels = folder / "toy.fasta", folder / "labels.tsv"
    names = [f"r{index}" for index in range(num_records)]
    classes = ["rich" if index % 2 else "poor" for index in range(num_records)]
    gc_contents = {"rich": 0.9, "poor": 0.1}
    records = [
        f">{name}\n{sequence(random, gc_contents[label], int(random.integers(*lengths_bp)))}"
        for name, label in zip(names, classes, strict=True)
    ]
    fasta.write_text("\n".join(records) + "\n")
    rows = [f"{name}\t{label}" for name, label in zip(names, classes, strict=True)]
    labels.write_text("\n".join(["record\tlabel", *rows]) + "\n")
    return fasta, labels


def run(data: tuple[Path, Path], out: Path, **options: Any) -> TrainingResult:
    """Train on the CPU; options with ``__`` are settings, as ``settings`` takes them."""
    changes = {name: options.pop(name) for name in list(options) if "__" in name}
    return train(*data, out, settings(**changes), device="cpu", **options)


def stop_at(epoch: int, batch: int, action: Callable[[], object]) -> None:
    """Simulate Ctrl-C before a batch of a training, or of a pretraining."""
    plain = TrainingModule.training_step

    def step(self: TrainingModule, inputs: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            raise KeyboardInterrupt
        return plain(self, inputs, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", step)
        with pytest.raises(KeyboardInterrupt):
            action()


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the last checkpoint of a run."""
    weights: dict[str, torch.Tensor] = read_checkpoint(folder / "checkpoints/last.ckpt")[
        "state_dict"
    ]
    return weights


@contextmanager
def no_log_handlers() -> Iterator[None]:
    """Remove pytest's log handlers, as in a program that has not configured logging."""
    handlers = logging.root.handlers[:]
    logging.root.handlers.clear()
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
