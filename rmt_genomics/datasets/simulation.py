"""Simulated sequences with planted motifs, whose labels test a model's memory.

Four tasks, from the easiest to the hardest:

- ``memorise``: one of four motifs is within the first 64 bp; which one?
- ``detect``: is motif A anywhere? Labels ``absent``, ``present``.
- ``two_facts``: A or its decoy C, and B or its decoy D, far apart and in either order; which of A
  and B are present? Labels ``neither``, ``A``, ``B``, ``A+B``.
- ``order``: A and B are far apart; which comes first? Labels ``A_first``, ``B_first``.

Motifs are planted on the forward strand. Where one occurs by chance, on either strand, a base of
the background is changed. Every record depends only on the seed and its number.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from io import TextIOBase
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.dna.alphabet import UNKNOWN, Codes, decode, reverse_complement_codes
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError, counted

SHORTEST_BP, LONGEST_BP = 6, 64
LARGEST_BP = 10**10  # of a sequence
START_BP = 64
_MOTIF_NAMES = "ABCD"
_LONGEST_RUN = 3
MAX_DRAWS = 1000
MAX_UNKNOWN_FRACTION = 0.05

TASKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "memorise": {"A": ("A",), "B": ("B",), "C": ("C",), "D": ("D",)},
    "detect": {"absent": (), "present": ("A",)},
    "two_facts": {"neither": ("C", "D"), "A": ("A", "D"), "B": ("C", "B"), "A+B": ("A", "B")},
    "order": {"A_first": ("A", "B"), "B_first": ("B", "A")},
}
"""The labels of each task, and the motifs of a sequence with that label."""


class Simulated(NamedTuple):
    """One sequence: base codes of its forward strand."""

    name: str
    label: str
    codes: Codes
    sites: tuple[tuple[int, str], ...]
    """Start (0-based) and name of each motif, in the order of the sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Settings of a simulation.

    Raises:
        ConfigError: If a number is out of range, or the motifs do not fit into the length.
        DataError: If no record of the background is long enough.
    """

    task: str  # a key of ``TASKS``
    length_bp: int  # length of each sequence in bp
    distance_bp: int | None = None
    """Least distance in bp between the two motifs of ``two_facts`` and ``order``; None = half of
    what fits."""

    motif_length_bp: int = 12
    """Length of a motif in bp. The motifs depend on this alone."""

    seed: int = 0  # of everything but the motifs

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task is {self.task!r}, but must be one of {', '.join(TASKS)}.")
        if not SHORTEST_BP <= self.motif_length_bp <= LONGEST_BP:
            raise ConfigError(
                f"the motif length is {self.motif_length_bp} bp, but must be between {SHORTEST_BP} "
                f"and {LONGEST_BP} bp: shorter ones are common in any background."
            )
        if self.distance_bp is not None and not self.has_two:
            raise ConfigError(
                f"a distance of {self.distance_bp} bp has no effect: {self.task} plants at most "
                "one motif. Remove it."
            )
        if self.length_bp > LARGEST_BP:
            raise ConfigError(
                f"a length of {self.length_bp} bp is too great: a sequence is made in memory, so "
                f"it must be at most {LARGEST_BP:,} bp. Set a smaller length."
            )
        if self._free_bp < (self.distance_bp or 0):
            distance = f" and {self.distance_bp} bp between them" if self.distance_bp else ""
            raise ConfigError(
                f"a length of {self.length_bp} bp is too short: "
                f"{counted(1 + self.has_two, 'motif')} of {self.motif_length_bp} bp{distance} "
                "must fit in. Set a greater length."
            )

    @property
    def has_two(self) -> bool:
        """Whether the task plants two motifs."""
        return self.task in ("two_facts", "order")

    @property
    def least_distance_bp(self) -> int:
        """Least distance in bp between two motifs."""
        return self._free_bp // 2 if self.distance_bp is None else self.distance_bp

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the task."""
        return tuple(TASKS[self.task])

    def motifs(self) -> dict[str, Codes]:
        """Return the four motifs by name."""
        return dict(zip(_MOTIF_NAMES, choose_motifs(self.motif_length_bp), strict=True))

    def check_background(self, background: SequenceStore | None) -> None:
        """Raise DataError unless a record of the background is long enough."""
        Background(background, self.length_bp)

    def examples(self, number: int, background: SequenceStore | None = None) -> Iterator[Simulated]:
        """Yield sequences, one in memory at a time; every label once per round, in random order.

        A larger number of them begins with the same ones. Backgrounds are cut at random from the
        sequences of ``background``, or are random bases.
        """
        source = Background(background, self.length_bp)
        for index in range(number):
            turn, within = divmod(index, len(self.labels))
            order = np.random.default_rng((self.seed, 0, turn)).permutation(len(self.labels))
            random = np.random.default_rng((self.seed, 1, index))
            label = self.labels[order[within]]
            codes, sites = self.plant(label, source.draw(random), random)
            yield Simulated(f"{self.task}_{index + 1}", label, codes, sites)

    def plant(
        self, label: str, codes: Codes, random: np.random.Generator
    ) -> tuple[Codes, tuple[tuple[int, str], ...]]:
        """Plant the motifs of a label, in place; return the codes and the sites of the motifs."""
        motifs, names = self.motifs(), list(TASKS[self.task][label])
        if self.task == "two_facts":
            random.shuffle(names)
        starts = self._starts(len(names), random)
        for start, name in zip(starts, names, strict=True):
            codes[start : start + self.motif_length_bp] = motifs[name]
        remove_motifs(codes, list(motifs.values()), random, planted=starts)
        return codes, tuple(zip(starts, names, strict=True))

    @property
    def _free_bp(self) -> int:
        """Bases of a sequence that are not in a motif."""
        return self.length_bp - self.motif_length_bp * (1 + self.has_two)

    def _starts(self, number: int, random: np.random.Generator) -> list[int]:
        """Draw the starts of motifs, uniformly among those that are allowed."""
        if self.task == "memorise":
            return [int(random.integers(min(START_BP - self.motif_length_bp, self._free_bp) + 1))]
        if number < 2:
            return [int(random.integers(self._free_bp + 1)) for _ in range(number)]
        gap = self.least_distance_bp
        first, second = sorted(random.integers(self._free_bp - gap + 1, size=2).tolist())
        return [first, second + self.motif_length_bp + gap]


def write_simulation(
    simulation: Simulation,
    number: int,
    *,
    fasta: TextIOBase,
    labels: TextIOBase,
    background: SequenceStore | None = None,
) -> dict[str, int]:
    """Write sequences and a table of labels, one record in memory at a time.

    Headers give the start (0-based) of each motif. Return the number of sequences of each label.
    """
    counts = dict.fromkeys(simulation.labels, 0)
    labels.write("record\tlabel\n")
    for name, label, codes, sites in simulation.examples(number, background):
        starts = " ".join(f"{motif}={start}" for start, motif in sites)
        fasta.write(fasta_text(f"{name} {starts}".rstrip(), codes))
        labels.write(f"{name}\t{label}\n")
        counts[label] += 1
    return counts


def fasta_text(header: str, codes: Codes) -> str:
    """Return a FASTA record, in lines of 80 bp."""
    return f">{header}\n" + re.sub(".{1,80}", r"\g<0>\n", decode(codes))


def description(simulation: Simulation, number: int, background: Path | None) -> str:
    """Return the settings, motifs and labels of a simulation as JSON."""
    settings = asdict(simulation)
    if simulation.has_two:
        settings["distance_bp"] = simulation.least_distance_bp
    motifs = {name: decode(codes) for name, codes in simulation.motifs().items()}
    settings |= {"number": number, "background": background and str(background)}
    settings |= {"motifs": motifs, "labels": TASKS[simulation.task]}
    return json.dumps(settings, indent=2) + "\n"


class Background:
    """Draws backgrounds of one length: intervals of the sequences of a store, or random bases.

    With ``records``, only those of the store are used.
    """

    def __init__(
        self,
        store: SequenceStore | None,
        length_bp: int,
        records: Collection[str] | None = None,
    ) -> None:
        self.store, self.length_bp = store, length_bp
        lengths = store.lengths if store else {}
        if records is not None:
            lengths = {name: lengths[name] for name in records}
        self.names = [name for name, length in lengths.items() if length >= length_bp]
        if store and not self.names:
            raise DataError(
                f"{store.files[0]}: the longest record of the background has "
                f"{max(lengths.values(), default=0)} bp, but sequences of {length_bp} bp are to be "
                "cut from it. Set a smaller length, or use a longer genome."
            )
        self.ends = np.cumsum([lengths[name] - length_bp + 1 for name in self.names])

    def draw(self, random: np.random.Generator) -> Codes:
        """Return base codes, as a new array."""
        if self.store is None:
            return random.integers(0, UNKNOWN, self.length_bp, dtype=np.uint8)
        for _ in range(MAX_DRAWS):
            drawn = int(random.integers(self.ends[-1]))  # every start in every record is as likely
            record = int(np.searchsorted(self.ends, drawn, side="right"))
            start = drawn - (int(self.ends[record - 1]) if record else 0)
            codes = self.store.codes(Interval(self.names[record], start, start + self.length_bp))
            if (codes == UNKNOWN).mean() <= MAX_UNKNOWN_FRACTION:
                return codes
        raise DataError(
            f"{self.store.files[0]}: all {MAX_DRAWS} random intervals of {self.length_bp} bp have "
            f"more than {MAX_UNKNOWN_FRACTION:.0%} unknown bases (N), but a background must have "
            "fewer. Use a genome with fewer, or set a smaller length."
        )


@lru_cache
def choose_motifs(length_bp: int) -> tuple[Codes, ...]:
    """Return four motifs, 6 to 64 bp long, that differ from each other on both strands.

    They depend on their length alone, so that data of another length or seed have the same
    motifs. Each has all four bases and no base more than three times in a row; any two differ in
    at least a third of their positions; none arises where two of them are side by side.
    """
    random = np.random.default_rng((len(_MOTIF_NAMES), length_bp))
    motifs: list[Codes] = []
    while len(motifs) < len(_MOTIF_NAMES):
        motif = random.integers(0, 4, length_bp, dtype=np.uint8)
        changes = np.flatnonzero(np.diff(motif)) + 1
        longest_run = np.diff([0, *changes, length_bp]).max()
        has_all_bases = len(set(motif.tolist())) == 4
        if has_all_bases and longest_run <= _LONGEST_RUN and _is_distinct(motif, motifs):
            motifs.append(motif)
    return tuple(motifs)


def occurrences(codes: Codes, motifs: Sequence[Codes]) -> Iterator[int]:
    """Yield the starts (0-based) of each motif and of its reverse complement, by motif."""
    text = codes.tobytes()
    for motif in motifs:
        for pattern in {motif.tobytes(), reverse_complement_codes(motif).tobytes()}:
            start = text.find(pattern)
            while start >= 0:
                yield start
                start = text.find(pattern, start + 1)


def remove_motifs(
    codes: Codes,
    motifs: Sequence[Codes],
    random: np.random.Generator,
    *,
    planted: Sequence[int] = (),
) -> None:
    """Change single bases of ``codes``, in place, until only planted motifs are left.

    The motifs have one length. ``planted`` are the starts of those that stay as they are.
    """
    length = len(motifs[0])
    fixed = {position for start in planted for position in range(start, start + length)}
    while unwanted := sorted(set(occurrences(codes, motifs)) - set(planted)):
        for start in unwanted:
            free = [position for position in range(start, start + length) if position not in fixed]
            position = free[random.integers(len(free))]
            codes[position] = (codes[position] + random.integers(1, 4)) % 4


def _is_distinct(motif: Codes, others: Sequence[Codes]) -> bool:
    """Whether a motif differs from the others, on both strands, and from its reverse complement."""
    compared = [reverse_complement_codes(motif)]
    compared += [strand for other in others for strand in (other, reverse_complement_codes(other))]
    if any((motif != strand).mean() < 1 / 3 for strand in compared):
        return False
    motifs = [*others, motif]
    return all(
        set(occurrences(np.concatenate(pair), motifs)) == {0, len(motif)}
        for pair in product(motifs, repeat=2)
    )
