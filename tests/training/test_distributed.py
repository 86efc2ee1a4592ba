"""Two processes train the same model as one: same losses, weights and metrics.

They sum numbers in another order, and float32 rounds: hence the tolerances.
"""

import atexit
import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from rmt_genomics.errors import ConfigError
from rmt_genomics.training import distributed
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.distributed import DistributedSetup, exit_without_cleanup, num_cores
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.runtime import lightning_silenced
from tests.training.toys import TINY, run, write_data

Data = tuple[Path, Path]
CHANGES = {"training__batch_size": 5, "training__max_epochs": 3}
LAUNCHER_VARIABLES = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "TORCHELASTIC_RUN_ID"),
    *("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)
TIMES = ("bp_per_second", "seconds")
no_launcher = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def one_of_two(rank: int, port: int, data: Data, out: Path, options: dict[str, Any]) -> None:
    """Train in one of two processes, as if another program had started them."""
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update({**variables, "LOCAL_RANK": str(rank), "NODE_RANK": "0"})
    torch.set_num_threads(1)
    stops_at, step = options.pop("stops_at", None), ClassifierModule.training_step

    def interrupted(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == stops_at:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    ClassifierModule.training_step = interrupted  # type: ignore[method-assign]
    try:
        result = run(data, out, devices=2, **{**CHANGES, **options})
        assert result.is_rank_zero == (rank == 0)
    except KeyboardInterrupt:
        assert stops_at is not None
    assert len(distributed._process_groups) == 1  # else the last reference goes: a deadlock
    exit_without_cleanup()


def train_in_two(data: Data, out: Path, **options: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_of_two, (port, data, out, options), nprocs=2)


def rows_of(folder: Path) -> list[dict[str, float]]:
    """Return the rows without times and empty cells."""
    with (folder / "metrics.csv").open() as file:
        return [
            {k: float(cell) for k, cell in row.items() if cell and k not in TIMES}
            for row in csv.DictReader(file)
        ]


def assert_same_run(one: Path, two: Path) -> None:
    for row, other in zip(rows_of(one), rows_of(two), strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    last = [read_checkpoint(folder / "checkpoints/last.ckpt") for folder in (one, two)]
    torch.testing.assert_close(last[0]["state_dict"], last[1]["state_dict"], rtol=1e-3, atol=1e-4)
    assert len({saved["callbacks"]["MetricsLog"]["read_bp"] for saved in last}) == 1


@no_launcher
@pytest.mark.slow
@pytest.mark.distributed
def test_the_command_trains_the_same_in_two_processes_as_in_one(tmp_path: Path) -> None:
    data = write_data(tmp_path, num_records=28)  # batches of 5 and 2: one process may have fewer
    settings = {**TINY, **{name.replace("__", "."): value for name, value in CHANGES.items()}}
    changed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    paths = [str(data[0]), "--labels", str(data[1]), "--out", str(tmp_path / "two")]

    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        f"path = {str(tmp_path / 'finalised')!r}\n"
        "atexit.register(lambda: 'train' in sys.argv and open(path, 'w'))\n"
    )
    command = [sys.executable, "-m", "rmt_genomics.cli", "train"]
    process = subprocess.run(
        [*command, *paths, *changed, "--device", "cpu", "--devices", "2"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    run(data, tmp_path / "one", **CHANGES)

    assert process.returncode == 0, process.stderr
    assert not (tmp_path / "finalised").exists()  # neither interpreter was finalised
    assert process.stdout.count("mcc\t") == 1
    assert process.stderr.count("epoch 1/3") == 1
    assert_same_run(tmp_path / "one", tmp_path / "two")
    metrics = json.loads((tmp_path / "two/metrics.json").read_text())
    split = (tmp_path / "two/split.tsv").read_text()
    assert metrics["n"] == split.count("\tvalidation\n")


@no_launcher
@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_resume_where_they_were_interrupted(tmp_path: Path) -> None:
    """Within the second epoch; tests of one process stop at other places, too."""
    stops_at, resumes_at = (1, 2), (1, 7)
    data = write_data(tmp_path, num_records=28)
    options = {"training__checkpoint_minutes": 0, "training__max_epochs": 2}
    train_in_two(data, tmp_path / "two", stops_at=stops_at, **options)
    assert len(rows_of(tmp_path / "two")) == 1
    saved = read_checkpoint(tmp_path / "two/checkpoints/last.ckpt")
    assert (saved["epoch"], saved["global_step"]) == resumes_at

    train_in_two(data, tmp_path / "two", resume=True, **options)
    run(data, tmp_path / "one", **{**CHANGES, **options})

    assert_same_run(tmp_path / "one", tmp_path / "two")


@no_launcher
@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_start_from_a_model_as_one_does(tmp_path: Path) -> None:
    data, initial = write_data(tmp_path, num_records=28), tmp_path / "initial"
    run(data, initial, training__max_epochs=1)
    options = {
        **{"training__init_from": json.dumps(str(initial)), "training__freeze": "encoder"},
        **{"training__keep_head": "true", "training__max_epochs": 1},
    }

    train_in_two(data, tmp_path / "two", **options)
    run(data, tmp_path / "one", **{**CHANGES, **options})

    assert_same_run(tmp_path / "one", tmp_path / "two")


@no_launcher
@pytest.mark.parametrize(
    ("variables", "setup", "rank"),
    [
        ({}, DistributedSetup(2), 0),
        ({"LOCAL_RANK": "1"}, DistributedSetup(2), 1),
        ({"LOCAL_RANK": "1", "NODE_RANK": "3"}, DistributedSetup(2, 4), 7),
        ({"LOCAL_RANK": "1"}, DistributedSetup(), 0),  # left behind by another program
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8"}, DistributedSetup(4, 2), 5),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"}, DistributedSetup(4, 2), 3),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, DistributedSetup(4), 0),
    ],
)
def test_the_rank_follows_from_the_environment_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], setup: DistributedSetup, rank: int
) -> None:
    # no more processes than cores are started
    monkeypatch.setattr("rmt_genomics.training.distributed.num_cores", lambda: 4)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    setup.check("cpu")

    assert setup.rank == rank
    assert setup.is_rank_zero == (rank == 0)


@no_launcher
def test_srun_in_an_interactive_job_is_no_error_of_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lightning refuses --ntasks without --ntasks-per-node, which only batch scripts set."""
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    for name in ("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.setenv(name, "2")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)

    with DistributedSetup(2).session(), lightning_silenced():
        assert DistributedSetup(2).cluster_environment().world_size() == 2
    assert "SLURM_NTASKS_PER_NODE" not in os.environ


@no_launcher
@pytest.mark.parametrize(
    ("variables", "setup", "device", "message"),
    [
        ({}, DistributedSetup(0), "cpu", "devices is 0, but must be at least 1"),
        ({}, DistributedSetup(1, 0), "cpu", "num_nodes is 0, but must be at least 1"),
        ({}, DistributedSetup(2), "mps", "devices is 2, but this machine has 1 of kind mps"),
        (
            {},
            DistributedSetup(9999),
            "cpu",
            f"devices is 9999, but this machine has {num_cores()} CPU cores, and each process ",
        ),
        (
            {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"},
            DistributedSetup(),
            "cpu",
            "torchrun started 2 processes, but --devices 1 and --num-nodes 1 need 1",
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"},
            DistributedSetup(2),
            "cpu",
            "srun started 4 processes, but --devices 2 and --num-nodes 1 need 2",
        ),
    ],
)
def test_wrong_numbers_of_processes_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    setup: DistributedSetup,
    device: str,
    message: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=message):
        setup.check(device)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_exit_without_cleanup_flushes_output_and_skips_finalisation(tmp_path: Path) -> None:
    process = os.fork()
    if process == 0:
        sys.stdout = (tmp_path / "stdout").open("w")
        sys.stderr = (tmp_path / "stderr").open("w")
        atexit.register(print, "finalised")
        print("to stdout")
        print("to stderr", file=sys.stderr, end="")
        try:
            exit_without_cleanup()
        finally:
            os._exit(3)

    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    assert code == 0
    assert (tmp_path / "stdout").read_text() == "to stdout\n"
    assert (tmp_path / "stderr").read_text() == "to stderr"
