"""Free memory is that of the process: of the machine, its control groups and its address space."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rmt_genomics.rmt import runtime

CPU, MIB = torch.device("cpu"), 1 << 20
ROOT = Path(__file__).parents[2]


def write(root: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 900 MiB available."""
    write(tmp_path, proc__meminfo=f"MemTotal: 9 kB\nMemAvailable:  {900 * 1024} kB\n")
    monkeypatch.setattr(runtime, "_ROOT", tmp_path)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    return tmp_path


def test_without_limits_it_is_that_of_the_machine(root: Path) -> None:
    unlimited = root / "sys/fs/cgroup/memory.max"
    unlimited.parent.mkdir(parents=True)
    unlimited.write_text("max\n")
    write(root, proc__self__cgroup="0::/\n")

    assert runtime.free_bytes(CPU) == 900 * MIB
    (root / "proc/meminfo").unlink()
    assert runtime.free_bytes(CPU) == 0  # unknown


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        ("0::/job/step", "sys/fs/cgroup/job", ("memory.max", "memory.current")),
        (
            "4:cpu,cpuacct:/x\n3:memory:/job/step",
            "sys/fs/cgroup/memory/job",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ),
        ("0::/host/path", "sys/fs/cgroup", ("memory.max", "memory.current")),  # in a container
    ],
)
def test_the_limit_of_a_control_group_counts_without_cached_files(
    root: Path, line: str, folder: str, names: tuple[str, str]
) -> None:
    write(root, proc__self__cgroup=f"{line}\n")
    (root / folder).mkdir(parents=True)
    for name, number in zip(names, (500, 300), strict=True):
        (root / folder / name).write_text(f"{number * MIB}\n")
    (root / folder / "memory.stat").write_text(f"anon 5\ninactive_file {100 * MIB}\n")

    assert runtime.free_bytes(CPU) == 300 * MIB


def test_the_limit_of_the_address_space_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, proc__self__status=f"Name: python\nVmSize:\t {500 * 1024} kB\n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (700 * MIB,) * 2)

    assert runtime.free_bytes(CPU) == 200 * MIB
    monkeypatch.setattr(resource, "getrlimit", lambda _: (400 * MIB,) * 2)
    assert runtime.free_bytes(CPU) == 1  # 0 would mean that it is unknown


LIMITED = """
import resource, sys, torch
from pathlib import Path
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.rmt.runtime import free_bytes

torch.set_num_threads(1)
torch.manual_seed(0)
settings = {"dim": 32, "depth": 1, "heads": 2, "segment_length": 256}
model = RMTClassifier(ClassifierConfig(classes=("a", "b"), task="binary", **settings))
codes = torch.randint(0, 4, (1, 128 * 256), dtype=torch.uint8)

def gradient(replay, length=codes.shape[1]):
    model.zero_grad()
    model(codes[:, :length], torch.tensor([length]), replay=replay).sum().backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])

for replay in (True, False):
    gradient(replay, 600)  # loads what PyTorch imports late
status = Path("/proc/self/status").read_text().split()
used = 1024 * int(status[status.index("VmSize:") + 1])
resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 2**20,) * 2)
assert free_bytes(torch.device("cpu")) <= 40 * 2**20
torch.testing.assert_close(gradient("auto"), gradient(True))
try:
    gradient(False)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_replay_keeps_as_many_graphs_as_the_address_space_has_room_for() -> None:
    """All graphs take about 100 MiB, and 40 are free: without replay memory runs out."""
    run = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert run.returncode == 0, run.stderr
    assert "can't allocate memory" in run.stdout
