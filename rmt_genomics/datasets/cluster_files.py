"""Read clusters that another program has made: MMseqs2 (``rep<TAB>member``) or CD-HIT (.clstr)."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rmt_genomics.datasets.examples import Example
from rmt_genomics.dna.files import check_is_file, explain_reading
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
    with explain_reading(path):
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
