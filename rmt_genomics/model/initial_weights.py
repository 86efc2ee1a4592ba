"""The weights that a training starts from: those of another model (``train --init-from``).

The encoder is loaded: what reads a segment and writes the memory. Sizes and tokens are those of the
other model. With ``keep_head`` the head is loaded too, and each class that the other model has
keeps its row; the rows of new classes are as at the start of any training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rmt_genomics.errors import CheckpointError, ConfigError, counted
from rmt_genomics.model.classifier import RMTClassifier
from rmt_genomics.model.config import PRETRAINING, ClassifierConfig
from rmt_genomics.model.pretrained import (
    CONFIG,
    WEIGHTS,
    Weights,
    find_model_file,
    find_model_folder,
    read_config,
    read_weights,
)
from rmt_genomics.model.settings import as_toml
from rmt_genomics.parsing import shown, unprintable

SIZES = {
    **{f"model.{name}": name for name in ("dim", "depth", "heads", "segment_length")},
    **{f"model.{name}": name for name in ("num_memory_tokens", "stem_width", "stem_pool")},
    "model.memory_gate": "memory_gate",
    "tokenizer.kind": "tokenizer_kind",
    **{f"tokenizer.{name}": name for name in ("k", "stride")},
}
"""The settings that the encoder has from the other model, with their keys in ``config.json``."""

OF_HEAD = {f"model.{key}": key for key in ("pooling", "readout", "strand_head", "head_layers")}
"""Those that the head has from it, if it is kept."""

_ENCODER = "encoder.step."


def initial_files(source: str | None) -> list[Path]:
    """Return the files of an initial model, which a run must not replace; they need not exist.

    Raises:
        ConfigError: If the source, the setting ``training.init_from``, is no name.
    """
    if source is None:
        return []
    if not source.strip() or unprintable(source) is not None:
        raise ConfigError(
            f"training.init_from is {as_toml(source)}, but must be the name of a model: a folder, "
            "or hf://owner/name. Leave it out for random weights."
        )
    return [Path(source) / name for name in (CONFIG, WEIGHTS)]


@dataclass(frozen=True, slots=True, eq=False)
class InitialModel:
    """A model that another one starts from."""

    source: str
    """As given, for messages."""

    config: ClassifierConfig
    weights: Weights

    @classmethod
    def read(cls, source: str) -> "InitialModel":
        """Read a folder, ``hf://owner/name`` or a model that comes with this package.

        Raises:
            CheckpointError: If there is none, or its files are missing, cut or of another version.
        """
        folder = find_model_folder(source)
        config = read_config(find_model_file(folder, CONFIG))
        if config.backbone is not None:
            raise CheckpointError(
                f"{source}: its segments are read by the encoder {config.backbone.source!r}, but "
                "training.init_from needs a model with an encoder of this package. Set "
                "model.backbone to that encoder instead."
            )
        weights = read_weights(find_model_file(folder, WEIGHTS), config, RMTClassifier)
        return cls(source, config, weights)

    def settings(self, *, keep_head: bool) -> dict[str, Any]:
        """Return the settings that come from this model, by dotted key."""
        keys = SIZES | OF_HEAD if keep_head else SIZES
        return {key: getattr(self.config, name) for key, name in keys.items()}

    def check_has_head(self) -> None:
        """Raise ConfigError if this model has no head that could be kept."""
        if self.config.task == PRETRAINING:
            raise ConfigError(
                f"{self.source}: the model was pretrained without labels, but --keep-head needs "
                "one with classes. Leave out --keep-head."
            )

    def load_into(self, model: RMTClassifier, *, keep_head: bool) -> str:
        """Load the encoder, and the head if it is kept; return a sentence on what is new.

        The head of a pretrained model is loaded if ``model`` predicts masked bases, too.

        Raises:
            CheckpointError: If the encoder is another one.
            ConfigError: If the head cannot be kept.
        """
        own = model.state_dict()
        loaded = {name: each for name, each in self.weights.items() if name.startswith(_ENCODER)}
        expected = {name for name in own if name.startswith(_ENCODER)}
        wrong = loaded.keys() ^ expected or {
            name for name, each in loaded.items() if each.shape != own[name].shape
        }
        if wrong:
            raise CheckpointError(
                f"{self.source}: the encoder differs in {sorted(wrong)[0]} from the one that is "
                "trained, but must be the same. Leave out settings of [model] and [tokenizer]."
            )
        kept = ""
        if keep_head:
            self._check_head(model.config)
            loaded |= self._head(own, model.config)
            new = [name for name in model.classes_ if name not in self.config.classes]
            kept = f", with the head of {_first_names(self.config.classes)}"
            kept += f" (rows of {_first_names(new)} are new)" if new else ""
        elif model.config.task == self.config.task == PRETRAINING:
            loaded |= {name: each for name, each in self.weights.items() if name[:5] == "head."}
        model.load_state_dict(own | loaded)
        fresh = [name for name in own if name not in loaded]
        return (
            f"{self.source}: {counted(len(loaded), 'tensor')} loaded "
            f"({_num_weights(self.weights[name] for name in loaded)}){kept}; new: "
            f"{counted(len(fresh), 'tensor')} ({_num_weights(own[name] for name in fresh)})"
            f"{': ' + _first_names(fresh) if fresh else ''}."
        )

    def _check_head(self, config: ClassifierConfig) -> None:
        """Raise ConfigError if the head of this model cannot be that of another one."""

        def refuse(found: str, rule: str) -> None:
            raise ConfigError(
                f"{self.source}: {found}, but --keep-head {rule}. Leave out --keep-head."
            )

        self.check_has_head()
        tasks = [self.config.task, config.task]
        if "regression" in tasks or tasks.count("multilabel") == 1:
            refuse(
                f"the task of the model is {tasks[0]}, and that of the labels {tasks[1]}",
                "needs classes, with one label per sequence in both, or several in both",
            )
        if self.config.num_sequence_features or config.num_sequence_features:
            refuse(
                "the head reads features through a hidden layer (model.feature_head)",
                "keeps a head that reads the memory only",
            )
        if missing := [name for name in self.config.classes if name not in config.classes]:
            refuse(f"the labels lack its class {shown(missing[0])}", "adds classes and drops none")

    def _head(self, own: Weights, config: ClassifierConfig) -> Weights:
        """Return the weights of pooling, hidden layer and head, with rows for new classes."""
        names = ("encoder.pool.", "hidden.", "head.")
        kept = {name: each for name, each in self.weights.items() if name.startswith(names)}
        rows = torch.tensor([config.classes.index(name) for name in self.config.classes])
        for name, weight in kept.items():
            if name.startswith("head."):
                kept[name] = own[name].clone()
                kept[name][rows] = weight.to(own[name].dtype)
        return kept


def _num_weights(tensors: Iterable[torch.Tensor]) -> str:
    return counted(sum(each.numel() for each in tensors), "weight")


def _first_names(names: Sequence[str]) -> str:
    """Name the first few."""
    most = 5
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
