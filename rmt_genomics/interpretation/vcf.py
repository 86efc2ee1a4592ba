"""Variants from a VCF file, checked against the reference; and how their effects are written.

Read are the eight fixed columns; whatever follows them (genotypes) is only handed on. Positions are
those of VCF: 1-based, of the first base of REF, on the forward strand.
"""

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmt_genomics.atomic_io import HashingReader
from rmt_genomics.dna import IndexedFasta, Interval
from rmt_genomics.dna.alphabet import Codes, encode, encode_pieces
from rmt_genomics.dna.compression import check_is_file, explain_read_errors, open_decompressed
from rmt_genomics.errors import ConfigError, DataError, counted
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.parsing import read_integer, shown
from rmt_genomics.prediction.output_formats import number
from rmt_genomics.prediction.sharding import VCF_MARK

NO_RECORD, OUTSIDE, OTHER_REF, TOO_LONG = (
    "chromosome is not in the reference",
    "position is outside of the record",
    "REF differs from the reference",
    "REF is longer than a window",
)
SYMBOLIC, BREAKEND, STAR, NO_ALT = "symbolic allele", "breakend", "allele *", "no alternative"
SKIPPED = (NO_RECORD, OUTSIDE, OTHER_REF, TOO_LONG, SYMBOLIC, BREAKEND, STAR, NO_ALT)
"""Why a variant has no effect; anything else in the note is said of a variant that has one."""

SAME = "ALT is REF"

_TABLE_START = "chrom\tpos\tref\talt\t"
_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_FEWEST_COLUMNS = 5
_BASES = re.compile("[ACGTUNRYSWKMBDHV]+", re.IGNORECASE)
_EXAMPLES = 5
_MOST_MISMATCHES = 0.1  # of all: by chance another genome differs at 0.7 of them
_NOTE_KEY = "variant_note"


class VcfLine(NamedTuple):
    """One line of a VCF file, or one alternative of it."""

    columns: Sequence[str]  # as in the file; eight at least
    chrom: str
    pos: int  # 1-based
    ref: str
    alts: tuple[str, ...]

    @property
    def start(self) -> int:
        """First base of REF, 0-based."""
        return self.pos - 1

    @property
    def end(self) -> int:
        """The base after REF, 0-based."""
        return self.start + len(self.ref)

    def split(self) -> Iterator["VcfLine"]:
        """Yield the line with each of its alternatives alone."""
        for alt in self.alts:
            yield self._replace(alts=(alt,))


@dataclass(frozen=True, slots=True, eq=False)
class VariantEffect:
    """What a variant changes: logits of the sequence around it, with REF and with ALT."""

    chrom: str
    pos: int
    """1-based, as in VCF."""

    ref: str
    alt: str
    logits_ref: np.ndarray
    """(classes,) float64, in the order of the model's ``classes_``; of a regression the value, in
    the unit of its label. NaN if the variant was skipped."""

    logits_alt: np.ndarray
    note: str = ""
    """Why it was skipped, or what is unusual."""

    @property
    def skipped(self) -> bool:
        """Whether there are no numbers."""
        return self.note in SKIPPED

    @property
    def delta(self) -> np.ndarray:
        """``logits_alt - logits_ref``."""
        difference: np.ndarray = self.logits_alt - self.logits_ref
        return difference


class VcfFile:
    """A VCF file: text, gzip or bgzip, with or without a header.

    ``header`` and ``sha256`` are complete when all lines have been read.

    Args:
        path: The file.

    Raises:
        DataError: If there is none; while reading, at the first line that is not VCF.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: list[str] = []
        self.sha256 = ""
        check_is_file(path, "a VCF file")
        if not path.is_file():
            raise DataError(
                f"{path}: is not a file on a disk, but variants are read twice. Save them to a "
                "file first."
            )

    def __iter__(self) -> Iterator[VcfLine]:
        with explain_read_errors(self.path):
            reader = HashingReader(self.path.open("rb", buffering=0))
        self.header, has_variants, number = [], False, 0
        with open_decompressed(self.path, reader, what="a VCF file") as file:
            for number, line in enumerate(file, 1):
                where = f"{self.path}: line {number}"
                text = _decoded(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, where)
                if text.startswith("#"):
                    self._add_header(text, where, has_variants=has_variants)
                elif text.strip():
                    line_columns = text.split("\t")
                    if not has_variants:
                        self._end_header(len(line_columns))
                    has_variants = True
                    yield parse_line(line_columns, where)
            self.sha256 = reader.hexdigest()
        self._end_header(len(_COLUMNS))
        if not number:
            raise DataError(
                f"{self.path}: is empty, but a VCF file has a header or variants. Make it again."
            )

    def _end_header(self, num_columns: int) -> None:
        """Name the columns if the header does not."""
        if self.header and not self.header[-1].startswith("##"):
            return
        samples = [f"SAMPLE_{number}" for number in range(1, num_columns - len(_COLUMNS))]
        others = ["FORMAT", *samples] if num_columns > len(_COLUMNS) else []
        self.header.append("\t".join([*_COLUMNS, *others]))

    def _add_header(self, text: str, where: str, *, has_variants: bool) -> None:
        if has_variants:
            raise DataError(
                f"{where}: is a header line after variants, but the header is at the start. Join "
                "files with: bcftools concat."
            )
        is_last = not text.startswith("##")
        if is_last and tuple(text.split("\t")[:_FEWEST_COLUMNS]) != _COLUMNS[:_FEWEST_COLUMNS]:
            raise DataError(
                f"{where}: is {shown(text)}, but the header of a VCF file ends with the line "
                f"{' '.join(_COLUMNS)}, separated by tabs."
            )
        self.header.append(text)


def _decoded(line: bytes, where: str) -> str:
    if line.startswith(b"BCF"):
        raise DataError(
            f"{where}: is BCF, but must be VCF, as text or compressed. Convert it: bcftools view."
        )
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: is not UTF-8 text, but VCF is. Is this the file?") from error


def parse_line(columns: Sequence[str], where: str) -> VcfLine:
    """Return a line, given its columns; ``where`` names it in errors.

    Raises:
        DataError: If a column is missing or is not as VCF has it.
    """
    if len(columns) < _FEWEST_COLUMNS:
        raise DataError(
            f"{where}: has {counted(len(columns), 'column')} separated by tabs, but a variant has "
            f"{' '.join(_COLUMNS)}. Is this a VCF file?"
        )
    chrom, position, _, ref, alt = columns[:_FEWEST_COLUMNS]
    if (pos := read_integer(position)) is None or not chrom:
        raise DataError(
            f"{where}: has chromosome {shown(chrom)} and position {shown(position)}, but must have "
            "a name and a whole number."
        )
    alts = tuple(alt.split(","))
    for name, allele in (("REF", ref), *(("ALT", each) for each in alts)):
        if not _BASES.fullmatch(allele) and (name == "REF" or _kind_of(allele) is None):
            raise DataError(
                f"{where}: has {name} {shown(allele)}, but an allele is letters of DNA, such as A "
                "or ACG. (In ALT also <DEL>, *, a breakend or a point.)"
            )
    padded = [*columns, *["."] * (len(_COLUMNS) - len(columns))]
    return VcfLine(padded, chrom, pos, ref, alts)


def _kind_of(alt: str) -> str | None:
    """Return what an alternative is that is not letters of DNA; None if that is nothing."""
    if alt == "*":
        return STAR
    if alt in (".", ""):
        return NO_ALT if alt else None
    if "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return BREAKEND
    return SYMBOLIC if alt.startswith("<") and alt.endswith(">") else None


class Reference:
    """The reference genome, and where each variant is in it.

    Args:
        fasta: FASTA, plain or bgzip; it is read by its index.
        window: Length of the windows that are read, in bp; None = whole records.
    """

    def __init__(self, fasta: Path, window: int | None) -> None:
        if window is not None and window < 1:
            raise ConfigError(f"window is {window}, but must be at least 1, in bp.")
        self.fasta, self.window = IndexedFasta(fasta), window
        self.lengths = self.fasta.lengths

    def codes(self, interval: Interval) -> Codes:
        """Return the base codes of an interval."""
        try:
            return encode_pieces(self.fasta.pieces(interval))
        except DataError as error:
            raise DataError(f"{self.fasta.path}: {interval.record}: {error}") from error

    def problem(self, line: VcfLine) -> str | None:
        """Return why none of the alternatives of a line can be read; None if they can be."""
        length = self.lengths.get(line.chrom)
        if length is None:
            return NO_RECORD
        if line.start < 0 or line.end > length:
            return OUTSIDE
        if (self.codes(Interval(line.chrom, line.start, line.end)) != encode(line.ref)).any():
            return OTHER_REF
        return None if self.window_of(line) else TOO_LONG

    def window_of(self, line: VcfLine) -> Interval | None:
        """Return what is read around a variant: its record, or a window of a fixed grid.

        The grid is that of ``predict --window``: from the start of the record on, and the last
        window ends with it. A variant that crosses a border of two windows is read in one that
        begins half a window earlier.
        """
        length, window = self.lengths[line.chrom], self.window
        if window is None or length <= window:
            return Interval(line.chrom, 0, length)
        for shift in (0, window // 2):
            start = (line.start + shift) // window * window - shift
            start = min(max(0, start), length - window)
            if start <= line.start and line.end <= start + window:
                return Interval(line.chrom, start, start + window)
        return None


def note_of(line: VcfLine, alt: str, problem: str | None) -> str:
    """Return why an alternative has no effect, or that it is REF; mostly nothing."""
    if problem is not None:
        return problem
    if not _BASES.fullmatch(alt):
        return _kind_of(alt) or ""
    return SAME if encode(alt).tolist() == encode(line.ref).tolist() else ""


class Survey:
    """Counts what is wrong with the variants of a file, before any is computed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_lines = self.num_variants = self.num_compared = 0
        self.counts: Counter[str] = Counter()
        self.mismatches: list[str] = []
        self.outside: list[str] = []
        self.missing: dict[str, None] = {}  # of chromosomes the first few, in order

    def add(self, line: VcfLine, reference: Reference) -> None:
        """Count a line."""
        problem = reference.problem(line)
        self.num_lines += 1
        self.num_variants += len(line.alts)
        self.counts.update(filter(None, (note_of(line, alt, problem) for alt in line.alts)))
        if problem == NO_RECORD and len(self.missing) < _EXAMPLES:
            self.missing[line.chrom] = None
        if problem == OUTSIDE and len(self.outside) < _EXAMPLES:
            length = reference.lengths[line.chrom]
            self.outside.append(f"{line.chrom}:{line.pos} of a record of {length} bp")
        if problem not in (NO_RECORD, OUTSIDE):
            self.num_compared += len(line.alts)
        if problem == OTHER_REF and len(self.mismatches) < _EXAMPLES:
            here = reference.fasta.sequence(Interval(line.chrom, line.start, line.end))
            self.mismatches.append(
                f"{line.chrom}:{line.pos} has REF {_short(line.ref)}, the reference {_short(here)}"
            )

    def check(self, reference: Reference) -> None:
        """Raise DataError if the variants are those of another genome."""
        names = ", ".join(list(reference.lengths)[:_EXAMPLES])
        if self.counts[NO_RECORD] and self.counts[NO_RECORD] == self.num_variants:
            raise DataError(
                f"{self.name}: has variants of {', '.join(self.missing)}, but "
                f"{reference.fasta.path} has other records: {names}. Give the "
                "reference of the variants, or rename chromosomes: bcftools annotate --rename-chrs."
            )
        if self.counts[OTHER_REF] > _MOST_MISMATCHES * self.num_compared:
            raise DataError(
                f"{self.name}: REF of {self.counts[OTHER_REF]:,} of {self.num_compared:,} variants "
                f"differs from {reference.fasta.path} ({'; '.join(self.mismatches)}), but variants "
                "must be of this reference. Give the genome and the version they were called on."
            )
        num_placed = self.num_variants - self.counts[NO_RECORD]
        if self.counts[OUTSIDE] > _MOST_MISMATCHES * num_placed:
            raise DataError(
                f"{self.name}: the positions of {self.counts[OUTSIDE]:,} of {num_placed:,} "
                f"variants are outside of the records of {reference.fasta.path} "
                f"({'; '.join(self.outside)}), but variants must be of this reference. Give the "
                "genome and the version they were called on."
            )

    def warning(self) -> str | None:
        """Return how many variants are skipped and why; None if none is."""
        found = []
        for note in SKIPPED:
            if count := self.counts[note]:
                examples = {OTHER_REF: self.mismatches, NO_RECORD: self.missing}.get(note, ())
                named = f" ({'; '.join(examples)})" if examples else ""
                found.append(f"{note}: {count:,}{named}")
        if not found:
            return None
        total = sum(self.counts[note] for note in SKIPPED)
        return (
            f"{self.name}: {total:,} of {counted(self.num_variants, 'variant')} are skipped, with "
            f"a note: {', '.join(found)}."
        )


def _short(allele: str) -> str:
    return allele if len(allele) <= 10 else f"{allele[:10]}... ({len(allele)} bp)"


def column_names(config: ClassifierConfig) -> list[tuple[str, str, str]]:
    """Return the names of the numbers of each class: with REF, with ALT, and the difference."""
    kind = "prediction" if config.task == "regression" else "logit"
    return [
        (f"{kind}_ref_{name}", f"{kind}_alt_{name}", f"delta_{name}") for name in config.classes
    ]


class EffectTable:
    """A tab-separated table, a row per alternative: chrom, pos, ref, alt, numbers, note.

    For each class ``logit_ref_CLASS``, ``logit_alt_CLASS`` and ``delta_CLASS`` follow each other.
    Nine digits are those of a float32. A variant that was skipped has ``NA``.
    """

    splits = True

    def __init__(self, config: ClassifierConfig) -> None:
        self.config = config

    def header(self, _: Sequence[str]) -> list[str]:
        """Return the names of the columns."""
        names = [name for each in column_names(self.config) for name in each]
        return [_TABLE_START + "\t".join([*names, "note"])]

    def line(self, _: VcfLine, effects: Sequence[VariantEffect]) -> str:
        """Return the row of an alternative."""
        (effect,) = effects
        cells = [effect.chrom, str(effect.pos), effect.ref, effect.alt]
        for values in zip(effect.logits_ref, effect.logits_alt, effect.delta, strict=True):
            cells += [digits(values[0]), digits(values[1]), number(values[2])]
        return "\t".join([*cells, effect.note])


class AnnotatedVcf:
    """The VCF itself with more INFO: a line per line, with one number per alternative.

    The fields are the columns of the table; what cannot be in a key is ``_``.
    """

    splits = False

    def __init__(self, config: ClassifierConfig) -> None:
        self.config, self.keys = config, list[tuple[str, str, str]]()
        used: set[str] = set()
        for names in column_names(config):
            keys = [re.sub(r"[^0-9A-Za-z_.]", "_", name) for name in names]
            suffix, count = "", 1
            while any(key + suffix in used for key in keys):
                count += 1
                suffix = f"_{count}"
            self.keys.append((keys[0] + suffix, keys[1] + suffix, keys[2] + suffix))
            used.update(self.keys[-1])
        self._own = {*used, _NOTE_KEY}

    def header(self, header: Sequence[str]) -> list[str]:
        """Return the header of the file with the new fields."""
        lines = [line for line in header if line != VCF_MARK and not self._is_own(line)]
        if not lines or not lines[0].startswith("##fileformat="):
            lines.insert(0, "##fileformat=VCFv4.2")
        columns = lines.pop()
        fields = []
        what = "value" if self.config.task == "regression" else "logit"
        for name, (ref, alt, delta) in zip(self.config.classes, self.keys, strict=True):
            title = name.replace("\\", "\\\\").replace('"', '\\"')
            fields += [
                _field(ref, "1", "Float", f"{what} of {title} with REF"),
                _field(alt, "A", "Float", f"{what} of {title} with ALT"),
                _field(delta, "A", "Float", f"{what} of {title} with ALT less that with REF"),
            ]
        fields.append(
            _field(_NOTE_KEY, "A", "String", "why there is no number, or what is unusual")
        )
        return [lines[0], VCF_MARK, *lines[1:], *fields, columns]

    def _is_own(self, line: str) -> bool:
        match = re.match(r"##INFO=<ID=([^,>]*)", line)
        return match is not None and match[1] in self._own

    def line(self, line: VcfLine, effects: Sequence[VariantEffect]) -> str:
        """Return a line with the effects of its alternatives."""
        info = [each for each in line.columns[7].split(";") if each.split("=")[0] not in self._own]
        added = []
        for index, (ref, alt, delta) in enumerate(self.keys):
            numbers = (
                (ref, [next((e.logits_ref[index] for e in effects if not e.skipped), np.nan)]),
                (alt, [effect.logits_alt[index] for effect in effects]),
                (delta, [effect.delta[index] for effect in effects]),
            )
            for key, values in numbers:
                show = number if key == delta else digits
                added.append(
                    f"{key}={','.join(show(value).replace('NA', '.') for value in values)}"
                )
        if any(effect.note for effect in effects):
            notes = [re.sub(r"[\s,;=]+", "_", effect.note) or "." for effect in effects]
            added.append(f"{_NOTE_KEY}={','.join(notes)}")
        kept = [each for each in info if each not in ("", ".")]
        return "\t".join([*line.columns[:7], ";".join([*kept, *added]), *line.columns[8:]])


def _field(key: str, count: str, kind: str, description: str) -> str:
    return f'##INFO=<ID={key},Number={count},Type={kind},Description="{description}">'


def digits(value: float) -> str:
    """Return the cell of a logit, with all digits of a float32; ``NA`` for NaN."""
    return "NA" if np.isnan(value) else f"{value:.9g}"


OUTPUTS: dict[str, type[EffectTable] | type[AnnotatedVcf]] = {
    ".tsv": EffectTable,
    ".vcf": AnnotatedVcf,
}


def rows_of(lines: Iterable[VcfLine], *, split: bool) -> Iterator[VcfLine]:
    """Yield what one line of output is about: an alternative, or a line."""
    for line in lines:
        if split:
            yield from line.split()
        else:
            yield line
