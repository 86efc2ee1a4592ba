"""``pretrain``: parts by homology, resuming, settings that are refused."""

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from rmt_genomics import RMTClassifier
from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.training import config_file
from rmt_genomics.training.distributed import exit_without_cleanup
from rmt_genomics.training.pretraining import (
    PretrainingModule,
    PretrainingResult,
    check_settings,
    pretrain,
)
from tests.training.test_train import are_equal, rows_of
from tests.training.toys import TINY, sequence, stop_at, weights_of

CHANGES = {
    **{key: value for key, value in TINY.items() if key != "model.features"},
    "model.stem_pool": 2,
    "data.window_bp": 50,
}


def write_records(path: Path, *, num_records: int = 8, length_bp: int = 120, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    records = [f">r{index}\n{sequence(random, 0.4, length_bp)}" for index in range(num_records)]
    path.write_text("\n".join(records) + "\n")
    return path


def run(fasta: Path, out: Path, **options: Any) -> PretrainingResult:
    """Pretrain on the CPU; options with ``__`` are settings."""
    names = [name for name in options if "__" in name]
    changes = {name.replace("__", "."): options.pop(name) for name in names}
    settings = [f"{key}={value}" for key, value in {**CHANGES, **changes}.items()]
    return pretrain(fasta, out, config_file.read_config(None, settings), device="cpu", **options)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_records(tmp_path / "toy.fa")


def test_the_run_folder_is_a_model_folder_with_settings_and_metrics(
    fasta: Path, tmp_path: Path
) -> None:
    result = run(fasta, tmp_path / "run")

    model = RMTClassifier.from_pretrained(tmp_path / "run")
    assert model.config.task == "pretraining"
    assert model.embed(["ACGT"]).shape == (1, 16)
    assert list(rows_of(tmp_path / "run")[0]) == [
        *("epoch", "step", "train_loss", "val_loss", "val_bits_per_base", "learning_rate", "stage")
    ]
    assert result.metrics["val_bits_per_base"] == pytest.approx(2.0, abs=0.3)
    stored = config_file.read_config(tmp_path / "run" / "config.toml")
    assert stored.data.validation_fraction == 0.1
    split = (tmp_path / "run" / "split.tsv").read_text().splitlines()
    assert split[0] == "record\tstart\tend\tstrand\tlabel\tgroup\tsplit"


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "batch"), [(1, 0), (1, 2)])
def test_a_resumed_run_equals_one_without_interruption(
    fasta: Path, tmp_path: Path, epoch: int, batch: int
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options: dict[str, Any] = {"model__dropout": 0.2, "training__checkpoint_minutes": 0}
    run(fasta, whole, **options)

    stop_at(epoch, batch, lambda: run(fasta, stopped, **options))
    run(fasta, stopped, resume=True, **options)

    assert are_equal(weights_of(stopped), weights_of(whole))
    assert rows_of(stopped) == rows_of(whole)


def one_of_two(rank: int, port: int, fasta: Path, out: Path) -> None:
    """Pretrain in one of two processes, as if another program had started them."""
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update({**variables, "LOCAL_RANK": str(rank), "NODE_RANK": "0"})
    torch.set_num_threads(1)
    result = run(fasta, out, devices=2, training__batch_size=3)
    assert (result.model is None) == (rank == 1)
    exit_without_cleanup()


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_make_the_steps_of_one(fasta: Path, tmp_path: Path) -> None:
    run(fasta, tmp_path / "one", training__batch_size=3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    mp.spawn(one_of_two, (port, fasta, tmp_path / "two"), nprocs=2)

    for one, two in zip(rows_of(tmp_path / "one"), rows_of(tmp_path / "two"), strict=True):
        assert one.pop("stage") is two.pop("stage") is None
        assert one == pytest.approx(two, rel=1e-4)
    weights = weights_of(tmp_path / "two")
    for name, expected in weights_of(tmp_path / "one").items():
        torch.testing.assert_close(weights[name], expected, rtol=1e-3, atol=1e-4)


def test_other_bases_are_masked_in_each_epoch(fasta: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []

    def step(self: PretrainingModule, batch: Any, batch_idx: int) -> Any:
        del batch_idx
        for name, row in zip(batch.names, batch.targets, strict=True):
            seen.append((name, row.numpy().tobytes()))
        return (
            self.model.head.weight.sum() * 0
            + self.model.encoder.step.embed.embedding(torch.tensor([0])).sum()
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PretrainingModule, "training_step", step)
        run(fasta, tmp_path / "run")

    names = {name for name, _ in seen}
    assert len(seen) == 2 * len(names)
    assert len(set(seen)) == len(seen)


def test_similar_records_are_in_one_part(tmp_path: Path) -> None:
    fasta, random = tmp_path / "toy.fa", np.random.default_rng(0)
    with fasta.open("w") as file:
        for family in range(6):
            letters = sequence(random, 0.5, 400)
            for member in range(3):
                file.write(f">f{family}_{member}\n{letters[member * 10 :]}\n")

    result = run(fasta, tmp_path / "run", data__validation_fraction=0.3, training__max_epochs=1)

    assert result.data is not None
    families = [
        {example.interval.record.split("_")[0] for example in part}
        for part in (result.data.split.train, result.data.split.validation)
    ]
    assert not families[0] & families[1]
    assert len(families[1]) == 2
    assert {str(each.interval.record) for each in result.data.split.validation} == {
        f"{family}_{member}" for family in families[1] for member in range(3)
    }


def test_a_single_record_or_family_cannot_be_validated(tmp_path: Path) -> None:
    fasta = write_records(tmp_path / "one.fa", num_records=1)

    with pytest.raises(DataError, match="1 record in 1 group at 95% identity, but validation"):
        run(fasta, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data__task": "regression"}, "data.task is 'regression', but has no effect in pretr"),
        ({"model__features": '["kmer:3"]'}, "model.features is ['kmer:3'], but has no effect"),
        ({"training__shift_bp": 3}, "training.shift_bp is 3, but has no effect"),
        ({"training__time_budget": "10min"}, "training.time_budget is '10min', but has no effect"),
        ({"training__batch_size": "auto"}, "training.batch_size is 'auto', but must be a number"),
        ({"tokenizer__kind": "kmer", "tokenizer__k": 3}, "tokenizer.kind is 'kmer', but must be"),
        (
            {"curriculum__segments": "[1, 2]", "curriculum__shorten": "prefix"},
            "curriculum.segments is [1, 2], but has no effect",
        ),
        (
            {"simulation__task": "mosaic", "data__window_bp": 0},
            "simulation.task is 'mosaic', but has no effect",
        ),
        (
            {"pretraining__span_fraction": 0, "pretraining__span_bp": 3},
            "pretraining.span_bp is 3, but has no effect",
        ),
        ({"pretraining__mask_fraction": 1.0}, "pretraining.mask_fraction is 1.0, but must be"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tmp_path / "no.fa", tmp_path / "run", **change)

    assert message in str(caught.value)


def test_encoders_of_others_are_not_pretrained() -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone is 'encoder', but has no effect"):
        check_settings(config_file.read_config(None, ["model.backbone=encoder"]))


def test_a_training_with_labels_refuses_settings_of_pretraining(tmp_path: Path) -> None:
    from tests.training.toys import run as train
    from tests.training.toys import write_data

    with pytest.raises(ConfigError, match=r"pretraining\.span_bp is 3, but has no effect"):
        train(write_data(tmp_path), tmp_path / "run", pretraining__span_bp=3)


def test_pretraining_goes_on_from_a_pretrained_model(fasta: Path, tmp_path: Path) -> None:
    first = run(fasta, tmp_path / "first", training__max_epochs=1)
    start = {}
    plain = PretrainingModule.on_train_batch_start

    def note(self: PretrainingModule, batch: Any, batch_idx: int) -> None:
        if not start:
            start.update({name: each.clone() for name, each in self.model.state_dict().items()})
        plain(self, batch, batch_idx)

    sizes = {"model__dim": 8, "training__max_epochs": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PretrainingModule, "on_train_batch_start", note)
        run(fasta, tmp_path / "next", training__init_from=f'"{tmp_path / "first"}"', **sizes)

    assert first.model is not None
    assert are_equal(start, first.model.state_dict())
