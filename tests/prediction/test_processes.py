"""Several processes write the file of one, also after some of them were killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rmt_genomics.atomic_io import partial_path
from rmt_genomics.dna import encode
from rmt_genomics.errors import RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.prediction.inputs import PredictionInput
from rmt_genomics.prediction.run import PredictionConfig, write_predictions
from rmt_genomics.prediction.sharding import predict_in_processes
from rmt_genomics.prediction.training_range import OTHER_KMERS, TrainingRange
from tests.prediction.toys import dna, saved_model, write_fasta

pytestmark = pytest.mark.slow


def config_of(folder: Path, *, records: int = 260, model: str = "model") -> PredictionConfig:
    """Records of several batches; above 1,024 of several windows."""
    if not (folder / model).exists():
        saved_model(folder / model, segment_length=128, depth=1)
    fasta = folder / "toy.fa"
    write_fasta(fasta, {f"r{i}": dna(20 + 15 * (i % 9), seed=i) for i in range(records)})
    return PredictionConfig(
        model_dir=str(folder / model), input=PredictionInput(fasta=(fasta,)), device="cpu"
    )


@contextmanager
def killed_after_ten_lines(out: Path) -> Iterator[list[int]]:
    """Kill the first process on its way; gives the number of rows that were written then."""
    rows_at_death: list[int] = []
    part = partial_path(out)

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not part.exists() or part.read_bytes().count(b"\n") < 10:
            if time.monotonic() > deadline:
                return
            time.sleep(0.002)
        for process in multiprocessing.active_children():
            if process.name == "shard 1" and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
                rows_at_death.append(part.read_bytes().count(b"\n") - 1)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield rows_at_death
    finally:
        thread.join()


def test_a_killed_process_is_an_error_and_the_run_is_resumed_by_any_number(tmp_path: Path) -> None:
    config, out, one = config_of(tmp_path, records=2500), tmp_path / "out.tsv", tmp_path / "one.tsv"
    write_predictions(config, one, resume=False)

    with (
        killed_after_ten_lines(out) as rows_at_death,
        pytest.raises(RMTGenomicsError, match=r"shard 1: .* exit code -9 .* with --resume"),
    ):
        predict_in_processes(config, out, 2, resume=False)
    assert multiprocessing.active_children() == []
    predict_in_processes(config, out, 1, resume=True)

    assert 0 < rows_at_death[0] < 2500
    assert out.read_bytes() == one.read_bytes()
    assert not list(tmp_path.glob("out.tsv.*"))


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    config, out = config_of(tmp_path, records=6000), tmp_path / "out.tsv"
    command = [sys.executable, "cli.py", "predict", config.model_dir, str(tmp_path / "toy.fa")]
    options = ["--device", "cpu", "--processes", "2", "--out", str(out)]
    parent = subprocess.Popen([*command, *options], cwd=Path(__file__).parents[2])
    while not partial_path(out).exists() or partial_path(out).read_bytes().count(b"\n") < 10:
        assert parent.poll() is None, "was to be killed on its way"
        time.sleep(0.002)
    listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()

    parent.kill()
    parent.wait()

    assert len(listed) == 3  # two processes, and the resource tracker of multiprocessing
    deadline = time.monotonic() + 20
    while any(Path("/proc", pid).exists() for pid in listed):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_notes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    config, one, two = config_of(tmp_path, records=100), tmp_path / "one.tsv", tmp_path / "two.tsv"
    training_range = TrainingRange.fit(encode(dna(60, seed=i)) for i in range(60))
    assert training_range is not None
    training_range.save(tmp_path / "model")
    with (tmp_path / "toy.fa").open("a") as fasta:
        fasta.write("".join(f">repeat{i}\n{'ACGT' * 20}\n" for i in range(3)))

    with pytest.warns(RMTGenomicsWarning) as of_one:
        write_predictions(config, one, resume=False)
    with pytest.warns(RMTGenomicsWarning) as of_two:
        predict_in_processes(config, two, 2, resume=False)

    lines = one.read_text().splitlines()
    notes = Counter(note for line in lines for note in line.split("\t")[-1].split("; ") if note)
    assert [line.split("\t")[-1] for line in lines[-3:]] == [OTHER_KMERS] * 3
    assert two.read_bytes() == one.read_bytes()
    assert [str(each.message) for each in of_two] == [str(each.message) for each in of_one]
    assert "Notes on 103 sequences: " in str(of_one[0].message)
    assert f"{OTHER_KMERS}: {notes[OTHER_KMERS]}." in str(of_one[0].message)


def test_the_error_of_one_process_is_the_error_of_the_run(tmp_path: Path) -> None:
    config = config_of(tmp_path, records=3)
    with (tmp_path / "toy.fa").open("a") as fasta:
        fasta.write(">bad\nAC-T\n")

    with pytest.raises(
        RMTGenomicsError, match=r"record 'bad': position 2 holds '-'.* with --resume"
    ):
        predict_in_processes(config, tmp_path / "out.tsv", 2, resume=False)

    assert multiprocessing.active_children() == []
