"""Cluster related sequences into groups, so that a split can keep each group in one part.

Related means: of at least some estimated identity (see ``similarity``), on either strand; or their
intervals overlap. Groups are single-linkage clusters, so that no two related sequences are in
different groups; they depend neither on the order of the sequences nor on their strands. Groups can
also be read from a file of MMseqs2 or CD-HIT.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.label_checks import quoted
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.datasets.similarity import Indices, SimilarPairs, similar_pairs, sketch
from rmt_genomics.dna.compression import check_is_file, explain_read_errors
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, counted
from rmt_genomics.parsing import shown

_FORMATS = (
    "a representative and a member with a tab between (MMseqs2), or a CD-HIT .clstr file that "
    "begins with '>Cluster 0'"
)
_SHOWN = 5  # sizes of groups in messages
_CDHIT_MEMBER = re.compile(r"[0-9]+\s+[0-9]+(?:nt|aa),\s+>(\S+?)\.\.\.\s+(\*|at\s.+)")

_Line = tuple[int, str, str]  # line number, name of the cluster, member


@dataclass(frozen=True, slots=True, eq=False)
class Homology:
    """Which examples are related: found once, then grouped at this identity or a higher one."""

    names: Sequence[str]  # of the examples
    similar: SimilarPairs
    linked: Indices  # pairs ``(n, 2)`` that are related at any identity

    @classmethod
    def of(
        cls,
        store: SequenceStore,
        examples: Sequence[Example],
        identity: float,
        *,
        by_record: bool = False,
    ) -> "Homology":
        """Find the related examples; with ``by_record``, also those of one record are."""
        intervals = [example.interval for example in examples]
        sketches = sketch(store, intervals)
        similar = similar_pairs(sketches, identity)
        del sketches  # much memory
        linked = _pairs_of_a_record(intervals) if by_record else overlapping_pairs(intervals)
        return cls([example.name for example in examples], similar, linked)

    def groups(self, identity: float) -> list[str]:
        """Return the group of each example, named after its alphabetically first member."""
        pairs = self.similar.at_least(identity)
        group_of = connected_components(
            len(self.names),
            np.concatenate([self.similar.first[pairs], self.linked[:, 0]]),
            np.concatenate([self.similar.second[pairs], self.linked[:, 1]]),
        ).tolist()
        names: dict[int, str] = {}
        for group, name in zip(group_of, self.names, strict=True):
            names[group] = min(names.get(group, name), name)
        return [names[group] for group in group_of]


def describe_groups(groups: Sequence[str]) -> str:
    """Return the number of groups and the sizes of the largest, for messages.

    Examples:
        >>> describe_groups(["a", "b", "a", "c"])
        '3 groups of 4 examples, the largest of 2, 1 and 1'
    """
    sizes = [f"{size:,}" for _, size in Counter(groups).most_common(_SHOWN)]
    largest = " and ".join(", ".join(sizes).rsplit(", ", 1))
    num_groups = counted(len(set(groups)), "group")
    return f"{num_groups} of {counted(len(groups), 'example')}, the largest of {largest}"


def connected_components(count: int, first: Indices, second: Indices) -> Indices:
    """Return the group of each of ``count`` items, by number: pairs of items are in one group.

    Examples:
        >>> connected_components(5, np.array([3, 1]), np.array([1, 4])).tolist()
        [0, 1, 2, 1, 1]
    """
    from scipy.sparse import coo_array, csgraph

    pairs = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    groups: Indices = csgraph.connected_components(pairs, directed=False)[1].astype(np.int64)
    return groups


def clusters_from_file(path: Path, examples: Sequence[Example]) -> list[str]:
    """Return the cluster of each example's record.

    Raises:
        DataError: If the file is malformed, has a record in two clusters or a representative in
            another's cluster, or lacks a record, with count and examples.
    """
    cluster_of = read_clusters(path)
    records = dict.fromkeys(example.interval.record for example in examples)
    cluster_of |= _shortened_names(path, cluster_of, list(records))
    if missing := [name for name in records if name not in cluster_of]:
        remedy = "Cluster the same FASTA file."
        if prefixes := [name for name in cluster_of if missing[0].startswith(name)]:
            remedy = f"{shown(prefixes[0])} looks like a truncated name: run cd-hit with -d 0."
        raise DataError(
            f"{path}: no cluster for {len(missing)} of {len(records)} labelled records "
            f"({quoted(missing)}), but each must be in one. {remedy}"
        )
    return [cluster_of[example.interval.record] for example in examples]


def _shortened_names(
    path: Path, cluster_of: Mapping[str, str], records: Sequence[str]
) -> dict[str, str]:
    """Return the clusters of records that MMseqs2 has named by one part of ``tr|A0|X``.

    Raises:
        DataError: If several records have that part.
    """
    found: dict[str, str] = {}
    record_of: dict[str, str] = {}
    for name in records:
        if name in cluster_of or "|" not in name:
            continue
        for part in filter(cluster_of.__contains__, dict.fromkeys(name.split("|"))):
            if (other := record_of.setdefault(part, name)) != name:
                raise DataError(
                    f"{path}: {shown(part)} may be {shown(other)} or {shown(name)}, but must be "
                    "one record. MMseqs2 shortens names with '|': rename the records, and cluster "
                    "them again."
                )
            found.setdefault(name, cluster_of[part])
    return found


def read_clusters(path: Path) -> dict[str, str]:
    """Return the cluster of each member, named after the cluster's representative.

    Raises:
        DataError: As in ``clusters_from_file``, but not for missing records.
    """
    check_is_file(path, "a clusters file")
    with explain_read_errors(path):
        text = path.read_bytes().decode("utf-8-sig", "replace")
    numbered = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    if not (lines := [(number, line) for number, line in numbered if line]):
        raise DataError(f"{path}: the file is empty, but must hold {_FORMATS}.")
    is_cdhit = lines[0][1].startswith(">Cluster")
    cluster_of: dict[str, str] = {}
    line_of: dict[str, int] = {}
    for number, cluster, member in (_parse_cdhit if is_cdhit else _parse_mmseqs)(path, lines):
        for name in (member, cluster):
            if cluster_of.setdefault(name, cluster) != cluster:
                raise DataError(
                    f"{path}:{number}: {shown(name)} is in the cluster of {shown(cluster)}, but "
                    f"was in that of {shown(cluster_of[name])} at line {line_of[name]}: a record "
                    "must be in one cluster. Keep one of the two lines."
                )
            line_of.setdefault(name, number)
    return cluster_of


def _parse_mmseqs(path: Path, lines: list[tuple[int, str]]) -> Iterator[_Line]:
    for number, line in lines:
        names = [name.strip() for name in line.split("\t")]
        if len(names) != 2 or "" in names:
            raise _malformed(path, number, line)
        yield number, names[0], names[1]


def _parse_cdhit(path: Path, lines: list[tuple[int, str]]) -> Iterator[_Line]:
    clusters: list[tuple[int, str, list[tuple[int, re.Match[str]]]]] = []
    for number, line in lines:
        if line.startswith(">Cluster"):
            clusters.append((number, line, []))
        elif (member := _CDHIT_MEMBER.fullmatch(line)) is None:
            raise _malformed(path, number, line)
        else:
            clusters[-1][2].append((number, member))
    for number, header, members in clusters:
        representatives = [member[1] for _, member in members if member[2] == "*"]
        if not representatives:
            raise DataError(
                f"{path}:{number}: {shown(header)} has no representative, but one of its lines "
                "must end in '*'. Is the file complete?"
            )
        yield from ((at, representatives[-1], member[1]) for at, member in members)


def _malformed(path: Path, number: int, line: str) -> DataError:
    return DataError(
        f"{path}:{number}: the line is {shown(line)}, but a clusters file must be {_FORMATS}. "
        "Check how it was made."
    )


def overlapping_pairs(intervals: Sequence[Interval]) -> Indices:
    """Pair each interval with one before it that it overlaps, if there is one.

    These pairs of indices, ``(n, 2)``, connect all intervals that overlap, directly or through
    others.
    """
    order, starts, ends = _in_order(intervals)
    return order[_overlapped(starts, ends)]


def _pairs_of_a_record(intervals: Sequence[Interval]) -> Indices:
    """Pair each interval with the first one of its record."""
    first: dict[str, int] = {}
    indices = [first.setdefault(interval.record, at) for at, interval in enumerate(intervals)]
    return np.column_stack([np.array(indices, np.int64), np.arange(len(indices))])


def overlaps_across(parts: Mapping[str, Sequence[Example]]) -> list[tuple[Example, Example]]:
    """Pair each example with one of another part that begins before it and overlaps it.

    So each example is counted once, however many it overlaps.
    """
    examples = [example for name in sorted(parts) for example in parts[name]]
    part_of = np.repeat(np.arange(len(parts)), [len(parts[name]) for name in sorted(parts)])
    order, starts, ends = _in_order([example.interval for example in examples])
    pairs = np.zeros((0, 2), dtype=np.int64)
    for part in range(len(parts)):
        is_in_part = part_of[order] == part
        found = _overlapped(starts, np.where(is_in_part, 0, ends))
        pairs = np.concatenate([pairs, found[is_in_part[found[:, 1]]]])
    pairs = order[pairs[np.argsort(pairs[:, 1])]]
    return [(examples[one], examples[other]) for one, other in pairs]


def _in_order(intervals: Sequence[Interval]) -> tuple[Indices, Indices, Indices]:
    """Sort intervals by record, start and end.

    Return indices, and the starts and ends in this order, as if the records were one sequence.
    """
    records = sorted({interval.record for interval in intervals})
    number_of = {record: number for number, record in enumerate(records)}
    count = len(intervals)
    offsets = np.fromiter((number_of[interval.record] for interval in intervals), np.int64, count)
    ends = np.fromiter((interval.end for interval in intervals), np.int64, count)
    offsets *= ends.max(initial=0)
    starts = np.fromiter((interval.start for interval in intervals), np.int64, count) + offsets
    ends += offsets
    order = np.lexsort((ends, starts))
    return order, starts[order], ends[order]


def _overlapped(starts: Indices, ends: Indices) -> Indices:
    """Pair each interval that begins before an earlier one ends with the earlier one.

    ``starts`` are sorted. Of several earlier ones, the first that reaches furthest is taken.
    """
    furthest = np.maximum.accumulate(ends)
    overlapping = np.flatnonzero(starts[1:] < furthest[:-1]) + 1
    return np.column_stack([np.searchsorted(furthest, furthest[overlapping - 1]), overlapping])
