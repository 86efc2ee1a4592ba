"""Checks of labels that need more than one row: record names, coordinates, kinds of labels.

The record names of the labels are compared with those of the sequence files; labels may be class
names or numbers, but not a mixture. What looks wrong without breaking a rule gives a warning.
"""

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice, pairwise
from pathlib import Path
from unicodedata import category, normalize

from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import read_number, shown

MIN_CONTINUOUS_VALUES = 20
"""Numbers are taken as measured values only if there are this many different ones."""

UNLABELLED = ("error", "skip")
SKIP_UNLABELLED = "--unlabelled skip"

_MIN_EXAMPLES_PER_CLASS = 5
_LONGEST_COMPARED, _MOST_COMPARED = 200, 20_000
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_MISSING = frozenset(
    ("na", "n/a", "nan", "none", "null", "missing", "unknown", "?", "-", ".", "inf", "-inf")
)
_VERSION = re.compile(r"\.[0-9]+$")
_CHR = re.compile(r"^chr", re.IGNORECASE)
_FILE = re.compile(
    r"\.(?:fasta|fa|fna|fas|ffn|fastq|fq|gbk|gb|embl)(?:\.(?:gz|bgz|bz2|xz|zst))?$", re.IGNORECASE
)

_NORMALISATIONS: dict[str, Callable[[str], str]] = {
    "upper and lower case": str.casefold,
    "the version suffix (such as .1)": lambda name: _VERSION.sub("", name),
    "the prefix chr": lambda name: _CHR.sub("", name),
    "the '>' of a header": lambda name: name.removeprefix(">"),
    "the description after the first space": lambda name: name.removeprefix(">").split(" ")[0],
    "the file name suffix": lambda name: _FILE.sub("", name),
    "the name of the file, since it is in several": lambda name: name.rpartition(":")[2],
}
"""Ways in which names of the same record often differ."""

Labels = tuple[str, ...]  # the labels of one example


def check_records_exist(
    path: Path,
    first_lines: Mapping[str, int],
    records: Collection[str],
    *,
    to_leave_out: str = f"To leave these lines out: {SKIP_UNLABELLED}.",
) -> None:
    """Raise DataError if labels name records, of which ``first_lines`` has the first line of each,
    that the FASTA file does not have.

    ``to_leave_out`` is the remedy if only some are missing.
    """
    missing = [name for name in first_lines if name not in records]
    if not missing:
        return
    named = first_few([f"{shown(name)} (line {first_lines[name]})" for name in missing])
    remedy = f"It has {quoted(list(records))}.{did_you_mean(missing[0], records)}"
    for difference, normalise in _NORMALISATIONS.items():
        normalised = {normalise(name): name for name in records}
        if matching := [name for name in missing if normalise(name) in normalised]:
            first = matching[0]
            remedy = (
                f"{len(matching)} would match but for {difference}: {shown(first)} here, "
                f"{shown(normalised[normalise(first)])} in the FASTA file."
            )
            break
    if len(missing) < len(first_lines):
        remedy += f" {to_leave_out}"
    raise DataError(
        f"{path}: the FASTA file lacks {len(missing)} of {len(first_lines)} records named here "
        f"({named}), but must have all. {remedy}"
    )


def check_records_labelled(path: Path, labelled: Collection[str], records: Collection[str]) -> None:
    """Raise DataError if the FASTA file has records that the labels file does not name."""
    missing = [name for name in records if name not in labelled]
    if missing:
        raise DataError(
            f"{path}: no label for {len(missing)} of {len(records)} records of the FASTA file "
            f"({quoted(missing)}), but every record must have one. "
            f"Add their lines, or leave the records out: {SKIP_UNLABELLED}."
        )


def check_unlabelled(unlabelled: str) -> str:
    """Return what is to be done about records without a label: ``error`` or ``skip``."""
    if unlabelled not in UNLABELLED:
        raise ConfigError(
            f"unlabelled is {shown(unlabelled)}, but must be one of {', '.join(UNLABELLED)}."
        )
    return unlabelled


def warn_of_skipped(where: str, skipped: Mapping[str, Sequence[str]], num_left: int) -> None:
    """Warn of what has been left out because it has no label, with counts; refuse if nothing is.

    ``skipped`` has the names of records by kind; ``num_left`` is the number of examples.
    """
    found = [
        f"{kind}: {len(names):,} ({quoted(names)})" for kind, names in skipped.items() if names
    ]
    if not num_left:
        raise DataError(
            f"{where}: no record has a label ({'; '.join(found)}), but some must have one. "
            "Check that the names and the labels belong to these sequences."
        )
    if found:
        warnings.warn(
            f"{where}: left out with {SKIP_UNLABELLED}: {'; '.join(found)}.",
            RMTGenomicsWarning,
            stacklevel=4,
        )


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return a question that names the closest known name, or nothing if none is close."""
    if len(name) > _LONGEST_COMPARED or len(known) > _MOST_COMPARED:  # this would take minutes
        return ""
    folded = {known_name.casefold(): known_name for known_name in known}
    close = get_close_matches(name.casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def quoted(names: Sequence[str]) -> str:
    """Return the first five names in quotes."""
    return first_few([shown(name) for name in names[:6]])


def first_few(texts: Sequence[str], most: int = 5) -> str:
    """Return the first texts, separated by commas."""
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")


@contextmanager
def in_file(where: str) -> Iterator[None]:
    """Add the name of a file to a DataError from code that does not know the file."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def warn_of_unused_columns(where: str, columns: Collection[str], used: Collection[str]) -> None:
    """Warn of columns that have no effect."""
    if unused := [column for column in columns if column not in used]:
        warnings.warn(
            f"{where}: {counted(len(unused), 'column')} not used: {', '.join(unused)}.",
            RMTGenomicsWarning,
            stacklevel=4,
        )


def warn_if_one_based(
    where: str, intervals: Sequence[Interval], record_lengths: Mapping[str, int]
) -> None:
    """Warn if coordinates look 1-based with the end included.

    That is so if, on every record, the intervals begin at 1, each next one begins one after the
    end of the one before, and they end at the record's end or there are several of them.
    """
    records = {interval.record for interval in intervals}
    if records != {interval.record for interval in intervals if interval.start == 1}:
        return  # before the work of sorting
    by_record: dict[str, set[Interval]] = defaultdict(set)
    for interval in intervals:
        by_record[interval.record].add(interval)
    if by_record and all(
        _look_one_based(sorted(unique), record_lengths[record])
        for record, unique in by_record.items()
    ):
        warnings.warn(
            f"{where}: all coordinates look 1-based with the end included (such as "
            f"{intervals[0].record}:{intervals[0].start}-{intervals[0].end}), but they are read as "
            "0-based and half-open, without the first base. If so, subtract 1 from start.",
            RMTGenomicsWarning,
            stacklevel=3,
        )


def _look_one_based(intervals: Sequence[Interval], length_bp: int) -> bool:
    if intervals[0].start != 1:
        return False
    steps = [after.start - before.end for before, after in pairwise(intervals)]
    return all(step == 1 for step in steps) and (bool(steps) or intervals[-1].end == length_bp)


def are_continuous(labels: Collection[Labels]) -> bool:
    """Whether labels look like measured values, so that the task is a regression.

    That is so if every example has one label, all are numbers, at least 20 of them differ and some
    are not whole numbers.
    """
    if not labels or any(len(of_example) != 1 for of_example in labels):
        return False
    numbers = {read_number(label) for (label,) in labels}
    return None not in numbers and _look_continuous({n for n in numbers if n is not None})


def _look_continuous(numbers: Collection[float]) -> bool:
    is_fractional = any(not number.is_integer() for number in numbers)
    return len(numbers) >= MIN_CONTINUOUS_VALUES and is_fractional


def check_label_kinds(
    where: str, labels: Sequence[Labels], location: Callable[[int], str], task: str
) -> None:
    """Refuse labels of which some are numbers and others are not, where all should be numbers.

    Warns where they may all be names of classes, and of whole numbers that may be measured values.
    ``location`` says where an example is, such as ``line 3``, by its index; ``task`` is ``auto``,
    ``classification`` or ``regression``, or the task of a model.
    """
    counts = Counter(labels)
    not_numeric = {
        of_example: count
        for of_example, count in counts.items()
        if len(of_example) != 1 or read_number(of_example[0]) is None
    }
    num_not_numeric = sum(not_numeric.values())
    single = {label for of_example in counts for label in of_example}
    numbers = {label for label in single if read_number(label) is not None}
    # Most are numbers, and the rest says "missing" or the numbers look measured: no class names.
    is_mixture = 0 < 2 * num_not_numeric < len(labels) and (
        all(";".join(of_example).lower() in _MISSING for of_example in not_numeric)
        or _look_continuous({float(number) for number in numbers})
    )
    if not_numeric and (task == "regression" or (task == "auto" and is_mixture)):
        indices = (index for index, of_example in enumerate(labels) if of_example in not_numeric)
        named = first_few(
            [f"{shown(';'.join(labels[i]))} at {location(i)}" for i in islice(indices, 4)], most=3
        )
        problem = f"{where}: {num_not_numeric} of {len(labels)} labels cannot be read as numbers"
        remedy = "Fill them in, or remove these lines."
        if any(_DECIMAL_COMMA.fullmatch(";".join(of_example)) for of_example in not_numeric):
            remedy = "Write numbers with a decimal point, not a comma."
        if task == "regression":
            raise DataError(
                f"{problem} ({named}), but for regression all must be numbers. {remedy}"
            )
        raise DataError(
            f"{problem} ({named}), but the others can (such as {min(numbers)!r}) and labels must "
            f"be of one kind. {remedy} If all are class names, {_set_task('classification')}."
        )
    if task != "regression":
        _warn_of_kinds(where, counts, numbers, is_auto=task == "auto")


def _warn_of_kinds(
    where: str, labels: Mapping[Labels, int], numbers: set[str], *, is_auto: bool
) -> None:
    """Warn of labels, given with their counts, that break no rule and yet look wrong."""
    counts: Counter[str] = Counter()
    for of_example, count in labels.items():
        counts.update(dict.fromkeys(of_example, count))
    is_continuous = is_auto and are_continuous(labels)
    if not is_continuous:
        _warn_of_spellings(where, counts)
    num_examples = sum(labels.values())
    names = sorted(counts.keys() - numbers)
    if numbers and names:
        count = sum(number for of_example, number in labels.items() if {*of_example} - numbers)
        text = (
            f"{where}: the label is a name in {count} of {num_examples} examples (such as "
            f"{shown(names[0])}) and a number in the others (such as {min(numbers)!r}). Each is "
            "taken as a class; remove lines whose label is not known."
        )
    elif (
        is_auto
        and len(numbers) >= MIN_CONTINUOUS_VALUES
        and num_examples < _MIN_EXAMPLES_PER_CLASS * len(numbers)
        and not is_continuous
    ):
        text = (
            f"{where}: the labels are {len(numbers)} different whole numbers, and each is taken "
            f"as a class. If they are measured values, {_set_task('regression')}."
        )
    else:
        return
    warnings.warn(text, RMTGenomicsWarning, stacklevel=4)


def _warn_of_spellings(where: str, counts: Mapping[str, int]) -> None:
    """Warn of classes whose names look the same, or are the same number."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        text = normalize("NFKC", normalize("NFKC", label).casefold())
        text = " ".join("".join(each for each in text if category(each) != "Cf").split())
        number = read_number(text)
        spellings[text if number is None else repr(number)].append(label)
    if alike := [labels for labels in spellings.values() if len(labels) > 1]:
        # ascii() shows what cannot be seen, such as a blank without width.
        named = [" and ".join(f"{x!a} ({counts[x]:,})" for x in labels) for labels in alike]
        warnings.warn(
            f"{where}: {counted(len(alike), 'label')} spelled in several ways, each taken as a "
            f"class of its own, with their counts: {first_few(named)}. If they are one class, "
            "write them in one way.",
            RMTGenomicsWarning,
            stacklevel=5,
        )


def warn_of_regression(where: str, task: str, requested: str) -> None:
    """Warn that labels are taken as numbers although the user did not say so."""
    if task == "regression" and requested == "auto":
        warnings.warn(
            f"{where}: the labels look like measured values, so they are predicted as numbers "
            f"(regression). If they are class names, {_set_task('classification')}.",
            RMTGenomicsWarning,
            stacklevel=3,
        )


def _set_task(task: str) -> str:
    return f"set data.task (split: --task) to {task!r}"
