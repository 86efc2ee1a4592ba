"""Compare the record names of a labels file with those of its FASTA file, and explain misfits."""

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning

_SHOWN = 5
_VERSION = re.compile(r"\.[0-9]+$")
_CHR = re.compile(r"^chr", re.IGNORECASE)
_FILE = re.compile(r"\.(?:fasta|fa|fna|fas|ffn|fastq|fq|gbk|gb|embl)(?:\.gz)?$", re.IGNORECASE)

_CAUSES: dict[str, Callable[[str], str]] = {
    "upper and lower case": str.casefold,
    "the version suffix (such as .1)": lambda name: _VERSION.sub("", name),
    "the prefix chr": lambda name: _CHR.sub("", name),
    "the '>' of a header": lambda name: name.removeprefix(">"),
    "what follows the first blank of a header": lambda name: name.removeprefix(">").split(" ")[0],
    "the end of a file's name": lambda name: _FILE.sub("", name),
}


def check_records_exist(
    path: Path, first_lines: Mapping[str, int], records: Collection[str]
) -> None:
    """Raise DataError if labels name records that the FASTA file does not have.

    Args:
        path: The labels file.
        first_lines: The first line of every record named in it.
        records: The records of the FASTA file.
    """
    missing = [name for name in first_lines if name not in records]
    if not missing:
        return
    shown = ", ".join(f"{name!r} (line {first_lines[name]})" for name in missing[:_SHOWN])
    raise DataError(
        f"{path}: {len(missing)} of {len(first_lines)} records named here ({shown}"
        f"{', ...' if len(missing) > _SHOWN else ''}) are not in the FASTA file, "
        f"but all must be. {_remedy(missing, records)}"
    )


def check_records_labelled(
    path: Path, first_lines: Mapping[str, int], records: Collection[str]
) -> None:
    """Raise DataError if the FASTA file has records that the labels file does not name."""
    missing = [name for name in records if name not in first_lines]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(records)} records of the FASTA file have no label "
            f"({listed(missing)}), but every record must have one. "
            "Add their lines, or take them out of the FASTA file."
        )


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return a question that names the closest known name, or nothing if none is close."""
    folded = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def _remedy(missing: list[str], records: Collection[str]) -> str:
    for cause, normalise in _CAUSES.items():
        theirs = {normalise(name): name for name in records}
        matching = [name for name in missing if normalise(name) in theirs]
        if matching:
            example = f"{matching[0]!r} here, {theirs[normalise(matching[0])]!r} in the FASTA file"
            return f"{len(matching)} would match but for {cause}: {example}."
    return f"The FASTA file has {listed(list(records))}.{did_you_mean(missing[0], records)}"


@contextmanager
def in_file(where: str) -> Iterator[None]:
    """Add the name of a file to a DataError of what does not know it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def listed(names: list[str]) -> str:
    """Return the first five names, quoted."""
    return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")


def warn_if_one_based(
    where: str, intervals: Sequence[Interval], record_lengths: Mapping[str, int]
) -> None:
    """Warn if coordinates look as if they began at 1, with the end included.

    That is so if, on every record, the intervals begin at 1, each next one begins one after the
    end of the one before, and they end at the record's end or there are several of them.
    """
    of_record: dict[str, list[Interval]] = defaultdict(list)
    for interval in intervals:
        of_record[interval.record].append(interval)
    if of_record and all(
        _look_one_based(sorted(set(each)), record_lengths[record])
        for record, each in of_record.items()
    ):
        warnings.warn(
            f"{where}: all coordinates look as if counting began at 1 with the end included (such "
            f"as {intervals[0].record}:{intervals[0].start}-{intervals[0].end}), but they are read "
            "as 0-based and half-open: the first base of each is left out. Subtract 1 from start "
            "if so.",
            RMTGenomicsWarning,
            stacklevel=3,
        )


def _look_one_based(places: Sequence[Interval], length_bp: int) -> bool:
    if places[0].start != 1:
        return False
    steps = [after.start - before.end for before, after in pairwise(places)]
    return all(step == 1 for step in steps) and (bool(steps) or places[-1].end == length_bp)
