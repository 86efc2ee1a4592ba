"""The decision threshold of a trained model: ``training.threshold``."""

import logging
import warnings
from typing import TYPE_CHECKING

import torch

from rmt_genomics.datasets import LabelScheme
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning, three_digits
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.batching import compute_in_batches
from rmt_genomics.model.metrics import best_thresholds
from rmt_genomics.model.settings import as_toml
from rmt_genomics.parsing import shown

if TYPE_CHECKING:
    from rmt_genomics.training.data_module import PreparedData

DEFAULT = 0.5

logger = logging.getLogger(__name__)


def check_threshold(threshold: float | str, scheme: LabelScheme) -> None:
    """Raise ConfigError if a threshold would have no effect on these labels."""
    if threshold == DEFAULT or scheme.task in ("binary", "multilabel"):
        return
    reason = f"there are {len(scheme.classes)} classes, of which the most probable is predicted"
    if scheme.task == "regression":
        reason = "the labels are numbers, which have no classes"
    raise ConfigError(
        f"training.threshold is {as_toml(threshold)}, but needs two classes, or several labels per "
        f"example: {reason}. Leave --threshold out."
    )


def with_thresholds(
    model: RMTClassifier,
    data: "PreparedData",
    threshold: float | str,
    *,
    device: torch.device,
    quiet: bool = False,
) -> ClassifierConfig:
    """Return the config of a trained model with its thresholds; ``auto`` chooses them.

    The model is on the CPU; for its predictions it is moved to ``device``. With ``quiet`` it
    says nothing of what was chosen.

    Warns:
        RMTGenomicsWarning: Of classes that keep 0.5, since the validation part has none or only
            such examples, or the model does not rank them better than chance.
    """
    config = model.config
    count = 1 if config.task == "binary" else len(config.classes)
    if threshold == DEFAULT:
        return config
    if isinstance(threshold, float):
        return config.replace(thresholds=(threshold,) * count, thresholds_from="given")
    examples = data.split.validation
    model.to(device)
    probabilities = compute_in_batches(
        [len(example.interval) for example in examples],
        lambda batch: model.predict_codes([data.store.codes(examples[i].interval) for i in batch]),
        (len(config.classes),),
    )
    model.cpu()
    found, without = best_thresholds(data.scheme.targets(examples), probabilities, config.task)
    if without and not quiet:
        names = ", ".join(shown(config.classes[index]) for index in without[:5])
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        warnings.warn(
            f"--threshold auto: the threshold of {names}{more} stays 0.5: on the "
            f"{len(examples)} validation examples no threshold has an MCC above 0 (a class that "
            "none or all of them have, or that the model does not tell apart).",
            RMTGenomicsWarning,
            stacklevel=3,
        )
    if found is None:
        return config
    pairs = zip(config.classes[-count:], found, strict=True)
    values = ", ".join(f"{name} {three_digits(value)}" for name, value in pairs)
    if not quiet:
        logger.info("Thresholds chosen on the validation part (for MCC): %s.", values)
    return config.replace(thresholds=found, thresholds_from="validation")
