"""A model as a folder of ``config.json`` and ``model.safetensors``, or on the Hugging Face hub.

Pickles are never read.
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

from rmt_genomics.model import saving
from rmt_genomics.model.config import ClassifierConfig

Model = TypeVar("Model", bound="Pretrained")


class Pretrained(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="rmt-genomics",
    tags=["dna", "genomics", "recurrent-memory-transformer"],
):
    """A model that is built from a config, saved and loaded.

    Args:
        config: Labels, tokens, sizes and switches.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config

    def save_pretrained(  # type: ignore[override]  # fewer options, each of which works
        self, save_directory: str | Path, *, push_to_hub: bool = False, repo_id: str | None = None
    ) -> str | None:
        """Write ``config.json``, ``model.safetensors`` and a model card, each in one step.

        Args:
            save_directory: Folder, made if needed; a card that is already there is kept.
            push_to_hub: Also upload, to ``repo_id`` or the folder's name.
            repo_id: Where on the hub.
        """
        from safetensors.torch import save_file

        folder = Path(save_directory)
        with saving.staged(folder) as stage:
            config = json.dumps(asdict(self.config), indent=2)
            (stage / saving.CONFIG).write_text(config + "\n", encoding="utf-8")
            save_file(saving.contiguous(self.state_dict()), stage / saving.WEIGHTS)
            if not (folder / "README.md").exists():
                self.generate_model_card().save(stage / "README.md")
        return self.push_to_hub(repo_id or folder.name) if push_to_hub else None

    def push_to_hub(self, repo_id: str, *, private: bool | None = None) -> str:  # type: ignore[override]
        """Upload the model to the Hugging Face hub; return the address of the commit."""
        from huggingface_hub import HfApi

        hub = HfApi()
        name = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(hub.upload_folder(repo_id=name, folder_path=folder))

    @classmethod
    def from_pretrained(
        cls: type[Model],
        pretrained_model_name_or_path: str | Path,
        *,
        device: str | torch.device = "cpu",
        **hub_options: object,
    ) -> Model:
        """Load a model, ready to predict.

        Args:
            pretrained_model_name_or_path: A folder, or a hub id.
            device: Where to put it.
            hub_options: ``revision``, ``token``, ``cache_dir``, ... of ``hf_hub_download``.

        Raises:
            CheckpointError: If files are missing, cut, or of different models.
        """
        source = pretrained_model_name_or_path
        model = cls(saving.read_config(saving.find(source, saving.CONFIG, **hub_options)))
        saving.load_weights(model, saving.find(source, saving.WEIGHTS, **hub_options))
        return model.to(device).eval()
