"""The model folder of a training: at its end, and until then of the best epoch so far.

While a training runs, ``checkpoints/best`` in its folder is a model folder, so that a run that is
killed has a model. At the end the run folder itself is one, and ``checkpoints/best`` is removed.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path

from rmt_genomics.datasets import Example, SequenceStore
from rmt_genomics.model import RMTClassifier
from rmt_genomics.prediction.training_range import MAX_EXAMPLES, TrainingRange
from rmt_genomics.training import checkpoints
from rmt_genomics.training.backbone import merge_adapters
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.data_module import PreparedData
from rmt_genomics.training.feature_regressions import Fit, add_regressions
from rmt_genomics.training.module import ClassifierModule, TrainingModule
from rmt_genomics.training.run_folder import RunFolder
from rmt_genomics.training.thresholds import with_thresholds

logger = logging.getLogger("rmt_genomics.training")

_MOST_TIME = 0.05  # of a training, for the best model so far


class ModelSaver:
    """Saves the model of a training.

    Args:
        folder: Where to.
        store: The sequences.
        train: The examples whose composition the training range describes.
        finish: Returns the model of a module as it is saved, on the CPU.
        finish_quietly: The same without a message, for a model that is not the final one; default:
            ``finish``.
    """

    def __init__(
        self,
        folder: RunFolder,
        store: SequenceStore,
        train: Sequence[Example],
        finish: Callable[[TrainingModule], RMTClassifier],
        finish_quietly: Callable[[TrainingModule], RMTClassifier] | None = None,
    ) -> None:
        self.folder = folder
        self.store = store
        self.train = train
        self.finish = finish
        self.finish_quietly = finish_quietly or finish
        self._next_at = -math.inf

    @cached_property
    def _training_range(self) -> TrainingRange | None:
        return training_range(self.store, self.train)

    def save_best(self, module: TrainingModule) -> RMTClassifier:
        """Write the model folder with the weights of the best epoch; return the model."""
        checkpoints.load_weights(module, self.folder.best)
        module.zero_grad(set_to_none=True)
        model = self.finish(module)
        self._write(model, self.folder.path)
        self.folder.remove_best_model()
        return model

    def save_so_far(self, module: TrainingModule) -> None:
        """Write ``checkpoints/best`` after an epoch that is the best one so far.

        But not if that would take more than a twentieth of the time: then a later one is written.
        """
        began = time.monotonic()
        if began < self._next_at or module.trainer.received_sigterm:
            return
        with module.without_hooks():
            model = self.finish_quietly(module)
        target = self.folder.best_model
        target.mkdir(parents=True, exist_ok=True)
        for name in ("environment.txt", "config.toml", "split.tsv"):  # what it has seen, windows
            shutil.copyfile(self.folder.path / name, target / name)
        self._write(model, target)
        ended = time.monotonic()
        self._next_at = ended + (ended - began) / _MOST_TIME

    def _write(self, model: RMTClassifier, folder: Path) -> None:
        if self._training_range is not None:
            self._training_range.save(folder)
        model.save_pretrained(folder)  # last: a folder with a model has all of it


def finished_classifier(
    module: TrainingModule,
    data: PreparedData,
    config: ExperimentConfig,
    fit: Fit | None,
    *,
    quiet: bool = False,
) -> RMTClassifier:
    """Return a copy of the model as it is saved, with its regressions and thresholds."""
    assert isinstance(module, ClassifierModule)
    model = deepcopy(module.evaluated_model)  # a copy of a compiled model is not compiled
    merge_adapters(model)
    device = module.trainer.strategy.root_device  # the model may be on the CPU again
    if fit is not None:
        message = add_regressions(model.to(device), fit, data, module.loss)
        if not quiet:
            logger.info(message)
    model = model.cpu()
    model.eval().requires_grad_()  # like a model that was loaded from the folder
    threshold = config.training.threshold
    model.config = with_thresholds(model, data, threshold, device=device, quiet=quiet)
    return model


def training_range(store: SequenceStore, train: Sequence[Example]) -> TrainingRange | None:
    """Return what the composition of a sequence is compared with, if training examples have any."""
    examples = train[:: 1 + (len(train) - 1) // MAX_EXAMPLES]
    return TrainingRange.fit(store.codes(each.interval) for each in examples)
