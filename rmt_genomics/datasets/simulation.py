"""Sequences whose labels are known because their motifs were planted: tests of long memory.

Four tasks, from what needs the least to what needs the most:

- ``memorise``: one of four motifs stands within the first 64 bp; which one?
- ``detect``: does motif A stand anywhere? Labels ``absent``, ``present``.
- ``two_facts``: A or its stand-in C, and B or its stand-in D, far apart and in either order; which
  of A and B are there? Labels ``neither``, ``A``, ``B``, ``A+B``.
- ``order``: A and B stand far apart; which comes first? Labels ``A_first``, ``B_first``.

Motifs are planted on the forward strand. Where one occurs by chance, on either strand, a base of
the background is changed. Every record is made from the seed and its number alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import TextIOBase
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.dna.alphabet import UNKNOWN, Codes, decode, reverse_complement_codes
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError

SHORTEST_BP, LONGEST_BP = 6, 64
_LONGEST_RUN = 3


def choose_motifs(number: int, length_bp: int) -> list[Codes]:
    """Return motifs that are unlike each other on both strands.

    They depend on the two arguments alone, so that data of another length or seed ask for the
    same ones. Each holds all four bases and no base more than three times in a row; any two differ
    in at least a third of their places; none arises where two of them meet.

    Args:
        number: How many, at most 4.
        length_bp: Base pairs of each, between 6 and 64.
    """
    random = np.random.default_rng((number, length_bp))
    motifs: list[Codes] = []
    while len(motifs) < number:
        motif = random.integers(0, 4, length_bp, dtype=np.uint8)
        if _is_varied(motif) and _stands_apart(motif, motifs):
            motifs.append(motif)
    return motifs


def occurrences(codes: Codes, motifs: Sequence[Codes]) -> Iterator[int]:
    """Yield where a motif or its reverse complement begins, motif by motif (0-based)."""
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
    """Change single bases of ``codes``, in place, until no motif is left but those planted.

    Args:
        codes: Base codes of one strand.
        motifs: All of one length.
        random: Decides which base is changed, and to what.
        planted: Where motifs begin that are to stay; their bases are never changed.
    """
    length = len(motifs[0])
    kept = {base for start in planted for base in range(start, start + length)}
    while unwanted := sorted(set(occurrences(codes, motifs)) - set(planted)):
        for start in unwanted:
            free = [base for base in range(start, start + length) if base not in kept]
            base = free[random.integers(len(free))]
            codes[base] = (codes[base] + random.integers(1, 4)) % 4


def _is_varied(motif: Codes) -> bool:
    """Whether all four bases occur, and none too often in a row."""
    changes = np.flatnonzero(np.diff(motif)) + 1
    runs = np.diff([0, *changes, len(motif)])
    return len(set(motif.tolist())) == 4 and int(runs.max()) <= _LONGEST_RUN


def _stands_apart(motif: Codes, others: Sequence[Codes]) -> bool:
    """Whether a motif may join others; it must also be unlike its own other strand."""
    compared = [reverse_complement_codes(motif)]
    compared += [strand for each in others for strand in (each, reverse_complement_codes(each))]
    if any((motif != each).mean() < 1 / 3 for each in compared):
        return False
    together = [*others, motif]
    return all(
        set(occurrences(np.concatenate(pair), together)) == {0, len(motif)}
        for pair in product(together, repeat=2)
    )


TASKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "memorise": {"A": ("A",), "B": ("B",), "C": ("C",), "D": ("D",)},
    "detect": {"absent": (), "present": ("A",)},
    "two_facts": {
        "neither": ("C", "D"),
        "A": ("A", "D"),
        "B": ("C", "B"),
        "A+B": ("A", "B"),
    },
    "order": {"A_first": ("A", "B"), "B_first": ("B", "A")},
}
"""For each task its labels, and the motifs that a sequence of that label holds."""

START_BP = 64
_NAMES = "ABCD"
_LINE_BP = 80
_TRIES = 1000
_LARGEST_UNKNOWN_SHARE = 0.05


class Simulated(NamedTuple):
    """One sequence.

    Attributes:
        name: Of its record.
        label: The true answer.
        codes: Base codes of the forward strand.
        sites: Where which motif begins (0-based), in the order of the sequence.
    """

    name: str
    label: str
    codes: Codes
    sites: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What is to be made; checks itself.

    Raises:
        ConfigError: If a number is out of range, or the motifs do not fit into the length.
        DataError: If no record of the background is long enough.
    """

    task: str
    """A key of ``TASKS``."""

    length_bp: int
    """Base pairs of each sequence."""

    distance_bp: int | None = None
    """Least base pairs between the two motifs of ``two_facts`` and ``order``; None = half of what
    fits."""

    motif_length_bp: int = 12
    """Base pairs of a motif. The motifs depend on this alone."""

    seed: int = 0
    """Decides everything else."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task is {self.task!r}, but must be one of {', '.join(TASKS)}.")
        if not SHORTEST_BP <= self.motif_length_bp <= LONGEST_BP:
            raise ConfigError(
                f"the motif length is {self.motif_length_bp} bp, but must be between {SHORTEST_BP} "
                f"and {LONGEST_BP} bp: shorter ones fill any background, and none longer is needed."
            )
        if self.distance_bp is not None and not self.has_two:
            raise ConfigError(
                f"a distance of {self.distance_bp} bp has no effect: {self.task} plants at most "
                "one motif. Leave it out."
            )
        if self._slack < (self.distance_bp or 0):
            wanted = f" and {self.distance_bp} bp between them" if self.distance_bp else ""
            raise ConfigError(
                f"a length of {self.length_bp} bp is too short: {1 + self.has_two} motifs of "
                f"{self.motif_length_bp} bp{wanted} must fit in. Ask for longer sequences."
            )

    @property
    def has_two(self) -> bool:
        """Whether the task plants two motifs."""
        return self.task in ("two_facts", "order")

    @property
    def least_distance_bp(self) -> int:
        """Base pairs that are at least between two motifs."""
        return self._slack // 2 if self.distance_bp is None else self.distance_bp

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the task."""
        return tuple(TASKS[self.task])

    def motifs(self) -> dict[str, Codes]:
        """Return the four motifs by name."""
        return dict(zip(_NAMES, choose_motifs(len(_NAMES), self.motif_length_bp), strict=True))

    def check_background(self, background: EncodedStore | None) -> None:
        """Raise DataError unless a record of the background is long enough."""
        _Background(background, self.length_bp)

    def examples(self, number: int, background: EncodedStore | None = None) -> Iterator[Simulated]:
        """Yield sequences, one in memory at a time; labels take turns in a random order.

        Args:
            number: How many. The first of more are the same.
            background: Take random stretches of these sequences; None = random bases.
        """
        motifs = self.motifs()
        source = _Background(background, self.length_bp)
        for place in range(number):
            turn, within = divmod(place, len(self.labels))
            order = np.random.default_rng((self.seed, 0, turn)).permutation(len(self.labels))
            random = np.random.default_rng((self.seed, 1, place))
            label = self.labels[order[within]]
            yield self._example(
                f"{self.task}_{place + 1}", label, motifs, source.draw(random), random
            )

    @property
    def _slack(self) -> int:
        """Base pairs that are left when the motifs are in."""
        return self.length_bp - self.motif_length_bp * (1 + self.has_two)

    def _example(
        self,
        name: str,
        label: str,
        motifs: Mapping[str, Codes],
        codes: Codes,
        random: np.random.Generator,
    ) -> Simulated:
        """Plant the motifs of a label into a background, which is changed."""
        names = list(TASKS[self.task][label])
        if self.task == "two_facts":
            random.shuffle(names)
        sites = tuple(zip(self._starts(len(names), random), names, strict=True))
        for start, motif in sites:
            codes[start : start + self.motif_length_bp] = motifs[motif]
        remove_motifs(codes, list(motifs.values()), random, planted=[start for start, _ in sites])
        return Simulated(name, label, codes, sites)

    def _starts(self, number: int, random: np.random.Generator) -> list[int]:
        """Draw where motifs begin: every place that the rules allow is as likely."""
        if self.task == "memorise":
            return [int(random.integers(min(START_BP - self.motif_length_bp, self._slack) + 1))]
        if number < 2:
            return [int(random.integers(self._slack + 1)) for _ in range(number)]
        gap = self.least_distance_bp
        first, second = sorted(random.integers(self._slack - gap + 1, size=2).tolist())
        return [first, second + self.motif_length_bp + gap]


class _Background:
    """Where backgrounds come from.

    Args:
        store: The sequences; None = random bases.
        length_bp: Base pairs of a background.
    """

    def __init__(self, store: EncodedStore | None, length_bp: int) -> None:
        self.store, self.length_bp = store, length_bp
        lengths = store.lengths if store else {}
        self.names = [name for name, length in lengths.items() if length >= length_bp]
        if store and not self.names:
            raise DataError(
                f"{store.files[0]}: the longest record of the background has "
                f"{max(lengths.values(), default=0)} bp, but sequences of {length_bp} bp are to be "
                "cut from it. Ask for shorter ones, or give a longer genome."
            )
        self.ends = np.cumsum([lengths[name] - length_bp + 1 for name in self.names])

    def draw(self, random: np.random.Generator) -> Codes:
        """Return base codes that may be written to."""
        if self.store is None:
            return random.integers(0, UNKNOWN, self.length_bp, dtype=np.uint8)
        for _ in range(_TRIES):
            place = int(random.integers(self.ends[-1]))
            record = int(np.searchsorted(self.ends, place, side="right"))
            start = place - (int(self.ends[record - 1]) if record else 0)
            stretch = Interval(self.names[record], start, start + self.length_bp)
            codes = self.store.codes(stretch)
            if (codes == UNKNOWN).mean() <= _LARGEST_UNKNOWN_SHARE:
                return codes
        raise DataError(
            f"{self.store.files[0]}: of {_TRIES} random stretches of {self.length_bp} bp each has "
            f"more than {_LARGEST_UNKNOWN_SHARE:.0%} unknown bases (N), but a background must have "
            "fewer. Give a genome with fewer, or ask for shorter sequences."
        )


def write_simulation(
    simulation: Simulation,
    number: int,
    *,
    fasta: TextIOBase,
    labels: TextIOBase,
    background: EncodedStore | None = None,
) -> dict[str, int]:
    """Write sequences and labels, one record in memory at a time.

    Args:
        simulation: What.
        number: How many.
        fasta: Sequences; the headers say which motif begins where (0-based).
        labels: A table with the columns record and label.
        background: As for ``Simulation.examples``.

    Returns:
        How many sequences each label has.
    """
    counts = dict.fromkeys(simulation.labels, 0)
    labels.write("record\tlabel\n")
    for name, label, codes, sites in simulation.examples(number, background):
        told = " ".join(f"{motif}={start}" for start, motif in sites)
        letters = decode(codes)
        fasta.write(f">{name} {told}".rstrip() + "\n")
        fasta.writelines(
            f"{letters[at : at + _LINE_BP]}\n" for at in range(0, len(letters), _LINE_BP)
        )
        labels.write(f"{name}\t{label}\n")
        counts[label] += 1
    return counts


def description(simulation: Simulation, number: int, background: Path | None) -> str:
    """Return JSON that says how the sequences were made, and with which motifs."""
    settings = asdict(simulation)
    if simulation.has_two:
        settings["distance_bp"] = simulation.least_distance_bp
    motifs = {name: decode(codes) for name, codes in simulation.motifs().items()}
    told = {**settings, "number": number, "background": background and str(background)}
    return json.dumps({**told, "motifs": motifs, "labels": TASKS[simulation.task]}, indent=2) + "\n"
