"""Simulated examples, made when they are read: others in each epoch of a training.

``FreshExamples`` makes them: an example depends on the seed, its part, the epoch, its number and
its length only, so a training can be resumed, and several processes read the same examples.
``SimulatedStore`` shows those that do not change as records of sequence files, so that all that
reads examples works on them: the validation and the test part, and as training part those of the
first epoch, without a least difference in GC. The source records are those of their part, whose
groups are in no other part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log2

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import SPLITS, Example
from rmt_genomics.datasets.mosaics import LABELS, TASK, MosaicSource, check_mosaic_length
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.datasets.simulation import Background, Simulation
from rmt_genomics.datasets.source_records import SourceRecords
from rmt_genomics.datasets.splits import Split
from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.dna.record_types import Interval, RecordInfo
from rmt_genomics.errors import ConfigError

_FRESH, _LENGTHS = 3, 4  # separate the random numbers of two purposes, and from other modules
_LENGTHS_PER_DOUBLING = 4


@dataclass(kw_only=True)
class FreshExamples:
    """Makes the examples of a training.

    Raises:
        ConfigError: If the length is too short for the task.
        DataError: If there are too few source records, or none differ so much in GC.
    """

    sources: SourceRecords
    task: str  # ``mosaics.TASK`` or a key of ``simulation.TASKS``
    length_range_bp: tuple[int, int]  # shortest and longest
    num_examples: dict[str, int]  # of each part, by name
    seed: int
    gc_difference: float = 0.0  # in the first epoch; see ``gc_difference_at``
    max_epochs: int = 1
    stage_bp: Sequence[int] = ()  # lengths of the stages of a curriculum
    _mosaics: dict[str, MosaicSource] = field(default_factory=dict, init=False)
    _planted: dict[tuple[str, int], tuple[Simulation, Background]] = field(
        default_factory=dict, init=False
    )

    def __post_init__(self) -> None:
        shortest, longest = self.length_range_bp
        self._check_length("simulation.length_bp", shortest)
        for stage_bp in self.stage_bp:
            self._check_length("curriculum.segments", min(stage_bp, shortest))
        for part, number in self.num_examples.items():
            if number < len(self.labels):
                name = "examples_per_epoch" if part == "train" else "validation_examples"
                raise ConfigError(
                    f"simulation.{name} is {number}, but must be at least {len(self.labels)}: one "
                    f"example of each label of the task {self.task}. Set a larger number."
                )
        self.sources.check(SPLITS, longest, least_groups=2 if self.task == TASK else 1)
        if self.task == TASK:
            self._mosaics = {part: MosaicSource(self.sources, part, longest) for part in SPLITS}
        if self.gc_difference:
            self._mosaics["train"].check_gc_difference(self.gc_difference)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the task."""
        if self.task == TASK:
            return LABELS
        return Simulation(task=self.task, length_bp=self.length_range_bp[1]).labels

    def lengths(self, part: str, epoch: int) -> npt.NDArray[np.int64]:
        """Return the length of each example in bp, ``(n,)``."""
        shortest, longest = self.length_range_bp
        steps = round(_LENGTHS_PER_DOUBLING * log2(longest / shortest)) or int(longest > shortest)
        key = (self.seed, _LENGTHS, SPLITS.index(part), epoch)
        drawn = np.random.default_rng(key).integers(steps + 1, size=self.num_examples[part])
        lengths = shortest * (longest / shortest) ** (drawn / max(1, steps))
        return np.rint(lengths).astype(np.int64)

    def gc_difference_at(self, epoch: int) -> float:
        """Return the least difference in GC fraction: it falls to 0 at half of the epochs."""
        return self.gc_difference * max(0.0, 1 - 2 * epoch / self.max_epochs)

    def label(self, index: int) -> str:
        """Return the label of an example, the same in all epochs."""
        return self.labels[index % len(self.labels)]

    def codes(
        self, part: str, epoch: int, index: int, length_bp: int, *, gc_difference: float = 0.0
    ) -> Codes:
        """Return the base codes of an example."""
        random = np.random.default_rng((self.seed, _FRESH, SPLITS.index(part), epoch, index))
        label = self.label(index)
        if self.task == TASK:
            source = self._mosaics[part]
            return source.draw(label, length_bp, random, gc_difference=gc_difference).codes
        if (part, length_bp) not in self._planted:
            records = self.sources.part(part, self.length_range_bp[1])
            self._planted[part, length_bp] = (
                Simulation(task=self.task, length_bp=length_bp),
                Background(self.sources.store, length_bp, records),
            )
        simulation, background = self._planted[part, length_bp]
        codes, _ = simulation.plant(label, background.draw(random), random)
        return codes

    def _check_length(self, where: str, length_bp: int) -> None:
        try:
            if self.task == TASK:
                check_mosaic_length(length_bp)
            else:
                Simulation(task=self.task, length_bp=length_bp)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error


class SimulatedStore(SequenceStore):
    """The examples that do not change, as records named after their part: ``test_12``."""

    def __init__(self, fresh: FreshExamples) -> None:
        self.fresh = fresh
        self.files, self.sha256 = fresh.sources.store.files, fresh.sources.store.sha256
        self._key_of: dict[str, tuple[str, int]] = {}
        self.lengths = {}
        for part in SPLITS:
            for index, length_bp in enumerate(fresh.lengths(part, 0).tolist()):
                name = f"{part}_{index + 1}"
                self.lengths[name], self._key_of[name] = length_bp, (part, index)

    def split(self) -> Split:
        """Return all records as examples with their labels."""
        parts: dict[str, list[Example]] = {part: [] for part in SPLITS}
        for name, (part, index) in self._key_of.items():
            interval = Interval(name, 0, self.lengths[name])
            label = self.fresh.label(index)
            parts[part].append(Example(interval, whole=True, labels=(label,)))
        return Split(*(tuple(parts[part]) for part in SPLITS))

    def _forward(self, interval: Interval) -> Codes:
        part, index = self._key_of[interval.record]
        codes = self.fresh.codes(part, 0, index, self.lengths[interval.record])
        return codes[interval.start : interval.end]

    def records(self) -> list[RecordInfo]:
        """Return name and length of each record; all are from the first file of genomes."""
        return [
            RecordInfo(name, length_bp, self.files[0], "", {})
            for name, length_bp in self.lengths.items()
        ]
