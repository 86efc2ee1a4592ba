"""Save and load a model: a folder of ``config.json`` and ``model.safetensors``, or the hub.

Pickles are never read. Also here: the choice of the device a model runs on.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from rmt_genomics.atomic_io import staged_files
from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.settings import as_toml, nearest

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` is a CUDA GPU if there is one, else Apple's mps or the CPU.

    Raises:
        ConfigError: If the name is unknown, or this machine has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, exists in available.items() if exists))
    if name not in available:
        raise ConfigError(f"device {name!r} is unknown, but must be one of {', '.join(DEVICES)}")
    if not available[name]:
        raise ConfigError(
            f"device {name!r}: PyTorch finds none on this machine, but the model was to run on it. "
            "Use --device auto or cpu."
        )
    return torch.device(name)


CONFIG, WEIGHTS = "config.json", "model.safetensors"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)  # no leading dot


def find_model_file(source: str | Path, name: str, **hub_options: object) -> Path:
    """Return the path of a model's file: in a local folder, or downloaded from the hub.

    Raises:
        CheckpointError: If there is no such file.
    """
    folder = Path(source)
    if folder.is_dir():
        if not (folder / name).is_file():
            if (folder / "config.toml").is_file() and (folder / "split.tsv").is_file():
                raise CheckpointError(
                    f"{folder}: training has not finished, but the model is saved at its end. "
                    f"Resume it: rmt-genomics train ... --out {folder} --resume"
                )
            raise CheckpointError(
                f"{folder}: has no {name}, but a model folder holds {CONFIG} and {WEIGHTS}. "
                "Give the --out folder of a finished training."
            )
        return folder / name
    if folder.exists():
        raise CheckpointError(
            f"{source}: is not a folder, but a model is a folder or a hub id. "
            "Give the --out folder of a finished training."
        )
    if not _HUB_ID.fullmatch(str(source)):
        raise CheckpointError(
            f"{source}: there is no such folder, and a hub id looks like owner/name. "
            "Check the path."
        )
    return _download(str(source), name, **hub_options)


def _download(hub_id: str, name: str, **hub_options: object) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub_id, name, **hub_options))  # type: ignore[call-overload]
    except (OSError, ValueError) as error:  # the hub's errors, offline included, are these
        raise CheckpointError(
            f"{hub_id}: there is no such folder, and {name} could not be downloaded from the hub "
            f"({type(error).__name__}). Check the path, or that you are online."
        ) from error


def read_config(path: Path) -> ClassifierConfig:
    """Read and check ``config.json``.

    Raises:
        CheckpointError: If it is not JSON, or has a unknown key or value.
    """
    try:
        text = path.read_text(encoding="utf-8")
        settings = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not readable as JSON ({error})") from error
    if not isinstance(settings, dict) or not {"classes", "task"} <= settings.keys():
        raise CheckpointError(
            f"{path}: lacks 'classes' or 'task', but every rmt-genomics model has them. "
            "Is this the folder of another program?"
        )
    known = ClassifierConfig.dotted_keys()
    for name in settings:
        if name not in known:
            raise CheckpointError(
                f"{path}: unknown key {as_toml(name)}. {nearest(name, known)} A newer version "
                "may have written it: pip install --upgrade rmt-genomics."
            )
    try:
        return ClassifierConfig(**settings)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object; of a key that is there twice, Python would take the last."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return table


def load_weights(model: nn.Module, path: Path) -> None:
    """Load ``model.safetensors`` into a model; every tensor must be there, and no other.

    Raises:
        CheckpointError: If the file is cut, foreign, or does not fit the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: is not a complete safetensors file ({error}). Was the copy interrupted?"
        ) from error
    _check_names(model.state_dict(), weights, path)
    model.to(next(iter(weights.values())).dtype)  # as saved: float64 and bfloat16 stay
    model.load_state_dict(weights)


def _check_names(expected: dict[str, Tensor], weights: dict[str, Tensor], path: Path) -> None:
    """Raise CheckpointError at the first tensor that is missing, extra or of another shape."""
    for name in sorted(expected.keys() ^ weights.keys()):
        state = "lacks" if name in expected else "has an unknown"
        raise CheckpointError(f"{path}: {state} tensor {name!r}; it does not belong to {CONFIG}")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name!r} is {list(tensor.shape)}, but {CONFIG} makes it "
                f"{list(expected[name].shape)}. The two files are of different models."
            )


Model = TypeVar("Model", bound="Pretrained")


class Pretrained(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="rmt-genomics",
    tags=["dna", "genomics", "recurrent-memory-transformer"],
):
    """A model that is built from a config, saved and loaded."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config

    def save_pretrained(  # type: ignore[override]  # fewer options than the mixin
        self, save_directory: str | Path, *, push_to_hub: bool = False, repo_id: str | None = None
    ) -> str | None:
        """Write ``config.json``, ``model.safetensors`` and a model card, each atomically.

        Args:
            save_directory: Folder, created if needed; an existing model card is kept.
            push_to_hub: Also upload, to ``repo_id`` or the folder's name.
            repo_id: Where on the hub.
        """
        from safetensors.torch import save_file

        folder = Path(save_directory)
        with staged_files(folder) as stage:
            config = json.dumps(self.config.model_dump(), indent=2)
            (stage / CONFIG).write_text(config + "\n", encoding="utf-8")
            state = {name: each.cpu().contiguous() for name, each in self.state_dict().items()}
            save_file(state, stage / WEIGHTS)
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
        model = cls(read_config(find_model_file(source, CONFIG, **hub_options)))
        load_weights(model, find_model_file(source, WEIGHTS, **hub_options))
        return model.to(device).eval()
