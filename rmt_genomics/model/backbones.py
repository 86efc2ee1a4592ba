"""Pretrained encoders of others: where they come from, which fit, and how they are built.

An encoder is a Hugging Face folder: its settings (``config.json``), its tokenizer, its weights. A
``Backbone`` holds the first two as text, so that a saved model contains them and is loaded without
the encoder's folder and without a network. Code that comes with an encoder is run only if the user
says so: in a training by a setting, for a saved model by a variable of the environment.

The package transformers (extra ``hf``) is imported only where an encoder is read or built.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.model.settings import CountOrZero, Settings, as_toml
from rmt_genomics.parsing import read_json, read_text

SETTINGS = "config.json"
TRUST = "RMT_GENOMICS_TRUST_REMOTE_CODE"
"""Variable of the environment: 1 = code that came with the encoder of a saved model may be run."""

_trusted: set[str] = set()  # digests of the code that a setting of this process allows to run
_OWN_CODE = "It brings code of its own, which is run only with model.trust_remote_code = true."
_HUB = "hf://"
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens*")
_WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*")
_UNUSED = ("pooler", "contact_head")
"""Parts of an encoder that add nothing to the states of its tokens."""

_HEADS = (
    *("cls.", "lm_head.", "head.", "classifier.", "decoder.", "pooler.", "contact_head."),
    *("vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "sop_classifier."),
)
"""How the weights begin that a pretrained model has beside its encoder."""


class Backbone(Settings):
    """What is needed to build an encoder and its tokenizer, without the weights.

    Raises:
        ConfigError: If a part is of another type.
    """

    source: str
    """Where it came from: a folder, or ``hf://owner/name``."""

    settings: str
    """The encoder's ``config.json``."""

    tokenizer: dict[str, str]
    """The text of each file of its tokenizer, by name."""

    code: dict[str, str] = Field(default_factory=dict)
    """The text of each Python file that came with it and is run; empty = none."""

    @property
    def model_type(self) -> str:
        """The architecture, as transformers calls it."""
        return str(json.loads(self.settings)["model_type"])


class BackboneSettings(Settings):
    """The part of the settings ``model`` that is about a pretrained encoder."""

    section: ClassVar[str] = "model"

    backbone: Annotated[str | None, Field(examples=["hf://owner/name"])] = None
    """A pretrained encoder of others that reads the segments: a folder, or ``hf://owner/name``. It
    has its own tokens and sizes (``dim``, ``depth``, ``heads``); ``segment_length`` is in bp."""

    trust_remote_code: bool = False
    """Run the Python code that comes with the encoder, which can do anything on this machine."""

    backbone_weights: Literal["pretrained", "random"] = "pretrained"
    """``random`` = the same encoder with random weights, as a baseline."""

    backbone_frozen_layers: CountOrZero | Literal["all"] = 0
    """Layers of the encoder, from the first, that are not trained, and with them its embeddings;
    all = nothing of the encoder is trained."""

    backbone_lora: CountOrZero = 0
    """Rank of low-rank adapters (LoRA), which are trained instead of the encoder; 0 = none. They
    are merged into its weights at the end. Needs the package peft."""

    backbone_checkpointing: bool = False
    """Compute the encoder's layers again in the backward pass: less memory, more time."""

    @model_validator(mode="before")
    @classmethod
    def _no_stem_before_a_backbone(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("backbone") is None:
            return values
        return {"stem_width": 0, "stem_pool": 1, **values}

    @model_validator(mode="after")
    def _check_backbone(self) -> "BackboneSettings":
        values, fields = dict(self), BackboneSettings.model_fields
        for name in fields:
            if self.backbone is None and values[name] != fields[name].default:
                raise ConfigError(
                    f"model.{name} is {as_toml(values[name])}, but has no effect: there is no "
                    "model.backbone. Set it too, or leave both out."
                )
        if self.backbone_lora and self.backbone_frozen_layers:
            raise ConfigError(
                f"model.backbone_frozen_layers is {as_toml(self.backbone_frozen_layers)}, but has "
                "no effect: with model.backbone_lora all weights of the encoder are frozen. Leave "
                "one of them out."
            )
        has_preset = "preset" in self.model_fields_set and values.get("dim") is None
        for name, is_given in (("stem_width", values.get("stem_width")), ("preset", has_preset)):
            if self.backbone is not None and is_given:
                raise ConfigError(
                    f"model.{name} is {as_toml(values[name])}, but has no effect with "
                    "model.backbone, which has sizes and tokens of its own. Leave it out."
                )
        return self


class EncoderSizes(NamedTuple):
    """The sizes of an encoder that the classifier shares."""

    dim: int
    depth: int
    heads: int


def read_backbone(source: str, *, trust_remote_code: bool = False) -> Backbone:
    """Read the settings and the tokenizer of an encoder, and refuse what cannot be one.

    Args:
        source: A folder, or ``hf://owner/name``.
        trust_remote_code: Its own code is read, too, and will be run.

    Raises:
        ConfigError: If transformers is not installed, or the model is no encoder.
        CheckpointError: If files are missing or cannot be read.
    """
    check_transformers()
    folder = backbone_folder(source, with_code=trust_remote_code)
    text = read_text(folder / SETTINGS, "the settings of an encoder", CheckpointError)
    remedy = "Name the folder of a pretrained encoder."
    settings = read_json(text, str(folder / SETTINGS), remedy, CheckpointError)
    if not isinstance(settings, dict) or not isinstance(settings.get("model_type"), str):
        raise CheckpointError(
            f"{folder / SETTINGS}: has no 'model_type', but the settings of an encoder of "
            f"transformers have one. {remedy}"
        )
    code = _code_files(source, folder, settings) if trust_remote_code else {}
    _check_is_encoder(source, settings, has_code=bool(code))
    words = _tokenizer_files(source, folder, trust_remote_code=trust_remote_code)
    return Backbone(source=source, settings=text, tokenizer=words, code=code)


def _code_files(source: str, folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """Return the text of the Python files of an encoder, which this process may then run."""
    classes = settings.get("auto_map")
    if not isinstance(classes, dict) or "AutoModel" not in classes:
        raise ConfigError(
            f"model.trust_remote_code is true, but {source!r} has no code of its own that says "
            "what its AutoModel is. Leave the setting out."
        )
    if "--" in str(classes["AutoModel"]):
        raise ConfigError(
            f"model.trust_remote_code is true, but the code of {source!r} is in another "
            "repository. Copy it into a folder beside the encoder's files, and name that folder."
        )
    code = {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.py"))}
    _trusted.add(_digest(code))
    return code


def _digest(code: dict[str, str]) -> str:
    return sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:16]


def _check_trusted(backbone: Backbone) -> None:
    """Raise ConfigError unless the user has said that the code of an encoder may be run."""
    if _digest(backbone.code) not in _trusted and os.environ.get(TRUST) != "1":
        raise ConfigError(
            f"the model is built around {backbone.source!r}, whose own code would have to be run, "
            f"but it may do anything on this machine. If you trust it, set {TRUST}=1 in the "
            "environment."
        )


def check_transformers() -> None:
    """Raise ConfigError if transformers is missing or too old."""
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            "model.backbone is set, but that needs the package transformers, which is not "
            "installed. Install it: pip install 'rmt-genomics[hf]'"
        ) from error
    if int(transformers.__version__.partition(".")[0]) < 5:
        raise ConfigError(
            f"model.backbone is set, but transformers is {transformers.__version__}, and must be "
            "5 or later. Update it: pip install --upgrade 'rmt-genomics[hf]'"
        )
    # Its advice (of parts left out, of long inputs) does not hold here.
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def backbone_folder(source: str, *, with_code: bool = False) -> Path:
    """Return the folder of an encoder; one of the hub is downloaded.

    Raises:
        CheckpointError: If there is none.
    """
    if not source.startswith(_HUB):
        if os.path.isdir(source):  # noqa: PTH112 (a name may be too long for Path)
            return Path(source)
        raise CheckpointError(
            f"model.backbone is {source[:200]!r}, but there is no such folder. Name the folder of "
            "a pretrained encoder, or hf://owner/name on the hub."
        )
    from huggingface_hub import snapshot_download

    wanted = [SETTINGS, *_TOKENIZER_FILES, *_WEIGHT_FILES, *(["*.py"] if with_code else [])]
    try:
        return Path(snapshot_download(source.removeprefix(_HUB), allow_patterns=wanted))
    except (OSError, ValueError) as error:  # the hub's errors, offline included, are these
        raise CheckpointError(
            f"model.backbone is {source[:200]!r}, but could not be downloaded from the hub "
            f"({type(error).__name__}). Check the name, or that you are online."
        ) from error


def _check_is_encoder(source: str, settings: dict[str, Any], *, has_code: bool) -> None:
    """Raise ConfigError at a decoder, or at an architecture that transformers does not have."""
    from transformers.models.auto import modeling_auto as known

    kind = settings["model_type"]
    names = " ".join(map(str, settings.get("architectures") or ()))
    is_causal = kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    is_masked = kind in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if (
        settings.get("is_decoder")
        or settings.get("is_encoder_decoder")
        or "CausalLM" in names
        or "LMHead" in names
        or (is_causal and not is_masked)
    ):
        raise ConfigError(
            f"model.backbone is {source!r}, a decoder ({names or kind}), but must be an encoder, "
            "whose tokens attend to both sides. Choose a model for masked language modelling."
        )
    if kind not in known.MODEL_MAPPING_NAMES and not has_code:
        own = f" {_OWN_CODE}" if settings.get("auto_map") else ""
        raise ConfigError(
            f"model.backbone is {source!r}, of the architecture {kind!r}, but transformers has "
            f"none of that name.{own} docs/how-to/pretrained-encoders.md lists encoders that fit."
        )


def encoder_settings(backbone: Backbone) -> Any:
    """Return the settings of an encoder as an object of transformers."""
    if backbone.code:
        return _settings_and_class(backbone)[0]
    from transformers import CONFIG_MAPPING

    values = json.loads(backbone.settings)
    # Weights are read as 32-bit floats; code of its own is not run.
    for name in ("dtype", "torch_dtype", "auto_map", "quantization_config"):
        values.pop(name, None)
    try:
        return CONFIG_MAPPING[values.pop("model_type")].from_dict(values)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise CheckpointError(
            f"{backbone.source}: {SETTINGS} cannot be read by transformers ({error}), but must be "
            "the settings of an encoder. Copy it again."
        ) from error


def _settings_and_class(backbone: Backbone) -> tuple[Any, Any]:
    """Return the settings and the class of an encoder; its own code is run if it has any."""
    if not backbone.code:
        from transformers import MODEL_MAPPING

        settings = encoder_settings(backbone)
        return settings, MODEL_MAPPING[type(settings)]
    _check_trusted(backbone)
    from transformers import AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    with _errors_of_transformers(backbone), tempfile.TemporaryDirectory() as parent:
        folder = Path(parent, f"encoder_{_digest(backbone.code)}")  # the name of its module
        folder.mkdir()
        for name, text in {**backbone.code, SETTINGS: backbone.settings}.items():
            (folder / Path(name).name).write_text(text, encoding="utf-8")
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        name = json.loads(backbone.settings)["auto_map"]["AutoModel"]
        model_class = get_class_from_dynamic_module(name, folder)
    return settings, model_class


def encoder_sizes(backbone: Backbone) -> EncoderSizes:
    """Return the sizes of an encoder by their common names.

    Raises:
        ConfigError: If it has no such sizes.
    """
    settings = encoder_settings(backbone)
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    values = [getattr(settings, name, None) for name in names]
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, int):
            raise ConfigError(
                f"model.backbone is {backbone.source!r}, whose settings have no {name}, but its "
                "size must be known. This architecture does not fit yet."
            )
    return EncoderSizes(*values)  # type: ignore[arg-type]  # checked above


def build_encoder(backbone: Backbone) -> nn.Module:
    """Build an encoder with random weights; what adds nothing to its token states is left out.

    Raises:
        ConfigError: If its word embeddings are of another width than its states.
    """
    settings, model_class = _settings_and_class(backbone)
    with _errors_of_transformers(backbone):
        encoder: nn.Module = model_class._from_config(settings, dtype=torch.float32)
    words = encoder.get_input_embeddings()  # type: ignore[operator]
    if not isinstance(words, nn.Embedding) or words.embedding_dim != settings.hidden_size:
        raise ConfigError(
            f"model.backbone is {backbone.source!r}, but its word embeddings must be a table of "
            f"{settings.hidden_size} features, as many as its states have. This architecture "
            "does not fit."
        )
    for name in _UNUSED:
        if isinstance(getattr(encoder, name, None), nn.Module):
            setattr(encoder, name, None)
    return encoder


def pretrained_weights(backbone: Backbone) -> dict[str, Tensor]:
    """Read the weights of an encoder from where it came from, and check that they are all there.

    Raises:
        CheckpointError: If weights are missing or are not of this architecture.
    """
    settings, model_class = _settings_and_class(backbone)
    folder = backbone_folder(backbone.source, with_code=bool(backbone.code))
    with _errors_of_transformers(backbone):
        encoder, found = model_class.from_pretrained(
            folder,
            config=settings,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below
            local_files_only=True,
        )
    prefix = f"{model_class.base_model_prefix}."
    missing = [name for name in found["missing_keys"] if not name.startswith(_UNUSED)]
    unexpected = {name: name.removeprefix(prefix) for name in found["unexpected_keys"]}
    unknown = [name for name, short in unexpected.items() if not short.startswith(_HEADS)]
    wrong = [each[0] if isinstance(each, tuple) else each for each in found["mismatched_keys"]]
    differing = {"lacks": missing, "has another shape of": wrong, "has also": unknown}
    for state, names in differing.items():
        if names:
            own = ""
            if "auto_map" in json.loads(backbone.settings) and not backbone.code:
                own = f" {_OWN_CODE}"
            raise CheckpointError(
                f"model.backbone is {backbone.source!r}: the file of weights {state} "
                f"{sorted(names)[0]!r}, and {len(names) - 1} more, but must hold exactly the "
                f"weights of {model_class.__name__}.{own} This encoder does not fit."
            )
    weights: dict[str, Tensor] = encoder.state_dict()
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"model.backbone is {backbone.source!r}: the weight {name!r} holds NaN or "
                "infinity, but weights must be finite. Download it again."
            )
    return {name: each for name, each in weights.items() if not name.startswith(_UNUSED)}


@contextmanager
def _errors_of_transformers(backbone: Backbone) -> Iterator[None]:
    """Turn the errors of building and loading into ours; its warnings are for other uses."""
    check_transformers()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"model.backbone is {backbone.source!r}, but transformers cannot load it: {reason} "
            "Name the folder of a complete encoder."
        ) from error


def _tokenizer_files(source: str, folder: Path, *, trust_remote_code: bool) -> dict[str, str]:
    """Return the text of the files that make the tokenizer in a folder."""
    from transformers import AutoTokenizer

    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as copy:
            warnings.simplefilter("ignore")
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
            tokenizer.save_pretrained(copy)
            files = {file.name: file.read_text(encoding="utf-8") for file in Path(copy).iterdir()}
    except (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"model.backbone is {source!r}, but its tokenizer cannot be read ({reason}). Save it "
            "into the folder with tokenizer.save_pretrained(folder)."
        ) from error
    return files


def load_tokenizer(backbone: Backbone) -> Any:
    """Return the tokenizer of an encoder."""
    check_transformers()
    from transformers import AutoTokenizer

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        files = {**backbone.tokenizer, **backbone.code, SETTINGS: backbone.settings}
        for name, text in files.items():
            Path(folder, Path(name).name).write_text(text, encoding="utf-8")
        if backbone.code:
            _check_trusted(backbone)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=bool(backbone.code)
        )
    tokenizer.model_max_length = 10**9  # what fits is counted by BlockTokenizer
    return tokenizer
