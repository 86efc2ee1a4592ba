"""Several processes write the file of one, even if some of them are killed on the way."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rmt_genomics.errors import ConfigError, RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.prediction import sharding as processes
from rmt_genomics.prediction.inputs import PredictionInput
from rmt_genomics.prediction.run import PredictionConfig, write_predictions
from rmt_genomics.prediction.sharding import check_folder, folder_of, predict_in_processes
from tests.prediction.toys import dna, saved_model, write_fasta

pytestmark = pytest.mark.slow


def job(folder: Path, *, records: int = 260, model: str = "model") -> PredictionConfig:
    """Records whose batches are small enough for several shares."""
    if not (folder / model).exists():
        saved_model(folder / model, segment_length=128, depth=1)
    fasta = folder / "toy.fa"
    write_fasta(fasta, {f"r{i}": dna(100 + 90 * (i % 9), seed=i) for i in range(records)})
    return PredictionConfig(
        model_dir=str(folder / model), reading=PredictionInput(fasta=(fasta,)), device="cpu"
    )


class KillOnce:
    """Starts processes, and kills the first as soon as it has written some rows."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.rows_at_death: list[int] = []

    def __call__(
        self, command: Sequence[str], environment: Mapping[str, str], talk: Path
    ) -> "subprocess.Popen[bytes]":
        process = processes._start(command, environment, talk)
        if len(self.rows_at_death) < self.times:
            part = talk.with_name(talk.name.replace(".log", ".part"))
            while not part.exists() or part.read_bytes().count(b"\n") < 10:
                assert process.poll() is None, talk.read_text()
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            self.rows_at_death.append(part.read_bytes().count(b"\n") - 2)
        return process


def test_a_killed_process_is_begun_again_and_the_file_is_that_of_one(tmp_path: Path) -> None:
    work, out, one = job(tmp_path), tmp_path / "out.tsv", tmp_path / "one.tsv"
    write_predictions(work, one, resume=False)
    start = KillOnce(times=1)

    with pytest.warns(RMTGenomicsWarning, match=r"1-of-2: the process was killed \(signal 9\)"):
        predict_in_processes(work, out, 2, resume=False, start=start)

    assert 0 < start.rows_at_death[0] < 130
    assert out.read_bytes() == one.read_bytes()
    assert not folder_of(out).exists()


def test_a_process_that_is_killed_every_time_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "TRIES", 1)

    with pytest.raises(RMTGenomicsError, match=r"was killed 1 times .* Use fewer --processes"):
        predict_in_processes(
            job(tmp_path), tmp_path / "out.tsv", 1, resume=False, start=KillOnce(times=1)
        )

    assert not folder_of(tmp_path / "out.tsv").exists()


def test_what_one_process_says_is_the_error(tmp_path: Path) -> None:
    work = job(tmp_path, records=3)
    with (tmp_path / "toy.fa").open("a") as fasta:
        fasta.write(">bad\nAC-T\n")

    with pytest.raises(RMTGenomicsError, match="record 'bad': position 2 holds '-'"):
        predict_in_processes(work, tmp_path / "out.tsv", 1, resume=False)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "toy.fa"]


def test_shards_of_a_stopped_run_are_gone_on_with_or_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, out = job(tmp_path, records=70), tmp_path / "out.tsv"
    with monkeypatch.context() as patch:
        patch.setattr(processes, "TRIES", 1)
        with pytest.raises(RMTGenomicsError, match="was killed"):
            predict_in_processes(work, out, 1, resume=True, start=KillOnce(times=1))

    with pytest.raises(ConfigError, match="a run that was stopped has left shards here"):
        check_folder(out, resume=False, overwrite=False)
    with pytest.raises(ConfigError, match="was started with processes 1, but this run has 2"):
        predict_in_processes(work, out, 2, resume=True)
    predict_in_processes(work, out, 1, resume=True)

    write_predictions(work, tmp_path / "one.tsv", resume=False)
    assert out.read_bytes() == (tmp_path / "one.tsv").read_bytes()
