"""Warn of coordinates that break no rule and yet look wrong."""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from rmt_genomics.dna.interval import Interval
from rmt_genomics.errors import RMTGenomicsWarning


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
