"""Processes that ``torchrun`` or ``srun`` has started train the same model as one process."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.test_distributed import CHANGES, LAUNCHER_VARIABLES, assert_same_run
from tests.training.toys import TINY, run, write_data

ROOT = Path(__file__).parents[2]
Start = Callable[[int, list[str]], "subprocess.Popen[str]"]


def settings() -> list[str]:
    """Return the command-line options for the settings of ``run``."""
    changes = {**TINY, **{name.replace("__", "."): value for name, value in CHANGES.items()}}
    return [*[f"--set={key}={value}" for key, value in changes.items()], "--device", "cpu"]


def start_process(command: list[str], **variables: object) -> "subprocess.Popen[str]":
    """Start a command with one thread, our programs on its path, and these variables."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in LAUNCHER_VARIABLES
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    added = {"OMP_NUM_THREADS": 1, "PATH": path, "MASTER_ADDR": "127.0.0.1", **variables}
    return subprocess.Popen(
        command,
        env={**inherited, **{name: str(value) for name, value in added.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def by_torchrun(port: int) -> Start:
    """Start the script in ``docs/`` as on two machines with one CPU each; both are this machine."""

    def start(node: int, paths: list[str]) -> "subprocess.Popen[str]":
        command = ["bash", str(ROOT / "docs/torchrun.sh"), *paths, *settings()]
        return start_process(command, HEAD="127.0.0.1", PORT=port, NODE=node, NODES=2, GPUS=1)

    return start


def by_srun(port: int) -> Start:
    """Start the command of ``docs/slurm.sh`` with the variables of ``srun``, without SLURM."""

    def start(node: int, paths: list[str]) -> "subprocess.Popen[str]":
        fasta, labels, out = paths
        train = [sys.executable, "-m", "rmt_genomics.cli", "train", fasta, "--labels", labels]
        slurm = {"JOB_ID": 7, "JOB_NAME": "toy", "NTASKS": 2, "STEP_NUM_TASKS": 2, "NNODES": 2}
        slurm |= {"NTASKS_PER_NODE": 1, "PROCID": node, "LOCALID": 0, "NODEID": node}
        return start_process(
            [*train, "--out", out, *settings(), "--devices", "1", "--num-nodes", "2"],
            MASTER_PORT=port,
            SLURM_NODELIST="127.0.0.1",
            **{f"SLURM_{name}": value for name, value in slurm.items()},
        )

    return start


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.skipif(os.name == "nt", reason="the scripts are for bash")
@pytest.mark.parametrize("launcher", [by_torchrun, by_srun])
def test_two_machines_train_the_same_as_one_process(
    tmp_path: Path, launcher: Callable[[int], Start]
) -> None:
    fasta, labels = write_data(tmp_path, num_records=28)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        start = launcher(free.getsockname()[1])

    nodes = [start(node, [str(fasta), str(labels), str(tmp_path / "two")]) for node in range(2)]
    outputs = [node.communicate(timeout=300) for node in nodes]
    run((fasta, labels), tmp_path / "one", **CHANGES)

    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert ["epoch 1/3" in stderr for _, stderr in outputs] == [True, False]
    assert ["mcc\t" in stdout for stdout, _ in outputs] == [True, False]
    assert_same_run(tmp_path / "one", tmp_path / "two")
