"""Option types and options that several commands share."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rmt_genomics.datasets import LabelSource
    from rmt_genomics.dna import NameOptions

_Command = TypeVar("_Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
SEQUENCES = click.Path(path_type=Path, allow_dash=True)
COUNT = click.IntRange(min=1)
BP = COUNT
DEVICE = click.Choice(["auto", "cpu", "cuda", "mps"])
SEED = click.IntRange(0, 2**32 - 1)  # NumPy's limit

label_pattern_option = click.option(
    "--label-pattern", metavar="REGEX", help="For --labels header: its one group is the label."
)
settings_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting; repeatable."
)
window_option = click.option(
    "--window", "window_bp", type=BP, metavar="BP", help="Cut labelled records into windows."
)
step_option = click.option(
    "--step", "step_bp", type=BP, metavar="BP", help="From window to window; default: --window."
)


def parse_shard(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """Parse ``I/N``: shard I of N."""
    if value is None:
        return None
    shard = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", value)
    if shard is None or not 1 <= int(shard[1]) <= int(shard[2]):
        raise click.BadParameter(f"{value[:50]!r} is not a shard: write 1/4 for the first of four.")
    return int(shard[1]), int(shard[2])


shard_option = click.option(
    "--shard", callback=parse_shard, metavar="I/N", help="Only this shard, for join."
)


def check_step(window_bp: int | None, step_bp: int | None) -> None:
    """Refuse ``--step`` without ``--window``."""
    if window_bp is None and step_bp is not None:
        raise click.UsageError("--step needs --window, the length of a window in bp.")


def window_settings(window_bp: int | None, step_bp: int | None) -> tuple[str, ...]:
    """Return the settings that ``--window`` and ``--step`` stand for, as for ``--set``."""
    check_step(window_bp, step_bp)
    pairs = (("window_bp", window_bp), ("step_bp", step_bp))
    return tuple(f"data.{name}={value}" for name, value in pairs if value is not None)


def echo_metrics(metrics: Mapping[str, Any]) -> None:
    """Print a row per predictor on a terminal, and a tab-separated row per metric elsewhere."""
    from rmt_genomics.evaluation.tables import metric_lines, metrics_table

    aligned = sys.stdout.isatty()
    click.echo(metrics_table(metrics) if aligned else "\n".join(metric_lines(metrics)))


_DUPLICATE_NAMES = click.option(
    "--duplicate-names",
    type=click.Choice(["error", "number"]),
    help="A name twice in one file: refuse it, or number it (a_2) and leave out copies.",
)
_FULL_NAMES = click.option(
    "--full-names",
    is_flag=True,
    default=None,
    help="Names are whole headers, not only the part before the first blank.",
)
_UNLABELLED = click.option(
    "--unlabelled",
    type=click.Choice(["error", "skip"]),
    help="Records without a label, rows without a record: refuse them, or leave them out.",
)
_MIN_CLASS_SIZE = click.option(
    "--min-class-size", type=COUNT, metavar="N", help="Leave out classes of fewer examples."
)


_RUN = (
    click.option("--device", type=DEVICE, default="auto", help="Device to compute on."),
    click.option("--seed", type=SEED, default=0, help="Seed of everything random."),
    click.option("--resume", is_flag=True, help="Resume the run in --out."),
    click.option("--overwrite", is_flag=True, help="Replace an earlier run in --out."),
    click.option("--devices", type=COUNT, default=1, help="Processes per machine; one per GPU."),
    click.option("--num-nodes", type=COUNT, default=1, help="Machines."),
)


def run_options(command: _Command) -> _Command:
    """Add the options on where and how a run folder is made."""
    for option in reversed(_RUN):
        command = option(command)
    return command


def name_options(command: _Command) -> _Command:
    """Add the options on names of records."""
    return _DUPLICATE_NAMES(_FULL_NAMES(command))


def label_options(command: _Command) -> _Command:
    """Add the options on labels, and on the names of the records that have them."""
    return label_pattern_option(_UNLABELLED(_MIN_CLASS_SIZE(name_options(command))))


def take_names(options: dict[str, Any]) -> "NameOptions":
    """Take the options on names of records."""
    from rmt_genomics.dna import NameOptions

    duplicates, full = options.pop("duplicate_names"), options.pop("full_names")
    return NameOptions.of(duplicates=duplicates, full=full)


def take_labels(options: dict[str, Any]) -> dict[str, Any]:
    """Take those options on labels that are given, by argument of ``LabelSource.read``."""
    given = {name: options.pop(name) for name in ("unlabelled", "min_class_size")}
    return {name: value for name, value in given.items() if value is not None}


def take_data_settings(options: dict[str, Any]) -> tuple[str, ...]:
    """Take the options on labels and names of records, as settings of a training."""
    names = ("unlabelled", "min_class_size", "duplicate_names", "full_names")
    values = {name: options.pop(name) for name in names}
    return tuple(
        f"data.{name}={str(value).lower()}" for name, value in values.items() if value is not None
    )


def label_source(labels: Path | None, pattern: str | None, fasta: Path) -> "LabelSource":
    """Return where labels come from; without ``--labels``, the column of a table of sequences.

    Raises:
        click.UsageError: If there is no such column.
    """
    from rmt_genomics.datasets import LabelSource
    from rmt_genomics.dna.sequence_files import label_column

    if labels is not None:
        return LabelSource(labels, pattern)
    if pattern is not None:
        raise click.UsageError("--label-pattern needs --labels header.")
    if not label_column(fasta):
        raise click.UsageError(
            f"Missing option '--labels': {fasta} has no column 'label', so a table is needed, or "
            "one of column, header, file, folder."
        )
    return LabelSource.of(None, fasta)
