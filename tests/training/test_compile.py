"""``training.compile``: the same weights but for rounding, and errors where it cannot work."""

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


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(ConfigError, match=r"on cpu that needs a compiler: one of g\+\+"):
        check_compiler(wanted=True, device="cpu")
    with pytest.raises(ConfigError, match=r"on cuda that needs a compiler: one of gcc, clang"):
        check_compiler(wanted=True, device="cuda")
    check_compiler(wanted=False, device="cpu")


def test_compiling_on_mps_is_refused() -> None:
    with pytest.raises(ConfigError, match="the device is mps, and must be cpu or cuda"):
        check_compiler(wanted=True, device="mps")


def test_a_compiler_in_an_environment_variable_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "mine" else None)
    monkeypatch.setenv("CXX", "mine")

    check_compiler(wanted=True, device="cpu")


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # PyTorch's own use
def test_a_copy_of_a_compiled_model_is_not_compiled() -> None:
    """The averaged model is such a copy: it is validated as it will be saved."""
    model = toy()
    names = list(model.state_dict())

    compile_layers(model)

    assert model.encoder.step.layers._compiled_call_impl is not None
    assert deepcopy(model).encoder.step.layers._compiled_call_impl is None
    assert list(model.state_dict()) == names


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler, here g++")
def test_a_compiled_training_has_the_weights_of_an_uncompiled_one(tmp_path: Path) -> None:
    """In a process without the shape checker of the tests, which the compiler cannot trace.

    All records have two segments: each shape and each padding would be compiled anew, which
    ``tests/equivalence/test_compiled.py`` has without the C++ compiler.
    """
    fasta, labels = write_data(tmp_path, num_records=20, lengths_bp=(32, 33))
    run((fasta, labels), tmp_path / "plain", training__batch_size=16)
    settings = {**TINY, "training.batch_size": 16, "training.compile": "true"}
    options = [f"--set={key}={value}" for key, value in settings.items()]
    command = [sys.executable, str(ROOT / "cli.py"), "train", str(fasta), *options]
    command += ["--labels", str(labels), "--out", str(tmp_path / "compiled"), "--device", "cpu"]

    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert process.returncode == 0, process.stderr
    torch.testing.assert_close(
        weights_of(tmp_path / "compiled"), weights_of(tmp_path / "plain"), rtol=1e-3, atol=1e-4
    )
