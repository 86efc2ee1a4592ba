"""One run of ``predict``: from its settings to the lines of the output."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmt_genomics.atomic_io import ResumableFile, resumable_file, sha256_of_file, write_lines
from rmt_genomics.dna.compression import explain_read_errors
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.model.batching import check_batch_size
from rmt_genomics.model.fold_ensemble import (
    AnyModel,
    load_model,
    model_folders,
    read_joint_config,
)
from rmt_genomics.model.pretrained import (
    CONFIG,
    WEIGHTS,
    choose_device,
    find_model_file,
    find_model_folder,
)
from rmt_genomics.parsing import as_paths
from rmt_genomics.prediction.calibration import FILE_NAME, calibration_of, find_calibration
from rmt_genomics.prediction.inputs import InputReader, PredictionInput
from rmt_genomics.prediction.notes import Notes
from rmt_genomics.prediction.output_formats import (
    Bed,
    BedGraph,
    OutputFormat,
    PredictionTable,
    class_column,
    output_lines,
)
from rmt_genomics.prediction.predictor import (
    DecisionRule,
    Prediction,
    Shard,
    predict_records,
)
from rmt_genomics.prediction.progress import ProgressCallback, progress_bar
from rmt_genomics.prediction.training_range import FILE_NAME as TRAINING_RANGE
from rmt_genomics.prediction.training_range import TrainingRange

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("tsv", "bed", "bedgraph")
_NOTE_FORMAT = 3  # of the note beside partial output; before, there was no column note


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionConfig:
    """The settings of a run: the model, its input, and how predictions are written.

    Raises:
        ConfigError: If two settings contradict each other.
    """

    model_dir: str
    input: PredictionInput
    decision_rule: DecisionRule = DecisionRule()  # noqa: RUF009 (frozen)
    format: str = "tsv"
    class_name: str | None = None
    device: str = "auto"
    embeds: bool = False
    """Whether embeddings are written, for which a model needs no classes."""

    model_folder: Path | None = None
    """Where ``model_dir`` was found. A model of the hub is looked for once in a run."""

    def __post_init__(self) -> None:
        if self.class_name is not None and self.format != "bedgraph":
            raise ConfigError("--class needs --format bedgraph, which shows one class.")
        if self.format == "bedgraph" and self.input.intervals is not None:
            raise ConfigError(
                "--format bedgraph needs --window: its lines must not overlap, but intervals may."
            )
        if self.format != "tsv" and self.decision_rule.coverage is not None:
            raise ConfigError(
                "--coverage needs --format tsv: the other formats have no column for sets of "
                "labels."
            )
        if self.format == "bedgraph" and self.decision_rule.abstain_below is not None:
            raise ConfigError("--abstain-below needs labels, but bedgraph has none.")

    def key(self) -> dict[str, Any]:
        """Return what the lines of the output depend on, but for the sequences themselves."""
        folder = find_model_folder(self.model_folder or self.model_dir)
        models = model_folders(folder)
        files = [find_model_file(each, name) for each in models for name in (CONFIG, WEIGHTS)]
        if self.decision_rule.needs_calibration:
            files.append(find_model_file(folder, FILE_NAME))
        if (training_range := folder / TRAINING_RANGE).is_file():
            files.append(training_range)
        intervals = [self.input.intervals] if self.input.intervals else []
        return {
            "format": _NOTE_FORMAT,
            "model": [_checksum(path) for path in files],
            "intervals": [_checksum(path) for path in intervals],
            "window": self.input.window,
            "step": self.input.step or self.input.window,
            "names": [self.input.names.duplicates, self.input.names.full],
            "output": self.format,
            "class": self.class_name,
            "calibrated": self.decision_rule.calibrated,
            "abstain_below": self.decision_rule.abstain_below,
            "coverage": self.decision_rule.coverage,
        }

    def output_format(self, config: ClassifierConfig) -> OutputFormat:
        """Return how the predictions of a model are written.

        Raises:
            ConfigError: If the format cannot show what the model predicts.
        """
        title = Path(self.model_dir).name
        if self.format == "tsv":
            has_sets = self.decision_rule.coverage is not None
            columns = self.input.interval_columns
            return PredictionTable(config.classes, columns, config.task, has_sets)
        if self.format == "bed":
            if config.task == "regression":
                raise ConfigError(
                    "--format bed shows labels, but the model's task is regression: it has none. "
                    "Use --format bedgraph."
                )
            return Bed(title, has_strand=self.input.intervals is not None)
        column = class_column(config, self.class_name)
        step = self.input.step or self.input.window
        return BedGraph(f"{title} {config.classes[column]}", column, self.input.window, step)


def _checksum(path: Path) -> str:
    with explain_read_errors(path):
        return sha256_of_file(path)


Row = tuple[int, str, dict[str, Any]]
"""Index and line of a prediction, and the state of the input when it was computed."""


class PredictionRun:
    """A run whose input is open.

    Args:
        config: The settings.

    Raises:
        RMTGenomicsError: If the input or the model is missing, or the settings do not fit the
            model.
    """

    def __init__(self, config: PredictionConfig) -> None:
        self.reader = InputReader(config.input)
        self.device = choose_device(config.device)
        self.folder = config.model_folder or find_model_folder(config.model_dir)
        self.config = replace(config, model_folder=self.folder)
        model_config = read_joint_config(self.folder, needs_classes=not config.embeds)
        self.output_format = config.output_format(model_config)
        self.decision_rule = config.decision_rule
        self.decision_rule.check(model_config)
        if self.decision_rule.needs_calibration:
            calibration = find_calibration(self.folder, model_config)
            self.decision_rule = replace(self.decision_rule, calibration=calibration)
        self.notes = Notes(model_config, TrainingRange.load(self.folder))
        """Counts the notes of this run; its ``warn`` is called at the end."""

    def key(self) -> dict[str, Any]:
        """Return what all partial output of this run must have in common."""
        sequences = {"num_files": len(self.reader.files), "sequences": self.reader.store_sha256}
        return {**self.config.key(), **sequences}

    def predictions(self, shard: Shard, progress: ProgressCallback) -> Iterator[Prediction]:
        """Load the model and compute the predictions of a shard; can be called once."""
        yield from predict_records(
            load_model(self.folder, device=self.device),
            self.reader,
            decision_rule=self.decision_rule,
            shard=shard,
            progress=progress,
            notes=self.notes,
        )

    def rows(self, shard: Shard, progress: ProgressCallback) -> Iterator[Row]:
        """Yield the predictions of a shard as lines."""
        predictions = self.predictions(shard, progress)
        yield from self.with_state(
            (each.row, self.output_format.line(each)) for each in predictions
        )

    def with_state(self, lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
        """Yield lines and their indices with the state of the input when they were computed."""
        position, state = None, dict[str, Any]()
        for row, line in lines:
            if self.reader.position != position:
                position, state = self.reader.position, self.reader.state()
            yield row, line, state

    @contextmanager
    def resumable_output(
        self, out: Path, key: dict[str, Any], header: list[str], *, resume: bool
    ) -> Iterator[ResumableFile]:
        """Open the output; it has a header, and its rows are of the input that is there now."""
        check = self.reader.check_unchanged
        with resumable_output(out, key, header, resume=resume, check_input=check) as file:
            yield file


@contextmanager
def resumable_output(
    out: Path,
    key: dict[str, Any],
    header: list[str],
    *,
    resume: bool,
    check_input: Callable[[Path, dict[str, Any]], None] = lambda *_: None,
) -> Iterator[ResumableFile]:
    """Open output that has a header.

    Args:
        out: The file.
        key: What its rows depend on.
        header: Its first lines.
        resume: Keep the rows of an interrupted run.
        check_input: Gets the path of the partial output and the state that was saved with its
            rows; raises ConfigError if the input has changed since.
    """
    with resumable_file(out, key, resume=resume) as file:
        if file.progress is None:  # stopped before its first row
            file.clear()
        else:
            check_input(file.path, file.progress)
        first = list(islice(file.lines(), len(header)))
        if len(first) < len(header):
            file.clear()
            for line in header:
                file.write(line)
        elif first != header:
            raise file.damaged("its header is of other output")
        yield file


def write_rows(file: ResumableFile, rows: Iterable[Row], *, with_index: bool = False) -> None:
    """Write rows as they come; ``with_index`` each after its index, as a shard file has them."""
    for row, line, state in rows:
        if state != file.progress:  # before the row: its checksum must cover all rows in the file
            file.save_progress(state)
        file.write(f"{row}\t{line}" if with_index else line)


def predict_table(
    model: AnyModel, fasta: str | Path, *, calibrated: bool = False, batch_size: int | None = None
) -> "pd.DataFrame":
    """Return the predictions for a file as a data frame; see ``RMTClassifier.predict_table``."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ConfigError(
            "predict_table: returns a pandas.DataFrame, but the package pandas is not installed. "
            "Install it: pip install 'rmt-genomics[pandas]'."
        ) from error
    rule, folder, config = DecisionRule(), model.folder, model.config
    if calibrated:
        rule = DecisionRule(calibrated=True, calibration=calibration_of(model))
    notes = Notes(config, None if folder is None else TrainingRange.load(folder))
    reader = InputReader(PredictionInput(fasta=tuple(as_paths(fasta))))
    predictions = predict_records(
        model, reader, decision_rule=rule, notes=notes, max_rows=check_batch_size(batch_size)
    )
    columns = PredictionTable(config.classes, task=config.task).header()[0].split("\t")
    rows = [_cells(prediction, config.task) for prediction in predictions]
    notes.warn()
    return pd.DataFrame(rows, columns=columns)


def _cells(prediction: Prediction, task: str) -> list[str | int | float | None]:
    """Return a row of ``predict_table``: the cells of ``PredictionTable``, as values."""
    values = prediction.probabilities.tolist()
    if task != "regression":
        is_known = not math.isnan(values[0])
        values = [prediction.label if is_known else None, prediction.score, *values]
    return [prediction.record, prediction.length, *values, prediction.note]


def predicted_lines(config: PredictionConfig) -> Iterator[str]:
    """Yield the lines of the output as they come, without line ends."""
    run = PredictionRun(config)
    with progress_bar(config.input.total_bp) as progress:
        yield from output_lines(run.predictions(Shard(), progress), run.output_format)
    run.notes.warn()


def write_predictions(config: PredictionConfig, out: Path, *, resume: bool) -> None:
    """Write all predictions, or those that an interrupted run has not written.

    Args:
        config: The settings.
        out: The output file. Until it is complete, its rows are in ``OUT.part``.
        resume: Keep the rows of an interrupted run.

    Raises:
        RMTGenomicsError: If the input is wrong, or an interrupted run had other settings or input.
    """
    if not resume and config.input.pipes:
        write_lines(out, predicted_lines(config))  # it could not be resumed
        return
    config.input.check_rereadable()
    run = PredictionRun(config)
    header = run.output_format.header()
    with (
        run.resumable_output(out, run.key(), header, resume=resume) as file,
        progress_bar(config.input.total_bp) as progress,
    ):
        num_rows = sum(1 for _ in file.lines()) - len(header)
        write_rows(file, run.rows(Shard(first_row=num_rows), progress))
    run.notes.warn()
