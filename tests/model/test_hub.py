"""Uploading a model: what goes to the hub is a model folder, and nothing else."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
