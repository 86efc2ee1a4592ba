"""A curriculum: training on short sequences first, on longer ones when a stage has been learned.

A recurrence over many segments is learned much faster after one over few segments. Each stage
shortens every example that is longer than its number of segments; weights, optimiser and random
numbers continue from stage to stage. A label must hold for the part that remains, so there is no
default for which part that is.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets import Example, IntervalDataset, LengthBuckets, SequenceStore
from rmt_genomics.datasets.examples import Targets
from rmt_genomics.dna import Interval, Tokenizer
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning, counted
from rmt_genomics.training.config import CurriculumSettings, ExperimentConfig

Numbers = npt.NDArray[np.int64]
_WINDOWS, _STAGES = 1, 2  # separate the random numbers of two purposes


class Curriculum:
    """The stage of a run; part of the last checkpoint.

    ``stage_bp`` is the longest example of each stage in bp. Without settings, or without stages,
    nothing is shortened.
    """

    def __init__(
        self, settings: CurriculumSettings | None = None, stage_bp: Sequence[int] = ()
    ) -> None:
        self.settings = settings or CurriculumSettings()
        self.stage_bp = tuple(stage_bp)
        self.stage = 0
        """From 0."""

        self.last_began_at: int | None = 0 if self.is_in_last_stage else None
        """Optimiser steps made before the last stage began; None = it has not begun."""

    @classmethod
    def of(cls, config: ExperimentConfig, task: str, longest_bp: int) -> "Curriculum":
        """Return the curriculum of a new run; ``task`` and ``longest_bp`` as for ``check``."""
        model = config.classifier(("any", "other"), "binary")
        tokens = model.rmt().tokens_per_segment
        stages = config.curriculum.segments
        curriculum = cls(config.curriculum, stage_lengths_bp(stages, tokens, model.tokenizer))
        curriculum.check(task, longest_bp)
        return curriculum

    @property
    def is_on(self) -> bool:
        """Whether there are stages."""
        return bool(self.settings.segments)

    @property
    def is_in_last_stage(self) -> bool:
        """Whether no stage follows; always true without stages."""
        return self.stage + 1 >= len(self.settings.segments)

    def is_stage_finished(self, validation: Mapping[str, Any], epochs_since_best: int) -> bool:
        """Whether the next stage begins after this epoch, by what is measured in this stage."""
        if self.is_in_last_stage:
            return False
        value = validation[f"val_{self.settings.metric}"]
        is_learned = value is not None and value >= self.settings.advance_at
        return is_learned or epochs_since_best >= self.settings.patience

    def advance(self, step: int) -> None:
        """Begin the next stage, after ``step`` optimiser steps."""
        self.stage += 1
        if self.is_in_last_stage:
            self.last_began_at = step

    def check(self, task: str, longest_bp: int) -> None:
        """Check the metric against the task; warn of stages that shorten no training example."""
        metrics = ("pearson", "r2") if task == "regression" else ("accuracy", "mcc", "auroc")
        if self.is_on and self.settings.metric not in metrics:
            raise ConfigError(
                f"curriculum.metric is {self.settings.metric!r}, but must be one of "
                f"{', '.join(metrics)}: the task is {task}."
            )
        num_effective = sum(length_bp < longest_bp for length_bp in self.stage_bp)
        without_effect = self.settings.segments[num_effective:]
        if len(without_effect) > 1 or (without_effect and not num_effective):
            warnings.warn(
                f"the longest training example has {longest_bp} bp, so the stages of "
                f"curriculum.segments from {without_effect[0]} on shorten nothing. Leave out all "
                "but one of them.",
                RMTGenomicsWarning,
                stacklevel=3,
            )

    def warn_if_unfinished(self) -> None:
        """Warn if training ended before the last stage."""
        if not self.is_in_last_stage:
            longest = counted(self.settings.segments[self.stage], "segment")
            warnings.warn(
                f"training ended in stage {self.stage + 1} of {len(self.settings.segments)}: no "
                f"example longer than {longest} was trained on. Raise training.max_epochs, or "
                "lower curriculum.advance_at or curriculum.patience.",
                RMTGenomicsWarning,
                stacklevel=3,
            )

    def state_dict(self) -> dict[str, int | None]:
        """Return the state for a checkpoint."""
        return {"stage": self.stage, "last_began_at": self.last_began_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state in a checkpoint."""
        self.stage, self.last_began_at = state["stage"], state["last_began_at"]


class StagedDataset(IntervalDataset):
    """Examples, shortened as in the present stage; whole if there are no stages.

    In training, examples of earlier stages are mixed in, and random windows change from epoch to
    epoch. In validation all are of the present stage, and windows stay. ``seed`` determines both.
    """

    def __init__(
        self,
        store: SequenceStore,
        examples: Sequence[Example],
        targets: Targets,
        *,
        curriculum: Curriculum,
        seed: int,
        is_training: bool,
    ) -> None:
        super().__init__(store, examples, targets)
        self.curriculum = curriculum
        self.seed = seed
        self.is_training = is_training
        self.whole_bp = np.array(self.lengths, dtype=np.int64)
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Choose the part of each example that an epoch reads, from seed, epoch and stage."""
        if not self.curriculum.is_on:
            return
        epoch = epoch if self.is_training else 0
        lengths = self.stage_lengths(epoch)
        starts = self._starts(epoch, lengths)
        parts = zip(self.examples, starts.tolist(), lengths.tolist(), strict=True)
        self.intervals = [part_of(example.interval, *part) for example, *part in parts]

    def stage_lengths(self, epoch: int) -> Numbers:
        """Return the length of each example in bp, in an epoch of the present stage."""
        if not self.curriculum.is_on:
            return self.whole_bp
        stage_bp = np.array(self.curriculum.stage_bp)[self._stages(epoch)]
        lengths: Numbers = np.minimum(self.whole_bp, stage_bp)
        return lengths

    def _stages(self, epoch: int) -> Numbers:
        """Return the stage of each example: the present one, or in training some earlier one."""
        stage = self.curriculum.stage
        stages = np.full(len(self.examples), stage)
        if self.is_training and stage:
            random = np.random.default_rng((self.seed, epoch, _STAGES))
            is_earlier = random.random(len(stages)) < self.curriculum.settings.mix
            stages[is_earlier] = random.integers(stage, size=is_earlier.sum())
        return stages

    def _starts(self, epoch: int, lengths: Numbers) -> Numbers:
        """Return the start of each part, counted 5' to 3' on the example's strand."""
        removed_bp = self.whole_bp - lengths
        match self.curriculum.settings.shorten:
            case "random_window":
                random = np.random.default_rng((self.seed, epoch, _WINDOWS))
                return random.integers(removed_bp + 1)
            case "around":
                return removed_bp // 2
        return np.zeros_like(removed_bp)


class StagedBuckets(LengthBuckets):
    """Batches of similar length, by the lengths of the present stage.

    Each epoch of the sampler begins one of the dataset. The loader must read in this process:
    worker processes would not see the next stage.
    """

    def __init__(self, dataset: StagedDataset, batch_size: int, **options: Any) -> None:
        super().__init__(dataset.lengths, batch_size, **options)
        self.dataset = dataset

    def _batches(self) -> Any:
        self.dataset.begin_epoch(self._epoch)
        self._lengths = np.asarray(self.dataset.lengths, dtype=np.int64)
        return super()._batches()


def stage_lengths_bp(
    segments: Sequence[int], segment_length: int, tokenizer: Tokenizer
) -> list[int]:
    """Return the base pairs that exactly fill each number of segments with tokens.

    Examples:
        >>> stage_lengths_bp([1, 2], 128, Tokenizer())
        [128, 256]
        >>> stage_lengths_bp([1], 128, Tokenizer("kmer", k=4, stride=2))
        [258]
    """
    k, stride = tokenizer.k, tokenizer.stride
    return [(number * segment_length - 1) * stride + k for number in segments]


def part_of(interval: Interval, start: int, length_bp: int) -> Interval:
    """Return a part of an interval; ``start`` is counted 5' to 3' on the interval's strand.

    Examples:
        >>> str(part_of(Interval("chr1", 10, 40, "+"), 5, 10))
        'chr1:15-25(+)'
        >>> str(part_of(Interval("chr1", 10, 40, "-"), 5, 10))
        'chr1:25-35(-)'
    """
    is_reverse = interval.strand == "-"
    begin = interval.end - start - length_bp if is_reverse else interval.start + start
    return replace(interval, start=begin, end=begin + length_bp)
