"""Shared fixtures. Package imports stay inside fixtures: the shape checker must load first."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

# Before anything imports matplotlib or huggingface_hub, here and in the processes tests start:
# no window is opened, and no test ever asks the network.
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"

torch.set_num_threads(1)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("dev", max_examples=25, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _no_gpu() -> Iterator[pytest.MonkeyPatch | None]:
    """Hide a GPU, also from fixtures of a module: most tests ask what happens without one."""
    if not torch.cuda.is_available():  # asked first: the driver reads the variable once
        yield None
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # for the processes that tests start
        yield patch


@pytest.fixture(autouse=True)
def _show_gpu(request: pytest.FixtureRequest, _no_gpu: pytest.MonkeyPatch | None) -> Iterator[None]:
    """Let the tests marked gpu see it."""
    if _no_gpu is None or request.node.get_closest_marker("gpu") is None:
        yield
        return
    _no_gpu.undo()
    yield
    _no_gpu.setattr(torch.cuda, "is_available", lambda: False)
    _no_gpu.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn the type checker of the tests off: users do not have it."""
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the encoded stores of the tests out of the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RMT_GENOMICS_CACHE", str(folder))
        yield folder


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device a test of tensors is worth running on."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch.cuda.is_available() is False on this machine")
    return torch.device(request.param)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of headless Chromium (``tests.reports.browser.Page``)."""
    from tests.reports.browser import find_chromium, open_browser

    program = find_chromium()
    if program is None:
        pytest.skip("needs Chromium: none is on the path, and CHROMIUM names none")
    with open_browser(program, tmp_path_factory.mktemp("profile")) as page:
        yield page
