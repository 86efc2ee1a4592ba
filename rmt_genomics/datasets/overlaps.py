"""Find intervals that have bases in common, whatever their strands."""

from collections.abc import Mapping, Sequence

from rmt_genomics.datasets.examples import Example
from rmt_genomics.dna.interval import Interval


def overlapping_neighbours(intervals: Sequence[Interval]) -> list[tuple[int, int]]:
    """Pair each interval with an earlier one that it overlaps, if there is one.

    These pairs connect all that overlap, directly or through others.
    """
    pairs: list[tuple[int, int]] = []
    record, end, reaching = "", 0, 0
    for place in sorted(range(len(intervals)), key=lambda each: intervals[each]):
        here = intervals[place]
        if here.record != record:
            record, end, reaching = here.record, 0, place
        if here.start < end:
            pairs.append((reaching, place))
        if here.end > end:
            end, reaching = here.end, place
    return pairs


def overlaps_across(parts: Mapping[str, Sequence[Example]]) -> list[tuple[Example, Example]]:
    """Pair each example with one of another part that begins before it and reaches into it.

    So each example is counted once, however many it overlaps.
    """
    placed = sorted(
        ((each, name) for name, examples in parts.items() for each in examples),
        key=lambda pair: (pair[0].interval, pair[1]),
    )
    found: list[tuple[Example, Example]] = []
    record, furthest = "", dict[str, Example]()
    for example, part in placed:
        here = example.interval
        if here.record != record:
            record, furthest = here.record, {}
        others = [each for name, each in furthest.items() if name != part]
        if reaching := [each for each in others if each.interval.end > here.start]:
            found.append((reaching[0], example))
        if part not in furthest or here.end > furthest[part].interval.end:
            furthest[part] = example
    return found
