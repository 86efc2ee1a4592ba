"""Distributed training: how many processes take part, which rank this is, and collective calls.

Lightning starts the processes of one machine itself; ``torchrun`` and SLURM's ``srun`` start them
from outside. Either way each process runs the whole of ``train``, and only rank 0 writes.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor

from rmt_genomics.errors import ConfigError, RMTGenomicsWarning

Value = TypeVar("Value")

_process_groups: list[Any] = []  # referenced until the process ends: see keep_process_group


@dataclass(frozen=True, slots=True)
class DistributedSetup:
    """How many processes train together, and which of them this is."""

    devices: int = 1  # processes per machine: one per GPU; on a CPU at most one per core
    num_nodes: int = 1  # machines

    @property
    def world_size(self) -> int:
        """Number of processes on all machines."""
        return self.devices * self.num_nodes

    @property
    def rank(self) -> int:
        """Rank of this process, from 0; valid before the process group exists."""
        if self.world_size == 1:
            return 0
        if TorchElasticEnvironment.detect():
            return int(os.environ["RANK"])
        if _num_slurm_tasks() > 1:
            return int(os.environ["SLURM_PROCID"])
        launched = LightningEnvironment()
        return launched.node_rank() * self.devices + launched.local_rank()

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    def check(self, device: str) -> None:
        """Raise ConfigError unless the devices exist and as many processes were started."""
        for name, value in (("devices", self.devices), ("num_nodes", self.num_nodes)):
            if value < 1:
                raise ConfigError(f"{name} is {value}, but must be at least 1.")
        available = {"cuda": torch.cuda.device_count(), "mps": 1, "cpu": num_cores()}
        if self.devices > available[device]:
            kind = (
                "CPU cores, and each process needs one" if device == "cpu" else f"of kind {device}"
            )
            raise ConfigError(
                f"devices is {self.devices}, but this machine has {available[device]} {kind}. Pass "
                f"--devices {available[device]}."
            )
        by_torchrun = int(os.environ["WORLD_SIZE"]) if TorchElasticEnvironment.detect() else 0
        by_srun = _num_slurm_tasks()
        if by_torchrun or by_srun == 1:  # srun -n 1 only started torchrun or this one process
            by_srun = 0
        for launcher, started in (("torchrun", by_torchrun), ("srun", by_srun)):
            if started not in (0, self.world_size):
                raise ConfigError(
                    f"{launcher} started {started} processes, but --devices {self.devices} and "
                    f"--num-nodes {self.num_nodes} need {self.world_size}: the numbers must be "
                    "equal. Pass the number of processes per machine as --devices, and of machines "
                    "as --num-nodes."
                )

    def trainer_options(self) -> dict[str, Any]:
        """Return the options of Lightning's Trainer that depend on the processes."""
        from pytorch_lightning.strategies import DDPStrategy

        options: dict[str, Any] = {"devices": self.devices, "num_nodes": self.num_nodes}
        several = {"strategy": DDPStrategy(), "use_distributed_sampler": False}
        return options | several if self.world_size > 1 else options

    def cluster_environment(self) -> ClusterEnvironment:
        """Return Lightning's description of the launcher that started the processes."""
        if self.world_size > 1 and TorchElasticEnvironment.detect():
            return TorchElasticEnvironment()
        if self.world_size > 1 and _num_slurm_tasks() > 1:
            # Only batch scripts set it, and Lightning refuses interactive jobs without it.
            os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(self.devices))
            return SLURMEnvironment(auto_requeue=False)
        return LightningEnvironment()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Wait for all processes at the end, leave their group and restore ``os.environ``."""
        environment = dict(os.environ)
        try:
            yield
            if is_initialized():
                dist.barrier()
        finally:
            if self.world_size > 1 and is_initialized():
                dist.destroy_process_group()
            os.environ.clear()
            os.environ.update(environment)

    @contextmanager
    def rank_zero_warnings(self, *, shown: bool = True) -> Iterator[None]:
        """Show the warnings of this package on rank 0 only, or nowhere unless ``shown``."""
        with warnings.catch_warnings():
            if not (shown and self.is_rank_zero):
                warnings.simplefilter("ignore", RMTGenomicsWarning)
            yield


def num_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_initialized() -> bool:
    """Whether this process is in a process group."""
    return dist.is_available() and dist.is_initialized()


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes; (0, 1) without a group."""
    return (dist.get_rank(), dist.get_world_size()) if is_initialized() else (0, 1)


def all_reduce(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; ``values`` is changed in place."""
    if is_initialized():
        dist.all_reduce(values)
    return values


def all_gather(values: list[Value]) -> list[Value]:
    """Return the values of all processes as one list, in the order of their ranks."""
    if not is_initialized():
        return values
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, values)
    return list(chain.from_iterable(gathered))


def broadcast(value: Value) -> Value:
    """Return the value that rank 0 has."""
    if not is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def keep_process_group() -> None:
    """Keep a reference to the process group until this process ends, if it is a gloo group.

    Deleting the last reference to a gloo group waits for its threads while holding the
    interpreter's lock. A thread that is returning a tensor waits for that lock: a deadlock (seen
    with PyTorch 2.13, when a training was interrupted).
    """
    if is_initialized() and dist.get_backend() == "gloo":
        _process_groups.append(dist.group.WORLD)


def exit_without_cleanup() -> NoReturn:
    """End this process with exit code 0, without finalising the interpreter.

    A thread of a gloo group that takes the interpreter's lock during finalisation aborts the
    process (PyTorch pull request 179291): a finished training would count as failed, and Lightning
    would stop rank 0.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _num_slurm_tasks() -> int:
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "0"))  # set by srun, not in a batch script
