"""Two processes train what one trains: the same loss, the same weights, the same metrics.

They add numbers in another order, and float32 rounds: hence the tolerances.
"""

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
from rmt_genomics.training import distributed as training_processes
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.distributed import Processes, leave_at_once
from rmt_genomics.training.module import ClassifierModule
from tests.training.toys import TINY, run, write_data

Data = tuple[Path, Path]
CHANGES = {"training__batch_size": 5, "training__max_epochs": 3}
STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "TORCHELASTIC_RUN_ID",
           "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")  # fmt: skip
TIMES = ("bp_per_second", "seconds")
together = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in STARTED:
        monkeypatch.delenv(name, raising=False)


def one_of_two(rank: int, port: int, data: Data, out: Path, options: dict[str, Any]) -> None:
    """Train in one of two processes, as somebody else has started them."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update({**where, "LOCAL_RANK": str(rank), "NODE_RANK": "0"})
    torch.set_num_threads(1)
    stops_at, step = options.pop("stops_at", None), ClassifierModule.training_step

    def until(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == stops_at:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    ClassifierModule.training_step = until  # type: ignore[method-assign]
    try:
        result = run(data, out, devices=2, **{**CHANGES, **options})
        assert result.is_first == (rank == 0)
    except KeyboardInterrupt:
        assert stops_at is not None
    assert (
        len(training_processes._KEPT) == 1
    )  # or the last reference goes while a thread wants the lock
    leave_at_once()


def train_in_two(data: Data, out: Path, **options: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_of_two, (port, data, out, options), nprocs=2)


def rows_of(folder: Path) -> list[dict[str, float]]:
    """Return the rows, without what a clock says and what is left empty."""
    with (folder / "metrics.csv").open() as file:
        return [
            {k: float(cell) for k, cell in row.items() if cell and k not in TIMES}
            for row in csv.DictReader(file)
        ]


def assert_same_run(one: Path, two: Path) -> None:
    for row, other in zip(rows_of(one), rows_of(two), strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    last = [read_checkpoint(each / "checkpoints/last.ckpt") for each in (one, two)]
    torch.testing.assert_close(last[0]["state_dict"], last[1]["state_dict"], rtol=1e-3, atol=1e-4)
    assert len({held["callbacks"]["MetricsLog"]["read_bp"] for held in last}) == 1


@together
@pytest.mark.slow
@pytest.mark.distributed
def test_the_command_trains_in_two_processes_as_in_one(tmp_path: Path) -> None:
    data = write_data(tmp_path, num_records=28)  # batches of 5 and 2: a process may have one less
    settings = {**TINY, **{name.replace("__", "."): value for name, value in CHANGES.items()}}
    changed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    places = [str(data[0]), "--labels", str(data[1]), "--out", str(tmp_path / "two")]

    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        f"atexit.register(lambda: 'train' in sys.argv and open({str(tmp_path / 'apart')!r}, 'w'))\n"
    )
    command = [sys.executable, "-m", "rmt_genomics.cli", "train"]
    done = subprocess.run(
        [*command, *places, *changed, "--device", "cpu", "--devices", "2"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    run(data, tmp_path / "one", **CHANGES)

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "apart").exists()  # neither process took its interpreter apart
    assert done.stdout.count("mcc\t") == 1
    assert done.stderr.count("epoch 1/3") == 1
    assert_same_run(tmp_path / "one", tmp_path / "two")
    metrics = json.loads((tmp_path / "two/metrics.json").read_text())
    split = (tmp_path / "two/split.tsv").read_text()
    assert metrics["n"] == split.count("\tvalidation\n")


@together
@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(("stops_at", "goes_on"), [((1, 0), (0, 5)), ((1, 2), (1, 7))])
def test_two_processes_go_on_where_they_were_stopped(
    tmp_path: Path, stops_at: tuple[int, int], goes_on: tuple[int, int]
) -> None:
    data = write_data(tmp_path, num_records=28)
    options = {"training__checkpoint_minutes": 0, "training__max_epochs": 2}
    train_in_two(data, tmp_path / "two", stops_at=stops_at, **options)
    assert len(rows_of(tmp_path / "two")) == 1
    held = read_checkpoint(tmp_path / "two/checkpoints/last.ckpt")
    assert (held["epoch"], held["global_step"]) == goes_on

    train_in_two(data, tmp_path / "two", resume=True, **options)
    run(data, tmp_path / "one", **{**CHANGES, **options})

    assert_same_run(tmp_path / "one", tmp_path / "two")


@together
@pytest.mark.parametrize(
    ("variables", "processes", "rank"),
    [
        ({}, Processes(2), 0),
        ({"LOCAL_RANK": "1"}, Processes(2), 1),
        ({"LOCAL_RANK": "1", "NODE_RANK": "3"}, Processes(2, 4), 7),
        ({"LOCAL_RANK": "1"}, Processes(), 0),  # left behind by another program
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8"}, Processes(4, 2), 5),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3"}, Processes(4, 2), 3),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Processes(4), 0),
    ],
)
def test_a_process_knows_its_number_before_it_meets_the_others(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], processes: Processes, rank: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    processes.check("cpu")

    assert processes.rank == rank
    assert processes.is_first == (rank == 0)


@together
@pytest.mark.parametrize(
    ("variables", "processes", "device", "words"),
    [
        ({}, Processes(0), "cpu", "devices is 0, but must be at least 1"),
        ({}, Processes(1, 0), "cpu", "num_nodes is 0, but must be at least 1"),
        ({}, Processes(2), "mps", "devices is 2, but this machine has 1 of kind mps"),
        (
            {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"},
            Processes(),
            "cpu",
            "torchrun has started 2 processes, but --devices 1 and --num-nodes 1 ask for 1",
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"},
            Processes(2),
            "cpu",
            "srun has started 4 processes, but --devices 2 and --num-nodes 1 ask for 2",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    processes: Processes,
    device: str,
    words: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=words):
        processes.check(device)


def test_a_process_that_leaves_at_once_has_said_all_and_is_not_taken_apart() -> None:
    script = (
        "import atexit, sys\n"
        "from rmt_genomics.training.distributed import leave_at_once\n"
        "atexit.register(print, 'taken apart')\n"
        "print('said')\n"
        "print('in haste', file=sys.stderr, end='')\n"
        "leave_at_once()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "said\n", "in haste")
