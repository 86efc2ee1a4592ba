"""One job of prediction: what is read, what is asked of it, and how the answers stand in text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rmt_genomics.atomic_io import (
    ResumableFile,
    resumable_file,
    sha256_of_file,
    write_lines,
)
from rmt_genomics.dna import EncodedRecord, sequence_files
from rmt_genomics.dna.compression import explain_read_errors
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model import pretrained as saving
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.prediction.calibration import FILE_NAME
from rmt_genomics.prediction.inputs import PredictionInput
from rmt_genomics.prediction.output_formats import (
    Bed,
    BedGraph,
    OutputFormat,
    PredictionTable,
    class_column,
    lines,
)
from rmt_genomics.prediction.predictor import (
    ABSTAIN,
    DecisionRule,
    Prediction,
    Shard,
    find_calibration,
    predict_records,
)
from rmt_genomics.prediction.progress import (
    ProgressCallback,
    shown_progress,
)

FORMATS = ("tsv", "bed", "bedgraph")
_KEY_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionConfig:
    """A model, what it reads, and what it is asked."""

    model_dir: str
    reading: PredictionInput
    answers: DecisionRule = DecisionRule()  # noqa: RUF009 (frozen)
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
            "model": _checksums(model),
            "sequences": _checksums(files),
            "intervals": _checksums([self.reading.intervals] if self.reading.intervals else []),
            "window": self.reading.window,
            "step": self.reading.step or self.reading.window,
            "output": self.format,
            "class": self.class_name,
            **{name: value for name, value in asked.items() if name != "calibration"},
        }

    def layout(self, config: ClassifierConfig) -> OutputFormat:
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


class PredictionRun:
    """A job whose input is open and whose model is loaded.

    Args:
        job: What is to be done.

    Raises:
        RMTGenomicsError: If the input or the model is missing, or the model cannot answer so.
    """

    def __init__(self, job: PredictionConfig) -> None:
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

    def predictions(self, share: Shard, watch: ProgressCallback) -> Iterator[Prediction]:
        """Compute a share of the predictions; once."""
        return predict_records(
            self.model, self._counted(), answers=self._answers, share=share, watch=watch
        )

    def _counted(self) -> Iterator[EncodedRecord]:
        for record in self._records:
            self.num_rows += 1
            yield record
            del record


def print_predictions(job: PredictionConfig) -> Iterator[str]:
    """Yield the lines of the output as they come, without line ends."""
    work = PredictionRun(job)
    with shown_progress(job.reading.total_bp) as watch:
        yield from lines(work.predictions(Shard(), watch), work.layout)


def write_predictions(job: PredictionConfig, out: Path, *, resume: bool) -> None:
    """Write all predictions, or those that a stopped run has left to do.

    Raises:
        RMTGenomicsError: If the input is wrong, or ``resume`` finds the lines of another job.
    """
    if not resume and not _can_be_read_again(job):
        _write_once(job, out)
        return
    with resumable_file(out, job.key(), resume=resume) as file:
        work = PredictionRun(job)
        header = work.layout.header()
        num_rows = num_lines(file) - len(header)
        if num_rows < 0:
            write_anew(file, header)
        with shown_progress(job.reading.total_bp) as watch:
            for each in work.predictions(Shard(after=max(0, num_rows)), watch):
                file.write(work.layout.line(each))


def count_abstained(job: PredictionConfig, lines: Iterable[str]) -> tuple[int, int]:
    """Read the lines of the output; return how many abstain, and how many rows there are."""
    config = saving.read_config(saving.find(job.model_dir, saving.CONFIG))
    job.answers.check(config)
    layout = job.layout(config)
    column = layout.label_column
    assert column is not None, "a job that may abstain has labels"
    count, total = 0, 0
    for line in lines:
        count += line.split("\t")[column : column + 1] == [ABSTAIN]
        total += 1
    return count, max(0, total - len(layout.header()))


def num_lines(file: ResumableFile) -> int:
    return sum(1 for _ in file.lines())


def write_anew(file: ResumableFile, header: list[str]) -> None:
    file.clear()
    for line in header:
        file.write(line)


def _write_once(job: PredictionConfig, out: Path) -> None:
    """Write what comes from a pipe, which cannot be read again."""
    write_lines(out, print_predictions(job))


def _can_be_read_again(job: PredictionConfig) -> bool:
    return all(str(each) != "-" and (each.is_file() or each.is_dir()) for each in job.reading.fasta)


def _checksums(paths: Sequence[Path]) -> list[str]:
    sums = []
    for path in paths:
        with explain_read_errors(path):
            sums.append(sha256_of_file(path))
    return sums
