"""Attributions along a record: what is explained, the track, its top regions, files and a figure.

A *score* is the logit of one class, or the value of a regression in the unit of its label. An
attribution says what each base, or each piece of a record, adds to it. All coordinates are 0-based,
half-open and on the forward strand.

Dimensions: b batch, c classes, d model width, e features, n base pairs.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.bidirectional_encoder import BothStrands, readout_chunks, segment_blocks
from rmt_genomics.model.classifier import Encoding
from rmt_genomics.parsing import read_json, read_text
from rmt_genomics.rmt.runtime import evaluating

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REGION_BP = 20  # of a top region, before neighbours are joined
MOST_REGIONS = 20
LEAST_FRACTION = 0.05  # of the strongest region, that a region has
MANIFEST = "explain.json"
"""The file that lists what ``explain`` has written into a folder."""

_PROGRAM = "rmt-genomics explain"
_BEST_FIRST = ("integrated_gradients", "gradient", "mutagenesis", "occlusion", "occlusion_shuffle")
_LOGO_BP = 60
_BINS = 800  # of a figure
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "0.6"
_LETTERS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
_NAMES = {
    "gradient": "gradient x input",
    "integrated_gradients": "integrated gradients",
    "mutagenesis": "mutagenesis",
    "occlusion": "occlusion by N",
    "occlusion_shuffle": "occlusion by a shuffle",
}


@dataclass(frozen=True, slots=True)
class Target:
    """The score that is explained: the logit of a class, or the value of a regression."""

    model: RMTClassifier
    index: int  # of the class

    @classmethod
    def of(cls, model: RMTClassifier, class_name: str) -> "Target":
        """Return the score of a class by its name.

        Raises:
            ConfigError: If the model has no such class.
        """
        model.config.check_has_classes(model.folder or type(model).__name__)
        if class_name not in model.classes_:
            kind = "value" if model.config.task == "regression" else "class"
            raise ConfigError(
                f"class {class_name!r} is unknown, but must be a {kind} of the model: "
                f"{', '.join(model.classes_)}."
            )
        return cls(model, model.classes_.index(class_name))

    @property
    def name(self) -> str:
        """The name of the class, or of the number."""
        return self.model.classes_[self.index]

    @property
    def scale(self) -> float:
        """The unit of a regression, in multiples of which the model computes."""
        return self.model.config.target_std

    def of_logits(self, logits: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
        """Return the score of each row."""
        return logits[:, self.index] * self.scale + self.model.config.target_mean

    def network(self, strands: Float[Tensor, "b two_d"]) -> Float[Tensor, " b"]:
        """Return the score of the network alone, given the pooled memories of both strands."""
        features = self._no_features(strands) if self.model.config.num_sequence_features else None
        return self.of_logits(self.model.logits(Encoding(strands, features, None)))

    def features_of(self, kind: str, features: Float[Tensor, "1 e"]) -> Float[Tensor, ""]:
        """Return what one kind of features adds to the score through the head, which is linear."""
        dim, config = self.model.config.dim, self.model.config
        strands = features.new_zeros(1, 2 * dim)
        widths = {name: dim * each.num_hidden for name, each in config.features_by_kind.items()}
        widths.pop("wide", None)
        parts = [
            features if name == kind else features.new_zeros(1, width)
            for name, width in widths.items()
        ]
        both = [torch.cat(parts, dim=1), self._no_features(strands)]
        with_features, without = (
            self.of_logits(self.model.head(torch.cat([strands, each], dim=1)))[0] for each in both
        )
        return with_features - without

    def of_unknown(self, length_bp: int) -> float:
        """Return the score of a record that is all N.

        Its strands are equal, so that one of them is read.
        """
        model, codes = self.model, np.full(length_bp, UNKNOWN, np.uint8)
        with evaluating(model), torch.inference_mode():
            pooled = model.encoder.pool(_read_one_strand(model.encoder, codes))
            features = model.sequence_features(torch.from_numpy(codes)[None])
            return float(self.of_logits(model.logits(Encoding(pooled.repeat(1, 2), *features)))[0])

    def _no_features(self, strands: Float[Tensor, "b two_d"]) -> Float[Tensor, "b e"]:
        return strands.new_zeros(len(strands), self.model.config.num_sequence_features)


def _read_one_strand(encoder: BothStrands, codes: Codes) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the read-outs of the forward strand, a block of segments at a time."""
    memory = encoder.step.memory.initial(1)
    for segments, _ in segment_blocks(encoder, codes):
        forward = [each._replace(tokens=each.tokens[:1]) for each in segments]
        ((chunk, memory),) = readout_chunks(encoder, forward, memory)
        yield chunk, torch.ones(chunk.shape[:2], dtype=torch.bool, device=chunk.device)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Attribution:
    """What each base, or each piece, of a record adds to a score."""

    record: str
    method: str
    class_name: str
    """``NA`` if none was given and none is predicted, since no base of the record is known."""

    length: int
    """Of the record in bp."""

    score: float
    """Of the record; NaN, as is ``baseline_score``, if ``class_name`` is ``NA`` for this reason."""

    baseline_score: float
    """Of a record of this length that is all N."""

    starts: np.ndarray
    ends: np.ndarray
    values: np.ndarray
    """One per base or piece; positive where it speaks for the class."""

    by_base: np.ndarray | None = None
    """``(4, bases)`` float32: also of the bases that are not there; None for pieces."""

    through_memory: np.ndarray | None = None
    """For pieces: the part of the value that comes through the memory of other segments."""

    shares: np.ndarray | None = None
    """For pieces, with mean pooling: see ``occlusion.segment_shares``."""

    terms: dict[str, float] = field(default_factory=dict)
    """Parts of ``score - baseline_score``: ``network``, and each kind of features."""

    explained: float | None = None
    """Sum of the track over the whole record; None if it covers a part of it."""

    @property
    def unexplained(self) -> float | None:
        """What the sum of the track leaves of ``score - baseline_score``."""
        if self.explained is None:
            return None
        return self.score - self.baseline_score - self.explained


class Region(NamedTuple):
    """A part of a record where a track is strong."""

    start: int
    end: int
    value: float  # the sum of the track in it


def own_values(by_base: np.ndarray, codes: Codes) -> np.ndarray:
    """Return the entry of the base that is there, ``(n,)``; of N it is 0."""
    padded = np.concatenate([by_base, np.zeros_like(by_base[:1])])
    values: np.ndarray = padded[codes, np.arange(len(codes))]
    return values


def one_hot(codes: Codes) -> np.ndarray:
    """Return ``(1, 4, n)`` float32: A, C, G, T; zeros for N."""
    found: np.ndarray = (codes[None] == np.arange(UNKNOWN)[:, None]).astype(np.float32)
    return found[None]


def top_regions(attribution: Attribution, most: int = MOST_REGIONS) -> list[Region]:
    """Return the strongest parts of a track, strongest first, without overlap.

    Of a track of bases, windows of ``REGION_BP`` by the size of their sum, and windows that touch
    are joined; of pieces, the pieces.
    """
    starts, ends, values = attribution.starts, attribution.ends, attribution.values
    if attribution.by_base is not None and len(values) > REGION_BP:
        sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        windows = sums[REGION_BP:] - sums[:-REGION_BP]
        chosen = _peaks(np.abs(windows), most)
        joined = _joined([(index, index + REGION_BP) for index in chosen])
        regions = [
            Region(int(starts[a]), int(ends[b - 1]), float(sums[b] - sums[a])) for a, b in joined
        ]
    else:
        order = np.argsort(-np.abs(values), kind="stable")[:most]
        regions = [Region(int(starts[i]), int(ends[i]), float(values[i])) for i in order]
    least = LEAST_FRACTION * max((abs(region.value) for region in regions), default=0)
    regions = [region for region in regions if abs(region.value) >= max(least, 1e-30)]
    return sorted(regions, key=lambda region: -abs(region.value))


def _peaks(sizes: np.ndarray, most: int) -> list[int]:
    """Return the starts of the largest windows that do not overlap."""
    sizes, chosen = sizes.copy(), []
    for _ in range(most):
        index = int(sizes.argmax())
        if sizes[index] <= 0:
            break
        chosen.append(index)
        sizes[max(0, index - REGION_BP + 1) : index + REGION_BP] = 0
    return chosen


def _joined(windows: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join windows that touch each other."""
    current: tuple[int, int] | None = None
    for start, end in sorted(windows):
        if current is not None and start <= current[1]:
            current = current[0], end
            continue
        if current is not None:
            yield current
        current = start, end
    if current is not None:
        yield current


def best_track(attributions: Sequence[Attribution]) -> Attribution:
    """Return the track that says most precisely where the signal is."""
    return min(attributions, key=lambda each: _BEST_FIRST.index(each.method))


def check_bigwig() -> None:
    """Raise ConfigError unless the package that writes bigWig is installed."""
    if find_spec("pybigtools") is None:
        raise ConfigError(
            "--bigwig: needs the package pybigtools, but it is not installed. Install it: "
            "pip install 'rmt-genomics[bigwig]'"
        )


class TrackFiles:
    """Writes the tracks of one record after the other into a folder.

    ``METHOD.bedgraph`` and ``segments.tsv``, ``top_regions.bed``, ``summary.tsv`` have the lines of
    all records; each record has a figure, ``RECORD.png``, and ``RECORD.npz``.

    Args:
        folder: An empty folder.
        kinds: Of the features of the whole sequence that the model has.
    """

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        self.folder, self.kinds = folder, tuple(kinds)
        self.summary: list[str] = []
        """The lines of ``summary.tsv``."""
        self._lengths: dict[str, int] = {}
        self._stems: set[str] = set()
        self._add("summary.tsv", [])

    def add(self, codes: Codes, attributions: Sequence[Attribution]) -> None:
        """Write the tracks of one record; ``codes`` are those of the whole record."""
        first = attributions[0]
        self._lengths[first.record] = first.length
        for each in attributions:
            self._add(f"{each.method}.bedgraph", bedgraph_lines(each))
            if each.by_base is None:
                self._add("segments.tsv", _segment_lines(each))
        best = best_track(attributions)
        regions = top_regions(best)
        self._add("top_regions.bed", _bed_lines(best, regions))
        lines = [_summary_line(each, self.kinds) for each in attributions]
        self._add("summary.tsv", lines)
        stem = self._stem(first.record)
        tracks = {each.method: each for each in attributions if each.by_base is not None}
        if tracks:
            some = next(iter(tracks.values()))
            start, end = int(some.starts[0]), int(some.ends[-1])
            arrays = {method: each.by_base[None] for method, each in tracks.items()}  # type: ignore[index]
            arrays |= {"one_hot": one_hot(codes[start:end]), "start": np.array(start)}
            with (self.folder / f"{stem}.npz").open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        draw(codes, attributions, regions).savefig(self.folder / f"{stem}.png", dpi=150)

    def write_bigwigs(self) -> None:
        """Write ``METHOD.bw`` beside each bedGraph."""
        import pybigtools

        for path in sorted(self.folder.glob("*.bedgraph")):
            with path.open(encoding="utf-8") as lines:
                rows = (line.rstrip("\n").split("\t") for line in lines)
                entries = ((name, int(a), int(b), float(value)) for name, a, b, value in rows)
                pybigtools.open(str(path.with_suffix(".bw")), "w").write(self._lengths, entries)

    def write_manifest(self) -> list[str]:
        """Write the list of all files, and return it."""
        names = sorted([*(path.name for path in self.folder.iterdir()), MANIFEST])
        text = json.dumps({"program": _PROGRAM, "files": names}, indent=2)
        (self.folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")
        return names

    def _add(self, name: str, lines: Sequence[str] | Iterator[str]) -> None:
        headers = {
            "segments.tsv": "record\tstart\tend\tmethod\teffect\tthrough_memory\tshare",
            "summary.tsv": "\t".join([*_SUMMARY_COLUMNS, *self.kinds]),
        }
        path = self.folder / name
        with path.open("a", encoding="utf-8", newline="\n") as file:
            if name in headers and not file.tell():
                self._write(file, name, headers[name])
            for line in lines:
                self._write(file, name, line)

    def _write(self, file: IO[str], name: str, line: str) -> None:
        if name == "summary.tsv":
            self.summary.append(line)
        file.write(f"{line}\n")

    def _stem(self, record: str) -> str:
        """Return a name for the files of a record that every file system takes."""
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", record).lstrip(".")[:80] or "record"
        number, stem = 1, safe
        while stem.lower() in self._stems:
            number += 1
            stem = f"{safe}_{number}"
        self._stems.add(stem.lower())
        return stem


def files_of(folder: Path) -> list[str]:
    """Return the files that an earlier run has written into a folder, by its manifest.

    Raises:
        ConfigError: If there is no such manifest: nothing else is replaced.
    """
    path = folder / MANIFEST
    content: Any = None
    if path.is_file() and not path.is_symlink():
        content = read_json(
            read_text(path, "a list of files", ConfigError), str(path), "", ConfigError
        )
    names = content.get("files") if isinstance(content, dict) else None
    if not isinstance(names, list) or content.get("program") != _PROGRAM:
        raise ConfigError(
            f"{folder}: has no {MANIFEST} of an earlier run, but only files of such a run are "
            "replaced. Give another --out."
        )
    return [name for name in names if isinstance(name, str) and Path(name).name == name]


def bedgraph_lines(attribution: Attribution) -> Iterator[str]:
    """Yield ``record start end value``; neighbours of equal value are one line."""
    texts = [f"{value:.6g}" for value in attribution.values]
    starts, ends = attribution.starts.tolist(), attribution.ends.tolist()
    first = 0
    for index in range(1, len(texts) + 1):
        if index == len(texts) or texts[index] != texts[first]:
            yield f"{attribution.record}\t{starts[first]}\t{ends[index - 1]}\t{texts[first]}"
            first = index


def _segment_lines(attribution: Attribution) -> Iterator[str]:
    none = np.full(len(attribution.values), np.nan)
    columns = [attribution.values, attribution.through_memory, attribution.shares]
    numbers = np.stack([none if each is None else each for each in columns], axis=1)
    for start, end, row in zip(attribution.starts, attribution.ends, numbers, strict=True):
        cells = ("NA" if np.isnan(each) else f"{each:.6g}" for each in row)
        yield "\t".join([attribution.record, str(start), str(end), attribution.method, *cells])


def _bed_lines(attribution: Attribution, regions: Sequence[Region]) -> Iterator[str]:
    largest = max((abs(region.value) for region in regions), default=1.0)
    for region in sorted(regions):
        name = f"{attribution.class_name}:{region.value:+.4g}"
        score = round(1000 * abs(region.value) / largest)
        cells = (attribution.record, region.start, region.end, name, score, ".")
        yield "\t".join(map(str, cells))


_SUMMARY_COLUMNS = (
    *("record", "length", "class", "method", "score", "score_of_N"),
    *("explained", "unexplained", "network"),
)


def _summary_line(attribution: Attribution, kinds: Sequence[str]) -> str:
    terms = attribution.terms
    numbers = [attribution.score, attribution.baseline_score, attribution.explained]
    numbers += [attribution.unexplained, *(terms.get(kind) for kind in ("network", *kinds))]
    cells = ("NA" if each is None or np.isnan(each) else f"{each:.4f}" for each in numbers)
    texts = (attribution.record, attribution.length, attribution.class_name, attribution.method)
    return "\t".join([*map(str, texts), *cells])


def draw(codes: Codes, attributions: Sequence[Attribution], regions: Sequence[Region]) -> "Figure":
    """Draw the tracks of a record, and the strongest region with its letters.

    From top to bottom: effects of pieces; one track of bases, summed in bins, with the top regions;
    the bases of the strongest region, each letter as high as its value.
    """
    from matplotlib.figure import Figure

    pieces = [each for each in attributions if each.by_base is None]
    tracks = [each for each in attributions if each.by_base is not None]
    best = best_track(tracks) if tracks else None
    panels = len(pieces) + (2 if best is not None else 0)
    figure = Figure(figsize=(10, 1.0 + 2.0 * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, squeeze=False)[:, 0])
    first = attributions[0]
    title = (
        f"{first.record}: {first.class_name}, score {first.score:.3g} "
        f"({first.baseline_score:.3g} if all N)"
    )
    if np.isnan(first.score):
        title = f"{first.record}: no known base"
    figure.suptitle(_literal(title), fontsize=11)
    for each in pieces:
        _draw_pieces(axes.pop(0), each)
    if best is not None:
        _draw_bases(axes.pop(0), best, regions)
        _draw_logo(axes.pop(0), codes, best, regions)
    figure.align_ylabels()
    return figure


def _literal(text: str) -> str:
    return text.replace("$", r"\$")


def _draw_pieces(axes: "Axes", track: Attribution) -> None:
    edges = np.append(track.starts, track.ends[-1])
    axes.stairs(track.values, edges, fill=True, color=_BLUE, alpha=0.45, label="effect")
    if track.through_memory is not None and track.through_memory.any():
        axes.stairs(track.through_memory, edges, color=_ORANGE, label="through the memory")
        axes.legend(frameon=False, fontsize=8, ncols=2)
    _finish(axes, int(edges[0]), int(edges[-1]), _NAMES[track.method])


def _draw_bases(axes: "Axes", track: Attribution, regions: Sequence[Region]) -> None:
    size = max(1, len(track.values) // _BINS)
    starts = np.arange(0, len(track.values), size)
    edges = np.append(track.starts[starts], track.ends[-1])
    axes.stairs(np.add.reduceat(track.values, starts), edges, fill=True, color=_BLUE)
    least = (edges[-1] - edges[0]) / 300  # so that a region of a long record is seen
    for region in regions:
        middle, half = (region.start + region.end) / 2, max(least, region.end - region.start) / 2
        axes.axvspan(middle - half, middle + half, color=_ORANGE, alpha=0.2, linewidth=0)
    unit = "" if size == 1 else f",\nsum of {size} bp"
    _finish(axes, int(edges[0]), int(edges[-1]), f"{_NAMES[track.method]}{unit}")


def _draw_logo(axes: "Axes", codes: Codes, track: Attribution, regions: Sequence[Region]) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    first, end = int(track.starts[0]), int(track.ends[-1])
    if end - first > _LOGO_BP:
        middle = (regions[0].start + regions[0].end) // 2 if regions else (first + end) // 2
        begin = min(max(first, middle - _LOGO_BP // 2), end - _LOGO_BP)
    else:
        begin = first
    stop = min(end, begin + _LOGO_BP)
    values = track.values[begin - first : stop - first]
    for position, value in zip(range(begin, stop), values, strict=True):
        if codes[position] == UNKNOWN or not value:
            continue
        letter = "ACGT"[codes[position]]
        path = TextPath((0, 0), letter, size=1)
        box = path.get_extents()
        scale = Affine2D().translate(-box.x0, -box.y0).scale(0.95 / box.width, value / box.height)
        shape = scale.translate(position, 0).transform_path(path)
        axes.add_patch(PathPatch(shape, color=_LETTERS[letter], linewidth=0))
    largest = max(np.abs(values).max(initial=0), 1e-12)
    low, high = min(0.0, values.min(initial=0)), max(0.0, values.max(initial=0))
    axes.set_ylim(low - 0.05 * largest, high + 0.05 * largest)
    _finish(axes, begin, stop, f"{_NAMES[track.method]},\nstrongest region")
    axes.set_xlabel("base pairs from the start of the record (0-based)")


def _finish(axes: "Axes", start: int, end: int, label: str) -> None:
    from matplotlib.ticker import StrMethodFormatter

    axes.axhline(0, color=_GREY, linewidth=0.8)
    axes.set_xlim(start, end)
    axes.set_ylabel(label, fontsize=9)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.spines[["top", "right"]].set_visible(False)
