"""``training.compile``: the same weights but for rounding, and a word where it cannot work."""

import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from rmt_genomics.errors import ConfigError
from rmt_genomics.training.runtime import check_compiler, compile_layers
from tests.model.toys import toy
from tests.training.toys import TINY, run, weights_of, write_data

ROOT = Path(__file__).parents[2]


def test_without_a_compiler_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(ConfigError, match=r"on cpu that needs a compiler: one of g\+\+"):
        check_compiler(wanted=True, device="cpu")
    with pytest.raises(ConfigError, match=r"on cuda that needs a compiler: one of gcc, clang"):
        check_compiler(wanted=True, device="cuda")
    check_compiler(wanted=False, device="cpu")


def test_where_pytorch_has_no_compiler_it_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="the device is mps, and must be cpu or cuda"):
        check_compiler(wanted=True, device="mps")


def test_a_compiler_named_by_the_environment_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "mine" else None)
    monkeypatch.setenv("CXX", "mine")

    check_compiler(wanted=True, device="cpu")


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # PyTorch's own use
def test_a_copy_of_a_compiled_model_is_a_plain_one() -> None:
    """The average of the weights is such a copy: it is judged as it will be saved."""
    model = toy()
    names = list(model.state_dict())

    compile_layers(model)

    assert model.encoder.step.layers._compiled_call_impl is not None
    assert deepcopy(model).encoder.step.layers._compiled_call_impl is None
    assert list(model.state_dict()) == names


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler, here g++")
def test_a_compiled_training_ends_with_the_weights_of_a_plain_one(tmp_path: Path) -> None:
    """In a process without the shape checker of the tests, which the compiler cannot trace."""
    fasta, labels = write_data(tmp_path)
    run((fasta, labels), tmp_path / "plain")
    given = [f"--set={key}={value}" for key, value in {**TINY, "training.compile": "true"}.items()]
    command = [sys.executable, str(ROOT / "cli.py"), "train", str(fasta), *given]
    command += ["--labels", str(labels), "--out", str(tmp_path / "fused"), "--device", "cpu"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(
        weights_of(tmp_path / "fused"), weights_of(tmp_path / "plain"), rtol=1e-3, atol=1e-4
    )
