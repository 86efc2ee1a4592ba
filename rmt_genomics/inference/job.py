"""One job of prediction: what is read, what is asked of it, and how the answers stand in text."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rmt_genomics.dna import EncodedRecord, sequence_files
from rmt_genomics.dna.windows import check_windows
from rmt_genomics.errors import ConfigError
from rmt_genomics.inference.answers import Answers, Prediction, find_calibration
from rmt_genomics.inference.calibration import FILE_NAME
from rmt_genomics.inference.encoding import Share
from rmt_genomics.inference.growing import sha256_of
from rmt_genomics.inference.predict import (
    predict_records,
    read_fastas,
    read_stretches,
    read_windows,
)
from rmt_genomics.inference.progress import bp_in_files
from rmt_genomics.inference.tables import Layout, PredictionTable
from rmt_genomics.inference.tracks import Bed, BedGraph, class_column
from rmt_genomics.inference.watch import Watch
from rmt_genomics.model import ClassifierConfig, RMTClassifier, saving
from rmt_genomics.model.device import choose_device

FORMATS = ("tsv", "bed", "bedgraph")
_KEY_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is read: whole records, windows or intervals of them.

    Raises:
        ConfigError: If it contradicts itself.
    """

    fasta: tuple[Path, ...]
    window: int | None = None
    step: int | None = None
    intervals: Path | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            check_windows(self.window, self.step or self.window)

    @property
    def inputs(self) -> list[Path]:
        """Return all that is read."""
        return [*self.fasta, *([self.intervals] if self.intervals else [])]

    @property
    def places(self) -> tuple[str, ...]:
        """Return what says where a piece is from."""
        if self.intervals is not None:
            return "start", "end", "strand"
        return () if self.window is None else ("start", "end")

    def records(self) -> Iterator[EncodedRecord]:
        """Read it. What is missing is noticed at once."""
        if self.intervals is not None:
            return read_stretches(self.fasta, self.intervals)
        if self.window is not None:
            return read_windows(self.fasta, self.window, self.step or self.window)
        return read_fastas(self.fasta)

    def total_bp(self) -> int | None:
        """Return about how many bp are read, if that can be told beforehand."""
        if self.intervals is not None or (found := bp_in_files(self.fasta)) is None:
            return None
        return found * self.window // (self.step or self.window) if self.window else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A model, what it reads, and what it is asked."""

    model_dir: str
    reading: Reading
    answers: Answers = Answers()  # noqa: RUF009 (frozen)
    format: str = "tsv"
    class_name: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.class_name is not None and self.format != "bedgraph":
            raise ConfigError("--class needs --format bedgraph, which shows one class.")
        if self.format == "bedgraph" and self.reading.intervals is not None:
            raise ConfigError(
                "--format bedgraph needs --window: its lines must not overlap, but intervals may."
            )
        if self.format != "tsv" and self.answers.coverage is not None:
            raise ConfigError(
                "--coverage needs --format tsv: the other formats have no place for sets of labels."
            )
        if self.format == "bedgraph" and self.answers.abstain_below is not None:
            raise ConfigError("--abstain-below needs labels, but bedgraph has none.")

    def key(self) -> dict[str, Any]:
        """Return what the lines of the output depend on, to be compared when it is resumed.

        Raises:
            ConfigError: If an input cannot be read a second time.
        """
        files = sequence_files(self.reading.fasta)
        for each in files:
            if not each.is_file():
                raise ConfigError(
                    f"{each}: is no file on a disk, but --resume, --shard and --processes read the "
                    "input more than once. Save it to a file first."
                )
        model = [saving.find(self.model_dir, name) for name in (saving.CONFIG, saving.WEIGHTS)]
        if self.answers.needs_calibration:
            model.append(saving.find(self.model_dir, FILE_NAME))
        asked = asdict(replace(self.answers, calibration=None))
        return {
            "format": _KEY_FORMAT,
            "model": sha256_of(model),
            "sequences": sha256_of(files),
            "intervals": sha256_of([self.reading.intervals] if self.reading.intervals else []),
            "window": self.reading.window,
            "step": self.reading.step or self.reading.window,
            "output": self.format,
            "class": self.class_name,
            **{name: value for name, value in asked.items() if name != "calibration"},
        }

    def layout(self, config: ClassifierConfig) -> Layout:
        """Return how the answers of a model stand in text.

        Raises:
            ConfigError: If the model has no such answers.
        """
        reading, title = self.reading, Path(self.model_dir).name
        if self.format == "tsv":
            has_sets = self.answers.coverage is not None
            return PredictionTable(config.classes, reading.places, config.task, has_sets)
        if self.format == "bed":
            if config.task == "regression":
                raise ConfigError(
                    "--format bed shows labels, but the model's task is regression: it has none. "
                    "Use --format bedgraph."
                )
            return Bed(title, has_strand=reading.intervals is not None)
        column = class_column(config, self.class_name)
        step = reading.step or reading.window
        return BedGraph(f"{title} {config.classes[column]}", column, reading.window, step)


class Work:
    """A job whose input is open and whose model is loaded.

    Args:
        job: What is to be done.

    Raises:
        RMTGenomicsError: If the input or the model is missing, or the model cannot answer so.
    """

    def __init__(self, job: Job) -> None:
        self.num_rows = 0
        """How many records, windows or intervals have been read so far."""
        self._records = job.reading.records()
        self.model = RMTClassifier.from_pretrained(job.model_dir, device=choose_device(job.device))
        self.layout = job.layout(self.model.config)
        job.answers.check(self.model.config)
        self._answers = job.answers
        if job.answers.needs_calibration:
            found = find_calibration(job.model_dir, self.model.config)
            self._answers = replace(job.answers, calibration=found)

    def predictions(self, share: Share, watch: Watch) -> Iterator[Prediction]:
        """Compute a share of the predictions; once."""
        return predict_records(
            self.model, self._counted(), answers=self._answers, share=share, watch=watch
        )

    def _counted(self) -> Iterator[EncodedRecord]:
        for record in self._records:
            self.num_rows += 1
            yield record
            del record
