"""Save and load a model: a folder of ``config.json`` and ``model.safetensors``, or the hub.

A folder may also hold the card, the calibration and the baselines of its model: they go with it.
Pickles are never read, and only ``hf://owner/name`` uses the network. Also here: the choice of the
device a model runs on.
"""

import json
import os
import re
import shutil
import tempfile
import warnings
from contextlib import suppress
from difflib import get_close_matches
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from rmt_genomics.atomic_io import staged_files, utf8_path
from rmt_genomics.errors import CheckpointError, ConfigError, RMTGenomicsWarning
from rmt_genomics.model.backbones import Backbone
from rmt_genomics.model.config import FIRST_VERSION, ClassifierConfig
from rmt_genomics.model.features import OLD_KEYS
from rmt_genomics.model.settings import as_toml, nearest
from rmt_genomics.parsing import as_path, read_json, read_text

Weights = dict[str, Tensor]
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


CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
BACKBONE = "backbone.json"  # of a model whose step is a pretrained encoder of others
FOLDS = "folds.json"  # in the folder of a cross-validation
BEST_MODEL = "checkpoints/best"  # in the folder of a training that has not finished
BESIDE = (CARD, "calibration.json", "training_range.safetensors", "*_logistic.safetensors")
"""Patterns of what else belongs to a model: card, calibration, training range and baselines."""

_HUB_ID = re.compile(r"hf://?([A-Za-z0-9][\w.-]*/[\w.-]+)", re.ASCII)  # as a Path it has one slash
SHIPPED = Path(__file__).parent / "pretrained_weights"
"""The models that come with this package: a folder each, used by its name alone."""

_SHIPPED_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}", re.ASCII)
_FLOATS = ("F16", "BF16", "F32", "F64")


def find_model_folder(source: str | Path, **hub_options: Any) -> Path:
    """Return the folder of a model; a model of the hub, ``hf://owner/name``, is downloaded.

    The name of a model of ``SHIPPED`` is its folder, if there is none of that name here.

    Raises:
        CheckpointError: If there is no such model.
    """
    source = as_path(source, "a model folder") if not isinstance(source, str) else source
    if hub_id := _HUB_ID.fullmatch(str(source)):
        return _download(hub_id[1], **hub_options)
    if os.path.isdir(source):  # noqa: PTH112 (a name may be too long for Path)
        return _best_so_far(Path(source))
    shipped = SHIPPED / str(source)
    if _SHIPPED_NAME.fullmatch(str(source)) and not os.path.lexists(source) and shipped.is_dir():
        return shipped
    if os.path.lexists(source):
        raise CheckpointError(
            f"{source}: is not a folder, but a model is a folder, or hf://owner/name on the hub. "
            "Give the --out folder of a finished training."
        )
    raise CheckpointError(
        f"{source}: there is no such folder, but a model is a folder, or hf://owner/name on the "
        f"hub. {_nearest_folder(Path(source))}"
    )


def _best_so_far(folder: Path) -> Path:
    """Return the folder, or, of a training that has not finished, that of its best model so far."""
    best = folder / BEST_MODEL
    if (folder / CONFIG).exists() or not all((best / name).is_file() for name in (CONFIG, WEIGHTS)):
        return folder
    warnings.warn(
        f"{folder}: training has not finished. Its best model so far is used, {best}. Resume the "
        f"training with the same command: ... --out {folder} --resume",
        RMTGenomicsWarning,
        stacklevel=4,
    )
    return best


def _nearest_folder(missing: Path) -> str:
    """Say which folder, or model that comes with this package, may be meant."""
    shipped = [path.name for path in SHIPPED.iterdir() if path.is_dir()]
    for name in get_close_matches(str(missing), shipped, n=1):
        return f"Did you mean {name}?"
    first = missing  # of its parts the first that is missing
    while not os.path.isdir(first.parent):  # noqa: PTH112 (as above)
        first = first.parent
    with suppress(OSError):
        names = [path.name for path in first.parent.iterdir() if path.is_dir()]
        for name in get_close_matches(first.name, names, n=1):
            renamed = first.parent / name
            whole = renamed / missing.relative_to(first)
            return f"Did you mean {whole if whole.is_dir() else renamed}?"
    return f"The nearest folder that exists is {first.parent.absolute()}."


def find_model_file(source: str | Path, name: str) -> Path:
    """Return the path of a model's file: in a local folder, or downloaded from the hub.

    Raises:
        CheckpointError: If there is no such file.
    """
    path = find_model_folder(source) / name
    if path.is_file():
        return path
    if (path.parent / FOLDS).is_file():
        raise CheckpointError(
            f"{path.parent}: holds the models of a cross-validation, but one model is needed here. "
            f"Give one of them, such as {path.parent / 'fold-1'}. (predict and evaluate take all, "
            "and average their probabilities.)"
        )
    if (path.parent / "config.toml").is_file() and (path.parent / "split.tsv").is_file():
        raise CheckpointError(
            f"{path.parent}: training has not finished, and has no model yet, which is there from "
            f"the first epoch on. Resume it with the same command: ... --out {path.parent} --resume"
        )
    raise CheckpointError(
        f"{path.parent}: has no {name}, but a model folder holds {CONFIG} and {WEIGHTS}. "
        "Give the --out folder of a finished training."
    )


def _download(hub_id: str, **hub_options: Any) -> Path:
    from huggingface_hub import snapshot_download

    try:
        wanted = [CONFIG, WEIGHTS, BACKBONE, *BESIDE]
        return Path(snapshot_download(hub_id, allow_patterns=wanted, **hub_options))
    except (OSError, ValueError) as error:  # the hub's errors, offline included, are these
        raise CheckpointError(
            f"hf://{hub_id}: could not be downloaded from the hub ({type(error).__name__}), but "
            "must be a model there. Check the name, or that you are online."
        ) from error


def read_config(path: Path) -> ClassifierConfig:
    """Read and check ``config.json``.

    Raises:
        CheckpointError: If it is not JSON, or has an unknown key or value.
    """
    text = read_text(path, "the settings of a model", CheckpointError)
    remedy = "Was the copy interrupted? Copy it again."
    settings = read_json(text, str(path), remedy, CheckpointError)
    if not isinstance(settings, dict) or not {"classes", "task"} <= settings.keys():
        raise CheckpointError(
            f"{path}: lacks 'classes' or 'task', but every rmt-genomics model has them. "
            "Is this the folder of another program?"
        )
    if "backbone" in settings:
        settings["backbone"] = _read_backbone(path.with_name(BACKBONE), settings["backbone"])
    known = ClassifierConfig.dotted_keys()
    for name in settings:
        if name not in (*known, *OLD_KEYS):
            raise CheckpointError(
                f"{path}: unknown key {as_toml(name)}. {nearest(name, known)} A newer version "
                "may have written it: pip install --upgrade rmt-genomics."
            )
    try:
        return ClassifierConfig(**{**FIRST_VERSION, **settings})
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_backbone(path: Path, checksum: object) -> Backbone:
    """Read the settings and the tokenizer of a pretrained encoder; ``config.json`` names them."""
    text = read_text(path, "the pretrained encoder of a model", CheckpointError)
    if sha256(text.encode()).hexdigest() != checksum:
        raise CheckpointError(
            f"{path}: does not belong to {CONFIG}, which has another checksum of it, but must. "
            f"Copy {CONFIG}, {BACKBONE} and {WEIGHTS} of one model again."
        )
    return Backbone(**json.loads(text))


def read_weights(path: Path, config: ClassifierConfig, model: type["Pretrained"]) -> Weights:
    """Read ``model.safetensors``; every tensor of the model must be there, and no other.

    The names and shapes are compared before the model is built: a ``config.json`` that asks for
    more memory than its weights need is an error.

    Raises:
        CheckpointError: If the file is cut, does not fit the model, or holds no finite floats.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            shapes = {name: list(each.get_shape()) for name, each in slices.items()}
            kinds = {each.get_dtype() for each in slices.values()}
        if kinds - set(_FLOATS):
            raise CheckpointError(
                f"{path}: holds weights of type {', '.join(sorted(kinds))}, but must hold floats: "
                f"{', '.join(_FLOATS)}. Save the model in one of these types."
            )
        _check_shapes(path, shapes, config, model)
        with utf8_path(path) as readable:
            weights = load_file(readable)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: is not a complete safetensors file ({error}), but must be one. Was the copy "
            "interrupted? Copy it again."
        ) from error
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: tensor {name!r} holds NaN or infinity, but weights must be finite. "
                "The training has diverged: train again, with a lower learning rate."
            )
    return weights


def _check_shapes(
    path: Path, shapes: dict[str, list[int]], config: ClassifierConfig, model: type["Pretrained"]
) -> None:
    """Raise CheckpointError at the first tensor that is missing, extra or of another shape."""
    remedy = f"Copy {CONFIG} and {WEIGHTS} of one model again."
    if config.depth > len(shapes):  # even a model without storage takes time to build
        raise CheckpointError(
            f"{path}: does not belong to {CONFIG}: it holds {len(shapes)} tensors, but must hold "
            f"more for {config.depth} layers. {remedy}"
        )
    with torch.device("meta"):
        expected = {name: list(each.shape) for name, each in model(config).state_dict().items()}
    for name in sorted(expected.keys() ^ shapes.keys()):
        state = "lacks" if name in expected else "has an unknown"
        raise CheckpointError(
            f"{path}: {state} tensor {as_toml(name)}; it does not belong to {CONFIG}, but must. "
            f"{remedy}"
        )
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise CheckpointError(
                f"{path}: tensor {name!r} is {shape}, but {CONFIG} makes it {expected[name]}. The "
                f"two files are of different models. {remedy}"
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
        self.folder: Path | None = None
        """Where the model was saved or loaded: files that belong to it are there."""

    def save_pretrained(  # type: ignore[override]  # fewer options than the mixin
        self, save_directory: str | Path, *, push_to_hub: bool = False, repo_id: str | None = None
    ) -> str | None:
        """Write ``config.json``, ``model.safetensors`` and a model card, each atomically.

        The card, calibration and baselines of the folder that it was loaded from go with it.

        Args:
            save_directory: Folder, created if needed; an existing model card is kept.
            push_to_hub: Also upload, to ``repo_id`` or the folder's name.
            repo_id: Where on the hub.
        """
        from safetensors.torch import save_file

        folder = Path(save_directory)
        weights = {name: each.cpu().contiguous() for name, each in self.state_dict().items()}
        with staged_files(folder) as stage:
            config = self.config.model_dump(exclude_none=True, exclude={"backbone"})
            if self.config.backbone is not None:
                text = json.dumps(self.config.backbone.model_dump(), indent=2) + "\n"
                (stage / BACKBONE).write_text(text, encoding="utf-8", newline="\n")
                config["backbone"] = sha256(text.encode()).hexdigest()
            (stage / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            save_file(weights, stage / WEIGHTS)
            self.generate_model_card().save(stage / CARD)
            if self.folder is not None and self.folder != folder:
                self._copy_beside(self.folder, stage, weights)
            if (folder / CARD).exists():
                (stage / CARD).unlink()
        self.folder = self.folder or folder
        return self.push_to_hub(repo_id or folder.name) if push_to_hub else None

    def _copy_beside(self, source: Path, target: Path, weights: Weights) -> None:
        """Copy what belongs to the model; nothing if its weights have changed since."""
        from safetensors.torch import load_file

        files = [file for pattern in BESIDE for file in sorted(source.glob(pattern))]
        if not files or not (source / WEIGHTS).is_file():
            return
        with utf8_path(source / WEIGHTS) as readable:
            before = load_file(readable)
        is_same = before.keys() == weights.keys() and all(
            torch.equal(before[name], tensor) for name, tensor in weights.items()
        )
        if is_same:
            for file in files:
                shutil.copyfile(file, target / file.name)
            return
        warnings.warn(
            f"{source}: {', '.join(file.name for file in files)} not copied, since the weights "
            "have changed after they were made.",
            RMTGenomicsWarning,
            stacklevel=3,
        )

    def push_to_hub(self, repo_id: str, *, private: bool | None = None) -> str:  # type: ignore[override]
        """Upload the model, and what belongs to it, to the Hugging Face hub.

        Returns:
            The address of the commit.
        """
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
        **hub_options: Any,
    ) -> Model:
        """Load a model, ready to predict.

        Args:
            pretrained_model_name_or_path: A folder, or ``hf://owner/name`` on the hub.
            device: Where to put it.
            hub_options: ``revision``, ``token``, ``cache_dir``, ... of ``snapshot_download``.

        Raises:
            CheckpointError: If files are missing, cut, or of different models.
        """
        folder = find_model_folder(pretrained_model_name_or_path, **hub_options)
        config = read_config(find_model_file(folder, CONFIG))
        weights = read_weights(find_model_file(folder, WEIGHTS), config, cls)
        model = cls(config)
        kind = reduce(torch.promote_types, (each.dtype for each in weights.values()))
        # As saved: float64 and bfloat16 stay. Float16 is for small files: CPUs are slow in it.
        model.to(torch.float32 if kind == torch.float16 else kind)
        model.load_state_dict(weights)
        model.folder = folder
        return model.to(device).eval()
