"""Mosaics: sequences made of the DNA of two genomes, whose labels test a model's memory.

The task ``mosaic`` has three labels, for sequences of one length:

- ``intact``: one window of one record;
- ``insertion``: foreign DNA, 25 to 50 % of the length, inside the DNA of its host, at least an
  eighth of the length away from the ends of the sequence;
- ``join``: the same amount of foreign DNA, at one end.

An insertion and a join hold the same amounts of the same DNA: what tells them apart is the order
along the sequence. Host and foreign DNA come from records of two groups. A group is drawn with a
weight of its number of records, at most 20, then one of its records; records shorter than the
sequence are not used, and the record of an intact sequence is drawn like a host, so neither the
record nor its length gives the label away. Foreign DNA and whole sequences are reverse-complemented
half of the time. A window with more than 5 % N is drawn again.

Every sequence depends only on the seed, its number, and the records of its part.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import TextIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmt_genomics.datasets.examples import SPLITS, Numbers
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.datasets.simulation import MAX_DRAWS, MAX_UNKNOWN_FRACTION, fasta_text
from rmt_genomics.datasets.source_records import FRACTIONS, SourceRecords
from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError

TASK = "mosaic"
LABELS = ("intact", "insertion", "join")
SHORTEST_BP = 8  # so that an eighth is a base
_MAX_GROUP_WEIGHT = 20
_PAIRS_DRAWN_TOGETHER = 64
_CHUNK_BP = 1 << 20
_OPPOSITE = {"+": "-", "-": "+"}
_INITIALS = {"t": "train", "v": "validation", "x": "test"}
_ROUNDS = tuple(_INITIALS[each] for each in "ttvttxtttvttxtttvtxt")
"""Part of each round of three sequences, of 20 rounds: 70, 15 and 15 %."""


class Mosaic(NamedTuple):
    """One sequence: base codes, and the intervals of source records that it was made of."""

    codes: Codes
    pieces: tuple[Interval, ...]  # in the order of the sequence, each on its strand
    foreign: str | None  # record of the foreign DNA


class SimulatedMosaic(NamedTuple):
    """A mosaic of a data set."""

    name: str
    label: str
    part: str
    mosaic: Mosaic


class MosaicSource:
    """Draws mosaics from the records of one part, of at most ``length_bp``."""

    def __init__(self, sources: SourceRecords, part: str, length_bp: int) -> None:
        self.store, self.part = sources.store, part
        groups = sources.part(part, length_bp)
        self.records = list(groups)
        names = {group: number for number, group in enumerate(dict.fromkeys(groups.values()))}
        self._group = np.array([names[group] for group in groups.values()])
        sizes = np.bincount(self._group)
        weights = (np.minimum(sizes, _MAX_GROUP_WEIGHT) / sizes)[self._group]
        self._cumulative = np.cumsum(weights / weights.sum())
        self._gc: Numbers | None = None

    def check_gc_difference(self, least: float) -> None:
        """Raise DataError unless two records of different groups differ by ``least`` in GC."""
        gc, num_groups = self._gc_of_records(), int(self._group.max()) + 1
        highest, lowest = np.full(num_groups, -np.inf), np.full(num_groups, np.inf)
        np.maximum.at(highest, self._group, gc)
        np.minimum.at(lowest, self._group, gc)
        first, last = int(highest.argmax()), int(lowest.argmin())
        greatest = max(
            float(highest[first] - np.delete(lowest, first).min()),
            float(np.delete(highest, last).max() - lowest[last]),
        )
        if greatest < least:
            raise self._gc_error(
                least, f"the two that differ most in GC fraction differ by {greatest:.3f}"
            )

    def draw(
        self,
        label: str,
        length_bp: int,
        random: np.random.Generator,
        *,
        gc_difference: float = 0.0,
    ) -> Mosaic:
        """Draw a sequence of a label, whose sources differ by ``gc_difference`` in GC or more.

        Raises:
            DataError: If nearly all windows have too many unknown bases, or hardly any two records
                differ so much.
        """
        for _ in range(MAX_DRAWS):
            host, guest = self._draw_pair(random, gc_difference)
            foreign_bp = 0
            if label != "intact":
                foreign_bp = int(random.integers(-(-length_bp // 4), length_bp // 2 + 1))
            own = self._draw_window(host, length_bp - foreign_bp, random)
            foreign = self._draw_window(guest, foreign_bp, random) if foreign_bp else None
            if own is None or (foreign_bp and foreign is None):
                continue
            pieces = [own]
            if foreign is not None:
                if random.random() < 0.5:
                    foreign = replace(foreign, strand="-")
                at, edge = len(own), -(-length_bp // 8)
                if label == "insertion":
                    at = int(random.integers(edge, len(own) - edge + 1))
                    pieces = [replace(own, end=own.start + at), replace(own, start=own.start + at)]
                pieces.insert(1, foreign)
            if random.random() < 0.5:
                pieces = [replace(each, strand=_OPPOSITE[each.strand]) for each in pieces[::-1]]
            codes = np.concatenate([self.store.codes(piece) for piece in pieces])
            return Mosaic(codes, tuple(pieces), None if foreign is None else foreign.record)
        raise DataError(
            f"{self.store.files[0]}: in each of {MAX_DRAWS} draws of {length_bp:,} bp from the "
            f"{self.part} part, a window has more than {MAX_UNKNOWN_FRACTION:.0%} unknown bases "
            "(N), but must have fewer. Use genomes with fewer, or set a smaller length."
        )

    def _draw_pair(self, random: np.random.Generator, gc_difference: float) -> tuple[int, int]:
        """Return the numbers of two records, of different groups."""
        for _ in range(MAX_DRAWS):
            drawn = random.random((2, _PAIRS_DRAWN_TOGETHER))
            pairs = np.searchsorted(self._cumulative[:-1], drawn, side="right")
            is_accepted = self._group[pairs[0]] != self._group[pairs[1]]
            if gc_difference:
                gc = self._gc_of_records()
                is_accepted &= np.abs(gc[pairs[0]] - gc[pairs[1]]) >= gc_difference
            if is_accepted.any():
                host, guest = pairs[:, is_accepted.argmax()].tolist()
                return host, guest
        found = f"fewer than 1 in {MAX_DRAWS * _PAIRS_DRAWN_TOGETHER:,} pairs of them do"
        raise self._gc_error(gc_difference, found)

    def _gc_of_records(self) -> Numbers:
        """Return the GC fraction of each record."""
        if self._gc is None:
            self._gc = np.array([gc_fraction(self.store, record) for record in self.records])
        return self._gc

    def _gc_error(self, least: float, found: str) -> DataError:
        return DataError(
            f"{self.store.files[0]}: a GC difference of {least:g} is asked for between records of "
            f"two groups of the {self.part} part, but {found}. Lower simulation.gc_difference."
        )

    def _draw_window(
        self, number: int, length_bp: int, random: np.random.Generator
    ) -> Interval | None:
        """Return a window of a record; None if it has too many unknown bases."""
        record = self.records[number]
        start = int(random.integers(self.store.lengths[record] - length_bp + 1))
        window = Interval(record, start, start + length_bp)
        is_unknown = self.store.codes(window) == UNKNOWN
        return window if is_unknown.mean() <= MAX_UNKNOWN_FRACTION else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicSimulation:
    """Settings of a data set of mosaics.

    Raises:
        ConfigError: If the length is too short.
        DataError: If a part has not two groups with a record that is long enough.
    """

    sources: SourceRecords
    length_bp: int  # length of each sequence in bp
    seed: int = 0

    def __post_init__(self) -> None:
        check_mosaic_length(self.length_bp)
        self.sources.check(SPLITS, self.length_bp, least_groups=2)

    def examples(self, number: int) -> Iterator[SimulatedMosaic]:
        """Yield sequences, one in memory at a time; every label once per round, in random order.

        All sequences of a round are of one part. A larger number of them begins with the same ones.
        """
        of_part = {part: MosaicSource(self.sources, part, self.length_bp) for part in SPLITS}
        for index in range(number):
            turn, within = divmod(index, len(LABELS))
            order = np.random.default_rng((self.seed, 0, turn)).permutation(len(LABELS))
            label, part = LABELS[order[within]], _ROUNDS[turn % len(_ROUNDS)]
            random = np.random.default_rng((self.seed, 1, index))
            mosaic = of_part[part].draw(label, self.length_bp, random)
            yield SimulatedMosaic(f"{TASK}_{index + 1}", label, part, mosaic)

    def description(self, number: int, genomes: Path) -> str:
        """Return settings, and the groups of each part, as JSON."""
        sources = self.sources
        groups = {part: sorted(set(sources.part(part, self.length_bp).values())) for part in SPLITS}
        settings = {
            "task": TASK,
            "length_bp": self.length_bp,
            "seed": self.seed,
            "number": number,
            "genomes": str(genomes),
            "groups": sources.groups_file and str(sources.groups_file),
            "labels": LABELS,
            "fractions": FRACTIONS,
            "groups_of_part": groups,
        }
        return json.dumps(settings, indent=2) + "\n"


def gc_fraction(store: SequenceStore, record: str) -> float:
    """Return the fraction of G and C among the known bases of a record; 0 if there is none."""
    counts = np.zeros(UNKNOWN + 1, dtype=np.int64)
    length_bp = store.lengths[record]
    for start in range(0, length_bp, _CHUNK_BP):
        interval = Interval(record, start, min(start + _CHUNK_BP, length_bp))
        counts += np.bincount(store.codes(interval), minlength=len(counts))
    return float(counts[[1, 2]].sum() / max(1, counts[:UNKNOWN].sum()))


def check_mosaic_length(length_bp: int) -> None:
    """Raise ConfigError if a length is too short for a mosaic."""
    if length_bp < SHORTEST_BP:
        raise ConfigError(
            f"a length of {length_bp} bp is too short: the parts of a mosaic are eighths of it, so "
            f"it must be at least {SHORTEST_BP} bp. Set a greater length."
        )


def write_mosaics(
    simulation: MosaicSimulation,
    number: int,
    *,
    fasta: TextIOBase,
    labels: TextIOBase,
    breakpoints: TextIOBase,
) -> dict[str, int]:
    """Write sequences, a table of labels with a split column, and where each piece is from.

    ``breakpoints`` is BED with one line per piece, in the order of the sequence: the sequence,
    start and end in it, the interval of the source record with its strand as the name, and the
    strand. Headers give the foreign part. One record is in memory at a time. Return the number of
    sequences of each label.
    """
    counts: Counter[str] = Counter(dict.fromkeys(LABELS, 0))
    labels.write("record\tlabel\tsplit\n")
    for name, label, part, mosaic in simulation.examples(number):
        start, header = 0, name
        for piece in mosaic.pieces:
            end = start + len(piece)
            breakpoints.write(f"{name}\t{start}\t{end}\t{piece}\t0\t{piece.strand}\n")
            if piece.record == mosaic.foreign:
                header = f"{name} foreign={start}-{end}"
            start = end
        fasta.write(fasta_text(header, mosaic.codes))
        labels.write(f"{name}\t{label}\t{part}\n")
        counts[label] += 1
    return dict(counts)
