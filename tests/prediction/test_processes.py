"""Several processes write the file of one, also after some of them were killed."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import SimpleNamespace

import pytest

from rmt_genomics.errors import ConfigError, RMTGenomicsError
from rmt_genomics.prediction import sharding
from rmt_genomics.prediction.inputs import PredictionInput
from rmt_genomics.prediction.run import PredictionConfig, write_predictions
from rmt_genomics.prediction.sharding import (
    StopWithParent,
    check_shards_folder,
    predict_in_processes,
    shards_folder,
)
from tests.prediction.toys import dna, saved_model, write_fasta

pytestmark = pytest.mark.slow


def config_of(folder: Path, *, records: int = 260, model: str = "model") -> PredictionConfig:
    """Records whose batches are small enough for several shards."""
    if not (folder / model).exists():
        saved_model(folder / model, segment_length=128, depth=1)
    fasta = folder / "toy.fa"
    write_fasta(fasta, {f"r{i}": dna(100 + 90 * (i % 9), seed=i) for i in range(records)})
    return PredictionConfig(
        model_dir=str(folder / model), input=PredictionInput(fasta=(fasta,)), device="cpu"
    )


@contextmanager
def killed_after_ten_lines(shard: Path) -> Iterator[list[int]]:
    """Kill the process of a shard on its way; gives the number of rows it had written."""
    rows_at_death: list[int] = []
    part = shard.with_name(f"{shard.name}.part")

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not part.exists() or part.read_bytes().count(b"\n") < 10:
            if time.monotonic() > deadline:
                return
            time.sleep(0.002)
        for process in multiprocessing.active_children():
            if process.name == shard.name and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                rows_at_death.append(part.read_bytes().count(b"\n") - 2)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield rows_at_death
    finally:
        thread.join()


def test_a_killed_process_is_an_error_and_only_its_shard_is_resumed(tmp_path: Path) -> None:
    config, out, one = config_of(tmp_path), tmp_path / "out.tsv", tmp_path / "one.tsv"
    write_predictions(config, one, resume=False)
    folder = shards_folder(out)

    with (
        killed_after_ten_lines(folder / "1-of-2") as rows_at_death,
        pytest.raises(RMTGenomicsError, match=r"shard 1-of-2: .* exit code -9 .* with --resume"),
    ):
        predict_in_processes(config, out, 2, resume=False)
    with pytest.raises(ConfigError, match="an interrupted run has left shards here"):
        check_shards_folder(out, resume=False, overwrite=False)
    with pytest.raises(ConfigError, match="was started with processes 2, but this run has 3"):
        predict_in_processes(config, out, 3, resume=True)
    predict_in_processes(config, out, 2, resume=True)

    assert 0 < rows_at_death[0] < 130
    assert out.read_bytes() == one.read_bytes()
    assert not folder.exists()


def test_finished_shards_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = config_of(tmp_path, records=70), tmp_path / "out.tsv"
    predict_in_processes(config, tmp_path / "whole.tsv", 1, resume=False)
    with monkeypatch.context() as patch:
        patch.setattr(sharding, "write_lines", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict_in_processes(config, out, 1, resume=True)
    monkeypatch.setattr(SpawnProcess, "start", lambda _: pytest.fail("is started"))

    predict_in_processes(config, out, 1, resume=True)

    assert out.read_bytes() == (tmp_path / "whole.tsv").read_bytes()


def test_the_error_of_one_process_is_the_error_of_the_run(tmp_path: Path) -> None:
    config = config_of(tmp_path, records=3)
    with (tmp_path / "toy.fa").open("a") as fasta:
        fasta.write(">bad\nAC-T\n")

    with pytest.raises(
        RMTGenomicsError, match=r"record 'bad': position 2 holds '-'.* with --resume"
    ):
        predict_in_processes(config, tmp_path / "out.tsv", 2, resume=False)

    assert multiprocessing.active_children() == []


def test_the_folder_of_something_else_is_never_removed(tmp_path: Path) -> None:
    mine = shards_folder(tmp_path / "out.tsv") / "mine.txt"
    mine.parent.mkdir()
    mine.touch()

    for resume, overwrite in ((False, True), (True, False), (False, False)):
        with pytest.raises(ConfigError, match=r"shards: is not a folder of predict --processes"):
            check_shards_folder(tmp_path / "out.tsv", resume=resume, overwrite=overwrite)

    assert mine.exists()


def test_a_process_stops_when_its_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    StopWithParent().update(1)  # not a process of predict --processes
    parent = SimpleNamespace(is_alive=lambda: True)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    StopWithParent().update(1)
    parent.is_alive = lambda: False

    with pytest.raises(SystemExit, match="The process that started this one is gone"):
        StopWithParent().update(1)
