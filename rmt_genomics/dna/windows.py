"""Windows over whole records: stretches of one length that together cover every base."""

import warnings
from collections.abc import Iterable, Iterator

from rmt_genomics.dna.interval import Interval
from rmt_genomics.dna.record import EncodedRecord
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning


def windows(record: str, length_bp: int, window: int, step: int) -> list[Interval]:
    """Cut a record into windows, the first at its start and the last flush with its end.

    All windows have one length. So the last one may overlap the one before by more than the
    others do; and a record shorter than a window is one shorter window.

    Args:
        record: The record's name.
        length_bp: Its length in bp.
        window: Length of a window in bp.
        step: From one start to the next, in bp; at most ``window``.

    Returns:
        Intervals on the forward strand, by start.

    Raises:
        ConfigError: If not 1 <= step <= window.

    Examples:
        >>> [str(each) for each in windows("chr1", 10, window=4, step=4)]
        ['chr1:0-4(+)', 'chr1:4-8(+)', 'chr1:6-10(+)']
    """
    check_windows(window, step)
    if length_bp <= window:
        return [Interval(record, 0, length_bp)]
    last = length_bp - window
    return [Interval(record, at, at + window) for at in [*range(0, last, step), last]]


def check_windows(window: int, step: int) -> None:
    """Raise ConfigError unless windows of this length and step cover every base."""
    if not 1 <= step <= window:
        raise ConfigError(
            f"the windows are {window} bp long with a step of {step} bp, but the step must be at "
            "least 1 bp, and at most a window, or bases between the windows would not be read."
        )


def cut_windows(
    records: Iterable[EncodedRecord], window: int, step: int
) -> Iterator[EncodedRecord]:
    """Cut records into windows as they come. Warns at the end of records shorter than one."""
    shorter = 0
    for record in records:
        shorter += len(record.codes) < window
        for place in windows(record.name, len(record.codes), window, step):
            codes = record.codes[place.start : place.end]
            yield EncodedRecord(record.name, record.description, codes, record.columns, place)
        del record, codes  # before the next is read
    if shorter:
        warnings.warn(
            f"{shorter} records are shorter than a window of {window} bp: each is one window, as "
            "long as the record.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
