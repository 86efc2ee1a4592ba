"""What variants change: logits with REF and with ALT, in the context of a whole record or window.

Variants of one window share its reading: the memory before the first segment that reads a changed
base is that of the reference (``occlusion.PrefixMemory``), on either strand. Neighbours in one
window are a *task*, and are read as batches. Tasks depend on the file alone, not on where a run was
stopped or on the number of shards: so results are the same, bit for bit.

An insertion or deletion changes the length, and so the borders of segments after it, and how many
there are; up to it they are those of the reference.

Dimensions: s segments, e variants (rows of a batch), m memory tokens, d model width, c classes.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor

from rmt_genomics.atomic_io import sha256_of_file
from rmt_genomics.dna import Interval
from rmt_genomics.dna.alphabet import UNKNOWN, Codes, encode, reverse_complement_codes
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.interpretation.occlusion import Edit, PrefixMemory
from rmt_genomics.interpretation.vcf import (
    OUTPUTS,
    SAME,
    SKIPPED,
    Reference,
    Survey,
    VariantEffect,
    VcfFile,
    VcfLine,
    note_of,
    parse_line,
    rows_of,
)
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.bidirectional_encoder import (
    SEGMENTS_AT_ONCE,
    BothStrands,
    bases_of_tokens,
)
from rmt_genomics.model.classifier import Encoding
from rmt_genomics.model.pretrained import CONFIG, WEIGHTS, find_model_file, read_config
from rmt_genomics.model.tokenization import to_device, tokenize
from rmt_genomics.parsing import as_path
from rmt_genomics.prediction.predictor import Shard
from rmt_genomics.prediction.progress import Timer
from rmt_genomics.prediction.run import Row, resumable_output, write_rows
from rmt_genomics.prediction.sharding import shard_output
from rmt_genomics.rmt import Segment
from rmt_genomics.rmt.runtime import evaluating
from rmt_genomics.rmt.segments import borders

logger = logging.getLogger(__name__)

BUFFER_ROWS = 4096  # read ahead, so that neighbours are found in a file that is not sorted
TASK_ROWS = 64
_MOST_TOKENS, _MOST_BASES = 1 << 16, 1 << 26  # of a batch: in one segment, and altogether
_MUCH_N = 0.1
_FORMAT = 1  # of the note beside partial output

Variants = str | Path | Iterable[tuple[str, int, str, str]]


def variant_effects(
    model: RMTClassifier | str | Path,
    variants: Variants,
    fasta: str | Path,
    *,
    window: int | None = None,
) -> Iterator[VariantEffect]:
    """Yield the logits with REF and with ALT of each variant, one alternative after the other.

    Args:
        model: A trained model, or its folder.
        variants: A VCF file; or tuples of chromosome, position (1-based), REF and ALT.
        fasta: The reference: FASTA, plain or bgzip.
        window: Length in bp of what is read around a variant: a window of a fixed grid. None =
            whole records.

    Yields:
        Effects in the order of the variants. One that cannot be read has NaN, and a note.

    Raises:
        DataError: If a file is not what it should be, or the variants are of another genome.

    Warns:
        RMTGenomicsWarning: With the number of variants that are skipped, and why.
    """
    if not isinstance(model, RMTClassifier):
        model = RMTClassifier.from_pretrained(model)
    lines: Iterable[VcfLine]
    if isinstance(variants, str | Path):
        name, lines = str(variants), VcfFile(as_path(variants))
    else:
        name, lines = "variants", [_given(*each) for each in variants]
    reference = Reference(as_path(fasta), window)
    _survey(name, lines, reference)
    for _, _, effects in _effects(model, rows_of(lines, split=True), reference, Shard()):
        yield from effects


def _given(chrom: str, pos: int, ref: str, alt: str) -> VcfLine:
    columns = [str(each) for each in (chrom, pos, ".", ref, alt)]
    return parse_line(columns, f"variant {chrom}:{pos}")


def _survey(name: str, lines: Iterable[VcfLine], reference: Reference) -> Survey:
    """Look at all variants once; refuse those of another genome, and warn of what is skipped."""
    survey = Survey(name)
    for line in lines:
        survey.add(line, reference)
    survey.check(reference)
    message = survey.warning()
    if not survey.num_variants:
        message = f"{name}: has no variants, so there are no results."
    if message:
        warnings.warn(message, RMTGenomicsWarning, stacklevel=3)
    return survey


class _Task(NamedTuple):
    """Rows that are computed together: neighbours in one window, or rows without anything."""

    window: Interval | None
    rows: list[int]  # indices in the buffer


def _effects(
    model: RMTClassifier, lines: Iterator[VcfLine], reference: Reference, shard: Shard
) -> Iterator[tuple[int, VcfLine, list[VariantEffect]]]:
    """Yield the rows of a shard in order: index, line and the effect of each alternative."""
    windows = _Windows(model, reference)
    first_row = num_tasks = 0
    while buffer := list(islice(lines, BUFFER_ROWS)):
        problems = [reference.problem(line) for line in buffer]
        tasks = []
        for task in _tasks(buffer, problems, reference):
            is_due = first_row + max(task.rows) >= shard.first_row
            if num_tasks % shard.of == shard.number - 1 and is_due:
                tasks.append(task)
            num_tasks += 1
        results: dict[int, list[VariantEffect]] = {}
        for number, task in enumerate(tasks):
            own = [(buffer[row], problems[row]) for row in task.rows]
            effects = windows.effects(task.window, own)
            results.update(zip(task.rows, effects, strict=True))
            # Ready are the rows before all that are still to come.
            rest = tasks[number + 1 : number + 2]
            until = min(rest[0].rows) if rest else len(buffer)
            for row in sorted(row for row in results if row < until):
                found = results.pop(row)
                if first_row + row >= shard.first_row:
                    yield first_row + row, buffer[row], found
        first_row += len(buffer)


def _tasks(
    buffer: Sequence[VcfLine], problems: Sequence[str | None], reference: Reference
) -> list[_Task]:
    """Group rows by window, sorted by position; tasks are in the order of their first row."""
    by_window: dict[Interval | None, list[int]] = {}
    for row, (line, problem) in enumerate(zip(buffer, problems, strict=True)):
        is_read = any(note_of(line, alt, problem) not in SKIPPED for alt in line.alts)
        window = reference.window_of(line) if is_read else None
        by_window.setdefault(window, []).append(row)
    tasks = []
    for window, rows in by_window.items():
        rows.sort(key=lambda row: buffer[row].pos)
        tasks += [_Task(window, rows[at : at + TASK_ROWS]) for at in range(0, len(rows), TASK_ROWS)]
    return sorted(tasks, key=lambda task: min(task.rows))


class _Windows:
    """Computes effects; keeps the reading of the window of the last task."""

    def __init__(self, model: RMTClassifier, reference: Reference) -> None:
        self.model, self.reference = model, reference
        self._window: Interval | None = None
        self._prefix: PrefixMemory | None = None

    def effects(
        self, window: Interval | None, lines: Sequence[tuple[VcfLine, str | None]]
    ) -> list[list[VariantEffect]]:
        """Return the effect of each alternative of some lines, all in one window, or in none."""
        alleles = [
            (line, alt, note_of(line, alt, problem)) for line, problem in lines for alt in line.alts
        ]
        nothing = np.full(len(self.model.classes_), np.nan)
        if window is None:
            rows = iter([(nothing, nothing, note) for _, _, note in alleles])
        else:
            rows = self._in_window(window, alleles, nothing)
        return [
            [VariantEffect(line.chrom, line.pos, line.ref, alt, *next(rows)) for alt in line.alts]
            for line, _ in lines
        ]

    def _in_window(
        self, window: Interval, alleles: Sequence[tuple[VcfLine, str, str]], nothing: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        if self._prefix is None or window != self._window:
            self._prefix = None  # frees the memory before the next is read
            self._prefix = PrefixMemory(self.model, self.reference.codes(window))
            self._window = window
        prefix = self._prefix
        changes = [
            Change.of(line.start - window.start, line.ref, alt)
            for line, alt, note in alleles
            if not note
        ]
        (reference,) = self._outputs(prefix.logits)
        changed = iter(self._outputs(logits_of_changes(prefix, changes)))
        fraction = float((prefix.codes == UNKNOWN).mean())
        much = f"{fraction:.0%} of the bases read are N" if fraction >= _MUCH_N else ""
        for _, _, note in alleles:
            if note in SKIPPED:
                yield nothing, nothing, note
            else:
                alternative = reference if note == SAME else next(changed)
                yield reference, alternative, "; ".join(filter(None, (note, much)))

    def _outputs(self, logits: Tensor) -> np.ndarray:
        """Return logits, or the values of a regression in the unit of its label."""
        if self.model.config.task == "regression":
            logits = self.model.outputs(logits)
        found: np.ndarray = logits.double().cpu().numpy()
        return found


class Change(NamedTuple):
    """Bases ``[start, end)`` of a sequence that are replaced by others, of any number."""

    start: int
    end: int
    codes: Codes

    @classmethod
    def of(cls, start: int, ref: str, alt: str) -> "Change":
        """Return what differs between REF, which begins at ``start``, and ALT."""
        old, new = encode(ref), encode(alt)
        shorter = min(len(old), len(new))
        left = _num_equal(old[:shorter], new[:shorter])
        rest = shorter - left
        right = _num_equal(old[::-1][:rest], new[::-1][:rest])
        return cls(start + left, start + len(old) - right, new[left : len(new) - right])

    @property
    def longer_by(self) -> int:
        """How many bp are added; negative for a deletion."""
        return len(self.codes) - (self.end - self.start)

    def applied_to(self, codes: Codes) -> Codes:
        """Return the sequence with this change."""
        return np.concatenate([codes[: self.start], self.codes, codes[self.end :]])


def _num_equal(one: Codes, other: Codes) -> int:
    """Return how many bases two sequences of one length have in common at their starts."""
    differs = one != other
    return int(differs.argmax()) if differs.any() else len(one)


def logits_of_changes(prefix: PrefixMemory, changes: Sequence[Change]) -> Float[Tensor, "e c"]:
    """Return the logits of a sequence with each change alone, one row per change."""
    by_length: dict[int, list[int]] = {}
    for row, change in enumerate(changes):
        by_length.setdefault(change.longer_by, []).append(row)
    logits = torch.empty(len(changes), prefix.logits.shape[1], dtype=prefix.logits.dtype)
    at_once = max(1, _MOST_BASES // len(prefix.codes))
    for longer_by, rows in by_length.items():
        for first in range(0, len(rows), at_once):
            batch = rows[first : first + at_once]
            own = [changes[row] for row in batch]
            if longer_by == 0:
                edits = [Edit(change.start, change.codes) for change in own]
                found = torch.cat([each.total for each in prefix.logits_of(edits)])
            else:
                found = _logits_of_other_length(prefix, own)
            logits[batch] = found.cpu()
    return logits


def _logits_of_other_length(
    prefix: PrefixMemory, changes: Sequence[Change]
) -> Float[Tensor, "e c"]:
    """Return the logits with some changes that all add the same number of bases."""
    model, length = prefix.model, len(prefix.codes)
    at_once = max(1, min(TASK_ROWS, _MOST_TOKENS // model.encoder.config.tokens_per_segment))
    logits = []
    with evaluating(model), torch.inference_mode():
        for first in range(0, len(changes), at_once):
            own = changes[first : first + at_once]
            forward = np.stack([change.applied_to(prefix.codes) for change in own])
            reverse = np.stack([reverse_complement_codes(row) for row in forward])
            strands = [
                _ResizedStrand(prefix, 0, forward, [change.start for change in own]).pooled(),
                _ResizedStrand(prefix, 1, reverse, [length - each.end for each in own]).pooled(),
            ]
            features = [model.sequence_features(torch.from_numpy(row)[None]) for row in forward]
            parts = (
                None if part[0] is None else torch.cat(part) for part in zip(*features, strict=True)
            )
            logits.append(model.logits(Encoding(torch.cat(strands, dim=1), *parts)))
    return torch.cat(logits)


class _ResizedStrand:
    """Reads one strand of sequences that are those of a record up to some base each.

    Args:
        prefix: The record.
        strand: 0 forward, 1 reverse.
        records: Base codes of the sequences on that strand, ``(e, bp)``.
        starts: Of each the first base that may be another than in the record.
    """

    def __init__(
        self, prefix: PrefixMemory, strand: int, records: Codes, starts: Sequence[int]
    ) -> None:
        self.prefix, self.strand, self.records = prefix, strand, records
        self.encoder = prefix.model.encoder
        self.places = _places(self.encoder, records.shape[1])
        before = _places(self.encoder, len(prefix.codes))
        # How many segments are cut as in the record, and of them whose bases are the same.
        pairs = enumerate(zip(self.places, before, strict=False))
        fewer = min(len(self.places), len(before) - 1)
        num_same = next((index for index, (own, old) in pairs if own != old), fewer)
        unchanged = np.searchsorted([place.end for place in before], starts, side="right")
        self.first = torch.from_numpy(np.minimum(unchanged, min(num_same, fewer)))

    def pooled(self) -> Float[Tensor, "e d"]:
        """Return the pooled memory of each sequence."""
        pooled: Tensor = self.encoder.pool(self._read())
        return pooled

    def _read(self) -> Iterator[tuple[Float[Tensor, "s e m d"], Bool[Tensor, "s e"]]]:
        memory = self.encoder.step.memory.initial(len(self.records))
        for start in range(0, len(self.places), SEGMENTS_AT_ONCE):
            indices = range(start, min(start + SEGMENTS_AT_ONCE, len(self.places)))
            base = self.prefix.readouts[start : indices.stop, self.strand]
            block = memory.new_zeros(len(indices), *memory.shape)
            block[: len(base)] = repeat(base, "s m d -> s e m d", e=len(self.records))
            for index in indices:
                begins = (self.first == index).nonzero()[:, 0]
                if len(begins):
                    memory[begins] = self.prefix.memory_before[index, self.strand]
                rows = (self.first <= index).nonzero()[:, 0]
                if len(rows):
                    state = self.encoder.step(self._segment(index, rows), memory[rows], ())
                    assert state.output is not None
                    memory[rows] = state.memory
                    is_written = self.encoder.readout == "written"
                    block[index - start, rows] = state.output if is_written else state.memory
            yield block, torch.ones(block.shape[:2], dtype=torch.bool, device=block.device)

    def _segment(self, index: int, rows: Tensor) -> Segment:
        place = self.places[index]
        bases = np.ascontiguousarray(self.records[rows.numpy(), place.first : place.end])
        codes = to_device(torch.from_numpy(bases), self.prefix.model.device)
        lengths = torch.full((len(rows),), bases.shape[1], device=codes.device)
        tokens, _ = tokenize(self.encoder.tokenizer, codes, lengths)
        start, stop, left, _ = place.borders
        return Segment(tokens, None, left, stop - start, is_start=start == 0)


class _Place(NamedTuple):
    """Where a segment is in a sequence."""

    borders: tuple[int, int, int, int]  # in tokens: start, stop, and the halo on each side
    first: int  # of the bases that it reads with its halo
    end: int


def _places(encoder: BothStrands, length_bp: int) -> list[_Place]:
    """Return where the segments of a sequence are."""
    size, halo = encoder.config.tokens_per_segment, encoder.config.halo
    num_tokens = encoder.tokenizer.num_tokens(length_bp)
    places = []
    for index in range(-(-num_tokens // size)):
        own = borders(index, size, num_tokens, halo)
        start, stop, left, right = own
        reads = bases_of_tokens(encoder.tokenizer, length_bp, start - left, stop + right)
        places.append(_Place(own, *reads))
    return places


class VariantRun:
    """Effects of the variants of a file, written to another; it can be resumed and shared out.

    Args:
        model_dir: Folder of a trained model.
        vcf: The variants.
        fasta: The reference.
        window: As for ``variant_effects``.
        out: What is written: a table or VCF, as its name ends in ``.tsv`` or ``.vcf``.

    Raises:
        RMTGenomicsError: If the input or the model cannot be used.
    """

    def __init__(
        self, model_dir: str, vcf: Path, fasta: Path, *, window: int | None, out: Path
    ) -> None:
        files = [find_model_file(model_dir, name) for name in (CONFIG, WEIGHTS)]
        self.model_dir, self.vcf, self.out = model_dir, VcfFile(vcf), out
        config = read_config(files[0])
        config.check_has_classes(model_dir)
        self.output = OUTPUTS[out.suffix](config)
        self.reference = Reference(fasta, window)
        self.survey = _survey(str(vcf), self.vcf, self.reference)
        self.header = self.output.header(self.vcf.header)
        self._checksum = self.vcf.sha256
        self.key: dict[str, Any] = {
            "command": "variants",
            "format": _FORMAT,
            "model": [sha256_of_file(file) for file in files],
            "vcf": self._checksum,
            "fasta": sha256_of_file(fasta),
            "window": window,
            "output": out.suffix,
        }

    @property
    def num_rows(self) -> int:
        """Lines of the output after its header."""
        return self.survey.num_variants if self.output.splits else self.survey.num_lines

    def write(self, device: torch.device, shard: tuple[int, int] | None, *, resume: bool) -> None:
        """Write all rows, or those of a shard; or those that an interrupted run has not written."""
        if shard is None:
            with resumable_output(self.out, self.key, self.header, resume=resume) as file:
                done = sum(1 for _ in file.lines()) - len(self.header)
                write_rows(file, self._rows(device, Shard(first_row=done)))
            return
        number, of = shard
        with shard_output(
            self.out, self.key, self.header, Shard(number, of), resume=resume
        ) as output:
            if output.first_row is not None:
                rows = self._rows(device, Shard(number, of, output.first_row))
                write_rows(output.file, rows, with_index=True)
                output.end(self.num_rows, self._checksum)

    def _rows(self, device: torch.device, shard: Shard) -> Iterator[Row]:
        model = RMTClassifier.from_pretrained(self.model_dir, device=device)
        timer = Timer()
        lines = rows_of(self.vcf, split=self.output.splits)
        for row, line, effects in _effects(model, lines, self.reference, shard):
            if timer.is_due():
                logger.info("row %s of %s", f"{row + 1:,}", f"{self.num_rows:,}")
            yield row, self.output.line(line, effects), {}
        if self.vcf.sha256 != self._checksum:
            raise DataError(
                f"{self.vcf.path}: has changed while it was read, but must not. Start again."
            )
