"""Put related sequences into one group, so that a split can keep them on one side.

Related means: at least the k-mers in common that two sequences of 90 % identity share (an estimate
of homology, common descent), on either strand; or bases in common. Relatives of relatives are in
one group (single linkage). The groups are a partition; they depend neither on the order of the
sequences nor on the strand on which one is given.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.datasets.similarity import Places, alike_pairs, sketch
from rmt_genomics.dna.compression import check_is_file, explain_read_errors
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError

_SHOWN = 5
_FORMATS = (
    "a representative and a member with a tab between (MMseqs2), or a CD-HIT .clstr file that "
    "begins with '>Cluster 0'"
)
_CDHIT_MEMBER = re.compile(r"[0-9]+\s+[0-9]+(?:nt|aa),\s+>(\S+?)\.\.\.\s+(\*|at\s.+)")

_Line = tuple[int, str, str]
"""Line number, name of the cluster, member."""


def clusters_from_file(path: Path, examples: Sequence[Example]) -> list[str]:
    """Return the cluster of each example's record.

    Raises:
        DataError: If the file cannot be understood, puts a record into two clusters or a
            representative into another's cluster, or lacks a record, with count and examples.
    """
    cluster_of = read_clusters(path)
    records = dict.fromkeys(example.interval.record for example in examples)
    if missing := [name for name in records if name not in cluster_of]:
        shown = ", ".join(map(repr, missing[:_SHOWN]))
        raise DataError(
            f"{path}: {len(missing)} of {len(records)} labelled records ({shown}"
            f"{', ...' if len(missing) > _SHOWN else ''}) are in no cluster, but each must be. "
            f"{_remedy(missing[0], cluster_of)}"
        )
    return [cluster_of[example.interval.record] for example in examples]


def read_clusters(path: Path) -> dict[str, str]:
    """Return the cluster of each member, named after the cluster's representative.

    Raises:
        DataError: As in ``clusters_from_file``, but for lacking records.
    """
    lines = _numbered_lines(path)
    is_cdhit = lines[0][1].startswith(">Cluster")
    cluster_of: dict[str, str] = {}
    at: dict[str, int] = {}
    for number, cluster, member in (_cdhit if is_cdhit else _mmseqs)(path, lines):
        for name in (member, cluster):
            if cluster_of.setdefault(name, cluster) != cluster:
                raise DataError(
                    f"{path}:{number}: {name!r} is in the cluster of {cluster!r}, but was in "
                    f"that of {cluster_of[name]!r} at line {at[name]}: a record must be in one "
                    "cluster. Keep one of the two lines."
                )
            at.setdefault(name, number)
    return cluster_of


def _numbered_lines(path: Path) -> list[tuple[int, str]]:
    check_is_file(path, "a clusters file")
    with explain_read_errors(path):
        text = path.read_bytes().decode("utf-8-sig", "replace")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    if not (filled := [(number, line) for number, line in lines if line]):
        raise DataError(f"{path}: the file is empty, but must hold {_FORMATS}.")
    return filled


def _mmseqs(path: Path, lines: list[tuple[int, str]]) -> Iterator[_Line]:
    for number, line in lines:
        names = [name.strip() for name in line.split("\t")]
        if len(names) != 2 or "" in names:
            raise _not_understood(path, number, line)
        yield number, names[0], names[1]


def _cdhit(path: Path, lines: list[tuple[int, str]]) -> Iterator[_Line]:
    members: list[tuple[int, str]] = []
    representative, header = "", lines[0]
    for number, line in [*lines[1:], (lines[-1][0], ">Cluster")]:
        if line.startswith(">Cluster"):
            if not representative:
                raise DataError(
                    f"{path}:{header[0]}: {header[1]!r} has no representative, but one of its "
                    "lines must end in '*'. Is the file whole?"
                )
            yield from ((place, representative, member) for place, member in members)
            members, representative, header = [], "", (number, line)
        elif (match := _CDHIT_MEMBER.fullmatch(line)) is None:
            raise _not_understood(path, number, line)
        else:
            members.append((number, match[1]))
            representative = match[1] if match[2] == "*" else representative


def _not_understood(path: Path, number: int, line: str) -> DataError:
    shown = line if len(line) <= 40 else line[:37] + "..."
    return DataError(
        f"{path}:{number}: the line is {shown!r}, but a clusters file must be {_FORMATS}. "
        "Check how it was made."
    )


def _remedy(missing: str, cluster_of: dict[str, str]) -> str:
    if cut := [name for name in cluster_of if missing.startswith(name)]:
        return f"{cut[0]!r} looks like a name cut short: run cd-hit with -d 0."
    return "Cluster the same FASTA file."


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


IDENTITY = 0.9


def homology_groups(store: EncodedStore, examples: Sequence[Example]) -> list[str]:
    """Name the group of each example: after its first member in the alphabet."""
    intervals = [example.interval for example in examples]
    sketches = sketch(store, intervals)
    related = alike_pairs(sketches, IDENTITY**sketches.k)
    overlapping = np.array(overlapping_neighbours(intervals), dtype=np.int64).reshape(-1, 2)
    roots = components(
        len(examples),
        np.concatenate([related.first, overlapping[:, 0]]),
        np.concatenate([related.second, overlapping[:, 1]]),
    ).tolist()
    names: dict[int, str] = {}
    for root, example in zip(roots, examples, strict=True):
        names[root] = min(names.get(root, example.name), example.name)
    return [names[root] for root in roots]


def components(count: int, first: Places, second: Places) -> Places:
    """Join the ends of all pairs (union-find) and return the smallest place of each one's set.

    Args:
        count: Things there are.
        first: One end of each pair, 0 to ``count - 1``.
        second: The other end.

    Examples:
        >>> components(5, np.array([3, 1]), np.array([1, 4])).tolist()
        [0, 1, 2, 1, 1]
    """
    root = np.arange(count)
    while True:
        low, high = np.minimum(root[first], root[second]), np.maximum(root[first], root[second])
        apart = low != high
        if not apart.any():
            return root
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(above := root[root], root):
            root = above
