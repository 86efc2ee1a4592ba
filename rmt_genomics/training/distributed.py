"""Several processes that train one model together, and how they came to be started.

Lightning starts those of one machine itself; ``torchrun`` and SLURM's ``srun`` start them from
outside. Either way each runs the whole of ``train``, and only the first (rank 0) writes.
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

_SLURM_TASKS = "SLURM_STEP_NUM_TASKS"  # set by srun for each task, not in a batch script

Value = TypeVar("Value")

_KEPT: list[Any] = []  # groups, until the process ends: see keep_group


@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes train, and which of them this is.

    Args:
        devices: Processes a machine: one a GPU; on a CPU as many as are wanted.
        num_nodes: Machines.
    """

    devices: int = 1
    num_nodes: int = 1

    @property
    def count(self) -> int:
        """All processes."""
        return self.devices * self.num_nodes

    @property
    def rank(self) -> int:
        """Number of this process, from 0; known before the processes have met."""
        if self.count == 1:
            return 0
        if TorchElasticEnvironment.detect():
            return int(os.environ["RANK"])
        if _slurm_tasks() > 1:
            return int(os.environ["SLURM_PROCID"])
        node = int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0")))
        return node * self.devices + int(os.environ.get("LOCAL_RANK", "0"))

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def check(self, device: str) -> None:
        """Raise ConfigError unless there are so many devices, and so many processes were started.

        Args:
            device: cpu, cuda or mps.
        """
        for name, value in (("devices", self.devices), ("num_nodes", self.num_nodes)):
            if value < 1:
                raise ConfigError(f"{name} is {value}, but must be at least 1.")
        there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, self.devices)
        if self.devices > there:
            raise ConfigError(
                f"devices is {self.devices}, but this machine has {there} of kind {device}. "
                f"Pass --devices {there}."
            )
        started = int(os.environ["WORLD_SIZE"]) if TorchElasticEnvironment.detect() else 0
        for who, tasks in (("torchrun", started), ("srun", _slurm_tasks())):
            if tasks not in (0, self.count) and not (who == "srun" and (started or tasks == 1)):
                raise ConfigError(
                    f"{who} has started {tasks} processes, but --devices {self.devices} and "
                    f"--num-nodes {self.num_nodes} ask for {self.count}: there must be as many. "
                    "Pass the number of processes a machine as --devices, and of machines as "
                    "--num-nodes."
                )

    def trainer_options(self) -> dict[str, Any]:
        """Return what Lightning's Trainer is to know of the processes, plugins left aside."""
        from pytorch_lightning.strategies import DDPStrategy

        several = {"strategy": DDPStrategy(), "use_distributed_sampler": False}
        return {
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            **(several if self.count > 1 else {}),
        }

    def environment(self) -> ClusterEnvironment:
        """Return who started the processes, for Lightning; one process needs nobody."""
        if self.count > 1 and TorchElasticEnvironment.detect():
            return TorchElasticEnvironment()
        if self.count > 1 and _slurm_tasks() > 1:
            return SLURMEnvironment(auto_requeue=False)
        return LightningEnvironment()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Wait for all at the end, part, and leave the environment's variables as they were."""
        before = dict(os.environ)
        try:
            yield
            if is_group():
                dist.barrier()
        finally:
            if self.count > 1 and is_group():
                dist.destroy_process_group()
            os.environ.clear()
            os.environ.update(before)

    @contextmanager
    def said_once(self) -> Iterator[None]:
        """Keep our warnings to the first process."""
        with warnings.catch_warnings():
            if not self.is_first:
                warnings.simplefilter("ignore", RMTGenomicsWarning)
            yield


def is_group() -> bool:
    """Whether several processes have met."""
    return dist.is_available() and dist.is_initialized()


def summed(values: Tensor) -> Tensor:
    """Add a tensor over all processes."""
    if is_group():
        dist.all_reduce(values)
    return values


def gathered(values: list[Value]) -> list[Value]:
    """Return the values of all processes as one list, by rank."""
    if not is_group():
        return values
    lists: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(lists, values)
    return list(chain.from_iterable(lists))


def of_the_first(value: Value) -> Value:
    """Return the value of the first process."""
    if is_group():
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]
    return value


def this_rank() -> tuple[int, int]:
    """Return the number of this process and how many there are, once they have met."""
    return (dist.get_rank(), dist.get_world_size()) if is_group() else (0, 1)


def keep_group() -> None:
    """Keep the group of processes, if it is one of gloo, until this process ends.

    Whoever lets go of a gloo group last waits for its threads, and holds the interpreter's lock
    meanwhile. A thread that is just giving back a tensor waits for that lock: both stand still for
    good (seen with PyTorch 2.13, when a training was interrupted).
    """
    if is_group() and dist.get_backend() == "gloo":
        _KEPT.append(dist.group.WORLD)


def leave_at_once() -> NoReturn:
    """End this process as one that went well, without taking the interpreter apart.

    A thread of a gloo group that asks for the interpreter's lock meanwhile aborts the process (pull
    request 179291 of PyTorch): a finished training would count as failed, and Lightning would stop
    the first process for it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _slurm_tasks() -> int:
    return int(os.environ.get(_SLURM_TASKS, "0"))
