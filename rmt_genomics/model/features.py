"""Features of the whole sequence that a model reads beside its memory: the setting ``features``.

Each item is a kind and the length of its k-mers, such as ``kmer:6``; at most one of each kind.
``kmer_features`` computes them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Annotated, Any

from pydantic import Field

from rmt_genomics.errors import ConfigError
from rmt_genomics.model.settings import Settings, as_toml

LARGEST_K = {"kmer": 8, "stranded-kmer": 8, "protein": 5, "wide": 16}
"""The largest k of each kind, in the order in which the head reads them; all start from 1. 8 bases
are 65,536 k-mers, 5 amino acids in ten classes 100,000."""

_LENGTHS = re.compile(r"([1-9]\d?)(?:-([1-9]\d?))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Feature:
    """One item of ``features``, as ``parse_features`` has checked it.

    Examples:
        >>> Feature("wide", (6, 7, 8)).text, Feature("wide", (6, 8)).text
        ('wide:6-8', 'wide:6,8')
    """

    kind: str  # a key of ``LARGEST_K``
    ks: tuple[int, ...]  # lengths of k-mers, increasing; one, except of ``wide``

    @property
    def k(self) -> int:
        """Bases, or amino acids, in a k-mer; of several lengths the shortest."""
        return self.ks[0]

    @property
    def text(self) -> str:
        """The item as it is written in settings, in one way only."""
        first, last = self.ks[0], self.ks[-1]
        is_range = len(self.ks) > 1 and last - first == len(self.ks) - 1
        return f"{self.kind}:{f'{first}-{last}' if is_range else ','.join(map(str, self.ks))}"

    @property
    def num_hidden(self) -> int:
        """How many hidden layers of features the head reads."""
        return {"stranded-kmer": 2, "wide": 0}.get(self.kind, 1)


def parse_features(items: Sequence[str], key: str = "features") -> tuple[Feature, ...]:
    """Return the items in the order of ``LARGEST_K``; ``key`` is the setting's name in messages.

    Raises:
        ConfigError: If an item is of no known kind, has no allowed k, or is the second of its kind.

    Examples:
        >>> [feature.ks for feature in parse_features(["wide:6-8", "kmer:4"])]
        [(4,), (6, 7, 8)]
    """
    found: dict[str, Feature] = {}
    for item in items:
        kind, _, lengths = item.partition(":")
        if kind not in LARGEST_K:
            raise ConfigError(
                f"{key} has {as_toml(item)}, but its items must be kmer:K, stranded-kmer:K, "
                'protein:K or wide:K1-K2. For example: ["kmer:6"], or --set model.features=kmer:6.'
            )
        ks = _parse_lengths(lengths)
        if not ks or ks[-1] > LARGEST_K[kind] or (len(ks) > 1 and kind != "wide"):
            rule = f"K must be a whole number from 1 to {LARGEST_K[kind]}. For example: {kind}:4."
            if kind == "wide":
                rule = (
                    f"its lengths must be whole numbers from 1 to {LARGEST_K[kind]} that increase. "
                    "For example: wide:6-8, or wide:6,8,10,12."
                )
            raise ConfigError(f"{key} has {as_toml(item)}, but {rule}")
        if kind in found:
            raise ConfigError(
                f"{key} has {found[kind].text!r} and {item!r}, but must have one item of a kind at "
                "most. Leave one of them out."
            )
        found[kind] = Feature(kind, ks)
    return tuple(found[kind] for kind in LARGEST_K if kind in found)


def _parse_lengths(text: str) -> tuple[int, ...]:
    """Return the lengths of ``6``, ``6-8`` or ``6,8``; none if they do not increase from 1 on."""
    matches = [_LENGTHS.fullmatch(part) for part in text.split(",")]
    ranges = [range(int(each[1]), int(each[2] or each[1]) + 1) for each in matches if each]
    ks = tuple(chain.from_iterable(ranges))
    is_valid = (
        all(matches) and all(ranges) and all(one < next_one for one, next_one in pairwise(ks))
    )
    return ks if is_valid else ()


class OldFeatureKeys(Settings):
    """The keys of versions that had one setting for each kind; 0 and an empty list mean none."""

    composition_k: Annotated[int, Field(ge=0, lt=9)] = 0
    """``kmer``."""

    protein_k: Annotated[int, Field(ge=0, lt=6)] = 0
    """``protein``."""

    wide_k: tuple[Annotated[int, Field(ge=1, lt=17)], ...] = ()
    """``wide``."""

    def items(self) -> tuple[str, ...]:
        """Return the same as items of ``features``."""
        if any(first >= second for first, second in pairwise(self.wide_k)):
            raise ConfigError(
                f"wide_k is {list(self.wide_k)}, but must increase: each length above the one "
                "before."
            )
        old = {"kmer": (self.composition_k,), "protein": (self.protein_k,), "wide": self.wide_k}
        return tuple(Feature(kind, ks).text for kind, ks in old.items() if any(ks))


OLD_KEYS = tuple(OldFeatureKeys.model_fields)


def with_features(values: Any, section: str = "") -> Any:
    """Return settings in which ``features`` stands for the keys of earlier versions, if any.

    Raises:
        ConfigError: If both are there, or an old one has a value that is not allowed.
    """
    old = {name: values[name] for name in OLD_KEYS if isinstance(values, dict) and name in values}
    if not old:
        return values
    prefix = f"{section}." if section else ""
    if "features" in values:
        raise ConfigError(
            f"{prefix}{next(iter(old))} is set beside {prefix}features, but is its older form: "
            f"only one of them may be set. Remove {', '.join(old)}, and say it in features."
        )
    try:
        items = OldFeatureKeys(**old).items()
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from error
    return {name: values[name] for name in values if name not in old} | {"features": items}


def beside_memory(features: Iterable[Feature]) -> str:
    """Name the composition that the head reads in addition to the memory; may be empty.

    Examples:
        >>> beside_memory(parse_features(["protein:4", "wide:6-8"]))
        'the k-mer and protein composition'
    """
    names = {
        **{"kmer": "k-mer", "wide": "k-mer"},
        **{"stranded-kmer": "stranded k-mer", "protein": "protein"},
    }
    kinds = {feature.kind for feature in features}
    parts = dict.fromkeys(name for kind, name in names.items() if kind in kinds)
    return f"the {_listed(list(parts))} composition" if parts else ""


def describe(features: Iterable[Feature], orf_codons: int) -> str:
    """Say what the head reads of the whole sequence and what is added to its logits.

    A clause that follows the name of the head, or nothing.

    Examples:
        >>> describe(parse_features(["kmer:4", "stranded-kmer:2"]), 100)
        ', which also reads the frequencies of 4-mers and of 2-mers of each strand'
    """
    kinds = {
        "kmer": "of {}-mers",
        "stranded-kmer": "of {}-mers of each strand",
        "protein": "of {}-mers of amino acids (in ten classes) in open reading frames of at least "
        f"{orf_codons} codons",
    }
    features = list(features)
    read = [kinds[each.kind].format(each.k) for each in features if each.kind in kinds]
    clause = f", which also reads the frequencies {_listed(read)}" if read else ""
    for lengths in (", ".join(map(str, each.ks)) for each in features if each.kind == "wide"):
        clause += f"; a linear model on k-mers of {lengths} bases is added to its logits"
    return clause


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
