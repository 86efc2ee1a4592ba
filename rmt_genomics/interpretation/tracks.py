"""Attributions along a record: what is explained, the track, its top regions.

A *score* is the logit of one class, or the value of a regression in the unit of its label. An
attribution says what each base, or each piece of a record, adds to it. All coordinates are 0-based,
half-open and on the forward strand.

Dimensions: b batch, c classes, d model width, e features, n base pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.bidirectional_encoder import encode_long
from rmt_genomics.model.classifier import Encoding
from rmt_genomics.rmt.runtime import evaluating

REGION_BP = 20  # of a top region, before neighbours are joined
MOST_REGIONS = 20


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

    def of_record(self, codes: Codes) -> float:
        """Return the score of a record."""
        return float(self.of_logits(logits_of_record(self.model, codes))[0])

    def _no_features(self, strands: Float[Tensor, "b two_d"]) -> Float[Tensor, "b e"]:
        return strands.new_zeros(len(strands), self.model.config.num_sequence_features)


def logits_of_record(model: RMTClassifier, codes: Codes) -> Float[Tensor, "1 c"]:
    """Return the logits of one record, read a block of segments at a time."""
    with evaluating(model), torch.inference_mode():
        features = model.sequence_features(torch.from_numpy(codes)[None])
        return model.logits(Encoding(encode_long(model.encoder, codes), *features))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Attribution:
    """What each base, or each piece, of a record adds to a score."""

    record: str
    method: str
    class_name: str
    length: int
    """Of the record in bp."""

    score: float
    """Of the record."""

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
    regions = [region for region in regions if region.value]
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
