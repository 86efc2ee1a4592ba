"""Uploading a model: what goes to the hub is a model folder, and nothing else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.model import RMTClassifier
from tests.model.toys import toy

MODEL_FILES = {"README.md", "config.json", "model.safetensors"}


@dataclass
class FakeHub:
    """Stands in for ``huggingface_hub.HfApi``; keeps what is uploaded in a folder."""

    keep: Path
    asked: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[Path] = field(default_factory=list)

    def create_repo(self, repo_id: str, **options: Any) -> Any:
        self.asked.append({"repo_id": repo_id, **options})
        full_name = repo_id if "/" in repo_id else f"someone/{repo_id}"
        return type("RepoUrl", (), {"repo_id": full_name})()

    def upload_folder(self, *, repo_id: str, folder_path: str) -> str:
        target = self.keep / repo_id
        for file in Path(folder_path).rglob("*"):
            copy = target / file.relative_to(folder_path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
        self.uploads.append(Path(folder_path))
        return f"https://hub/{repo_id}/commit/1"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    return fake


def files_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_only_the_three_files_of_a_model_are_uploaded(hub: FakeHub) -> None:
    address = toy().push_to_hub("owner/phages", private=True)

    assert address == "https://hub/owner/phages/commit/1"
    assert hub.asked == [{"repo_id": "owner/phages", "private": True, "exist_ok": True}]
    assert files_in(hub.keep / "owner/phages") == MODEL_FILES
    assert not hub.uploads[0].exists()  # the temporary folder is gone


def test_nothing_else_of_a_run_folder_goes_with_it(tmp_path: Path, hub: FakeHub) -> None:
    """A run folder holds names of records, paths and checkpoints, which are nobody's business."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("split.tsv", "environment.txt", "metrics.json", "checkpoints/last.ckpt"):
        (run / name).write_text("private")

    address = toy().save_pretrained(run, push_to_hub=True, repo_id="owner/phages")

    assert address == "https://hub/owner/phages/commit/1"
    assert files_in(hub.keep / "owner/phages") == MODEL_FILES
    assert MODEL_FILES | {"split.tsv", "checkpoints/last.ckpt"} <= files_in(run)


def test_without_a_name_the_folder_gives_it_and_the_user_the_owner(
    tmp_path: Path, hub: FakeHub
) -> None:
    toy().save_pretrained(tmp_path / "phages", push_to_hub=True)
    assert files_in(hub.keep / "someone/phages") == MODEL_FILES


def test_saving_alone_uploads_nothing(tmp_path: Path, hub: FakeHub) -> None:
    assert toy().save_pretrained(tmp_path / "phages") is None
    assert hub.asked == hub.uploads == []


def test_what_was_uploaded_is_the_model(hub: FakeHub) -> None:
    model = toy()
    model.push_to_hub("owner/phages")
    again = RMTClassifier.from_pretrained(hub.keep / "owner/phages")
    np.testing.assert_array_equal(again.predict_proba(["ACGTN"]), model.predict_proba(["ACGTN"]))


BESIDE = {"calibration.json", "kmer_logistic.safetensors", "protein_logistic.safetensors"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder, with what belongs to its model and what does not."""
    toy().save_pretrained(tmp_path / "run")
    for name in (*BESIDE, "README.md", "split.tsv", "metrics.json"):
        (tmp_path / "run" / name).write_text(f"of the run: {name}")
    return tmp_path / "run"


def test_card_calibration_and_baselines_go_with_the_model(
    tmp_path: Path, run: Path, hub: FakeHub
) -> None:
    model = RMTClassifier.from_pretrained(run)

    model.save_pretrained(tmp_path / "copy")
    model.push_to_hub("owner/phages")

    for folder in (tmp_path / "copy", hub.keep / "owner/phages"):
        assert files_in(folder) == MODEL_FILES | BESIDE
        for name in BESIDE | {"README.md"}:
            assert (folder / name).read_text() == f"of the run: {name}"


def test_they_go_with_a_model_that_was_saved_before_they_were_made(
    tmp_path: Path, hub: FakeHub
) -> None:
    model = toy()
    model.save_pretrained(tmp_path / "run")
    (tmp_path / "run/calibration.json").write_text("made by the evaluation")

    model.push_to_hub("owner/phages")

    assert files_in(hub.keep / "owner/phages") == MODEL_FILES | {"calibration.json"}


def test_they_do_not_go_with_other_weights(tmp_path: Path, run: Path) -> None:
    model = RMTClassifier.from_pretrained(run)
    torch.nn.init.zeros_(model.head.weight)

    with pytest.warns(RMTGenomicsWarning, match=r"run: README\.md, calibration\..* not copied"):
        model.save_pretrained(tmp_path / "copy")

    assert files_in(tmp_path / "copy") == MODEL_FILES


def test_saving_over_the_folder_it_is_from_keeps_all(run: Path) -> None:
    RMTClassifier.from_pretrained(run).save_pretrained(run)

    assert (run / "README.md").read_text() == "of the run: README.md"
    assert files_in(run) >= BESIDE


def test_all_of_the_model_is_downloaded_from_the_hub(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(hub_id: str, **options: Any) -> str:
        asked.update(options, hub_id=hub_id)
        return str(run)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    RMTClassifier.from_pretrained("hf://owner/phages", revision="v1").save_pretrained(
        tmp_path / "x"
    )

    patterns = ["config.json", "model.safetensors", "backbone.json", "README.md"]
    patterns += ["calibration.json", "training_range.safetensors", "*_logistic.safetensors"]
    assert asked == {"hub_id": "owner/phages", "revision": "v1", "allow_patterns": patterns}
    assert files_in(tmp_path / "x") == MODEL_FILES | BESIDE
