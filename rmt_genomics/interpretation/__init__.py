"""Where the evidence is: what each base and each segment of a record adds to a prediction."""

import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning
from rmt_genomics.interpretation.breakpoints import Breakpoints, find_breakpoints
from rmt_genomics.interpretation.gradients import (
    FeatureTerms,
    feature_terms,
    gradient_times_input,
    integrated_gradients,
)
from rmt_genomics.interpretation.occlusion import (
    Edit,
    PrefixMemory,
    mutate,
    occlude,
    segment_pieces,
    segment_shares,
    shuffle_dinucleotides,
)
from rmt_genomics.interpretation.tracks import Attribution, Region, Target, own_values, top_regions
from rmt_genomics.interpretation.variants import variant_effects
from rmt_genomics.interpretation.vcf import VariantEffect
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import encode_sequences

METHODS = ("gradient", "integrated_gradients", "occlusion", "occlusion_shuffle", "mutagenesis")
DEFAULT_METHODS = ("gradient", "integrated_gradients", "occlusion")
_OF_GRADIENTS = ("gradient", "integrated_gradients")
BY_PIECES = ("occlusion", "occlusion_shuffle")

__all__ = [
    "DEFAULT_METHODS",
    "METHODS",
    "Attribution",
    "Breakpoints",
    "Edit",
    "PrefixMemory",
    "RecordExplainer",
    "Region",
    "VariantEffect",
    "attribute",
    "check_has_gradients",
    "default_methods",
    "find_breakpoints",
    "occlude",
    "segment_pieces",
    "shuffle_dinucleotides",
    "top_regions",
    "variant_effects",
]

OnRead = Callable[[int], object]


class RecordExplainer:
    """Attributions of one record, by any method; what they share is computed once.

    Args:
        model: A trained model.
        codes: Base codes of the record, forward strand.
        record: Its name.
        class_name: The class whose logit is explained; None = the one that is predicted.
        on_read: Called now and then with the bp read since the last call.

    Raises:
        ConfigError: If the model has no such class.
    """

    def __init__(
        self,
        model: RMTClassifier,
        codes: Codes,
        record: str = "sequence",
        class_name: str | None = None,
        on_read: OnRead = lambda _: None,
    ) -> None:
        if class_name is not None:
            Target.of(model, class_name)  # before anything is computed
        self.codes, self.record, self.on_read = codes, record, on_read
        self.prefix = PrefixMemory(model, codes, on_read)
        best = model.classes_[int(self.prefix.logits[0].argmax())]
        self.target = Target.of(model, class_name or best)
        self.score = float(self.target.of_logits(self.prefix.logits)[0])
        has_base = bool((codes < UNKNOWN).any())
        self.has_class = has_base or class_name is not None
        if not has_base:
            warnings.warn(
                f"{record}: no known base, so nothing is predicted and nothing speaks for a class. "
                "Leave the record out.",
                RMTGenomicsWarning,
                stacklevel=2,
            )
        if not self.has_class:
            self.score = float("nan")

    @cached_property
    def baseline_score(self) -> float:
        """The score of a record of this length that is all N; NaN if there is no class."""
        return self.score if not self.has_class else self.target.of_unknown(len(self.codes))

    @cached_property
    def features(self) -> FeatureTerms:
        """What features of the whole sequence add."""
        return feature_terms(self.target, self.codes)

    def attribute(
        self, method: str, interval: tuple[int, int] | None = None, piece_bp: int | None = None
    ) -> Attribution:
        """Return the track of a method; see ``attribute``."""
        check_has_gradients(self.target.model, method)
        check_method(method, interval, piece_bp, self.record, len(self.codes))
        start, end = interval or (0, len(self.codes))
        if method in BY_PIECES:
            return self._pieces(method, interval, piece_bp)
        if method == "mutagenesis":
            by_base = mutate(self.prefix, self.target, start, end)
            own = own_values(by_base, self.codes[start:end])
            return self._track(method, np.arange(start, end), own, by_base=by_base)
        if method == "gradient":
            by_base = gradient_times_input(self.target, self.prefix)
        else:
            by_base = integrated_gradients(self.target, self.codes, self.on_read)
        by_base = by_base + self.features.bases
        own = own_values(by_base, self.codes)
        return self._track(
            method,
            np.arange(start, end),
            own[start:end],
            by_base=np.ascontiguousarray(by_base[:, start:end]),
            explained=float(own.sum(dtype=np.float64)),
        )

    def _pieces(
        self, method: str, interval: tuple[int, int] | None, piece_bp: int | None
    ) -> Attribution:
        start, end = interval or (0, len(self.codes))
        if piece_bp is not None:
            starts = range(start, end, piece_bp)
            pieces = [(each, min(each + piece_bp, end)) for each in starts]
        else:
            pieces = [
                each
                for each in segment_pieces(self.target.model, len(self.codes))
                if each[0] < end and each[1] > start
            ]
        is_shuffle = method == "occlusion_shuffle"
        found = occlude(self.prefix, pieces, shuffle=is_shuffle, on_read=self.on_read)
        values, through = (
            each[:, self.target.index] * self.target.scale
            for each in (found.effects, found.through_memory)
        )
        shares = None
        if self.target.model.config.pooling == "mean":
            shares = segment_shares(self.prefix, self.target.network, pieces)
        covers_all = (pieces[0][0], pieces[-1][1]) == (0, len(self.codes))
        return self._track(
            method,
            found.starts,
            values,
            ends=found.ends,
            through_memory=through,
            shares=shares,
            explained=float(values.sum()) if covers_all and not is_shuffle else None,
        )

    def _track(
        self, method: str, starts: np.ndarray, values: np.ndarray, **others: Any
    ) -> Attribution:
        difference = self.score - self.baseline_score
        terms = dict(self.features.terms)
        network = difference - sum(terms.values())
        return Attribution(
            record=self.record,
            method=method,
            class_name=self.target.name if self.has_class else "NA",
            length=len(self.codes),
            score=self.score,
            baseline_score=self.baseline_score,
            starts=starts,
            values=values,
            terms={"network": network, **terms},
            **{"ends": starts + 1, **others},
        )


def attribute(
    model: RMTClassifier | str | Path,
    sequence: Any,
    *,
    method: str = "integrated_gradients",
    class_name: str | None = None,
    interval: tuple[int, int] | None = None,
    piece_bp: int | None = None,
) -> Attribution:
    """Return what each base, or each piece, of a sequence adds to the logit of a class.

    Args:
        model: A trained model, or its folder.
        sequence: DNA letters, 5' to 3': text, ``Bio.Seq`` or ``SeqRecord``.
        method: ``gradient`` (times input) and ``integrated_gradients`` give a value to each base,
            as does ``mutagenesis``, which needs an interval; ``occlusion`` (by N) and
            ``occlusion_shuffle`` (of the bases, such that dinucleotides stay) one to each piece.
        class_name: The class; None = the one that is predicted. A regression has one name.
        interval: Start and end of the part that is returned, 0-based, half-open, on the forward
            strand. The whole sequence is read nevertheless.
        piece_bp: For occlusion: the length of a piece in bp; None = the segments of the model. Of
            more than 256 segments, as many neighbours as needed are one piece.

    Returns:
        The track, in the order of the forward strand. A regression is explained in the unit of its
        label.

    Raises:
        ConfigError: If there is no such method or class, mutagenesis has no interval, or
            ``piece_bp`` is given for a method without pieces.
        DataError: If the sequence is empty or holds a letter that is not a base, or the interval
            is not within it.

    Examples:
        ``attribute("runs/first", "ACGT...", method="gradient").values`` has one number per base.
    """
    if not isinstance(model, RMTClassifier):
        model = RMTClassifier.from_pretrained(model)
    (codes,) = encode_sequences([sequence], caller="attribute")
    if class_name is not None:
        Target.of(model, class_name)
    check_method(method, interval, piece_bp, "sequence", len(codes))
    check_has_gradients(model, method)
    return RecordExplainer(model, codes, class_name=class_name).attribute(
        method, interval, piece_bp
    )


def default_methods(model: RMTClassifier) -> tuple[str, ...]:
    """Return the methods that are applied where none is named."""
    if model.config.backbone is None:
        return DEFAULT_METHODS
    return tuple(name for name in DEFAULT_METHODS if name not in _OF_GRADIENTS)


def check_has_gradients(model: RMTClassifier, method: str) -> None:
    """Raise ConfigError at a method of gradients for a model whose tokens are those of others."""
    if method in _OF_GRADIENTS and model.config.backbone is not None:
        raise ConfigError(
            f"method {method} follows gradients to single bases, but the tokens of the pretrained "
            f"encoder {model.config.backbone.source!r} are not bases. Use occlusion."
        )


def check_method(
    method: str,
    interval: tuple[int, int] | None,
    piece_bp: int | None,
    record: str,
    length_bp: int,
) -> None:
    """Raise ConfigError or DataError unless a method can be applied, before any work is done."""
    if method not in METHODS:
        raise ConfigError(f"method is {method!r}, but must be one of {', '.join(METHODS)}.")
    if method == "mutagenesis" and interval is None:
        raise ConfigError(
            "method mutagenesis reads the record three times for each base, so it needs an "
            "interval. Give its start and end, of the part where other methods find something."
        )
    if piece_bp is not None and piece_bp < 1:
        raise ConfigError(f"piece_bp is {piece_bp}, but must be at least 1.")
    if piece_bp is not None and method not in BY_PIECES:
        raise ConfigError(
            f"piece_bp is {piece_bp}, but method {method} gives a value to each base, not to "
            "pieces. Use occlusion, or leave piece_bp out."
        )
    if interval is not None:
        Interval(record, *interval).check_within(length_bp)
