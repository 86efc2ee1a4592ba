"""Names of records: unique within a file, and over all files that are read together.

The name is the header up to its first blank, or with ``full`` the whole header. A name that is
twice in one file is an error, or its repeats are numbered. A name that is in several files gets the
name of its file in front, as in ``plasmids:contig_1``.
"""

import hashlib
import os
import warnings
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rmt_genomics.dna.alphabet import Codes, encode
from rmt_genomics.dna.compression import without_suffix
from rmt_genomics.dna.record_types import Entry
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import shown

DUPLICATES = ("error", "number")

_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class NameOptions:
    """How records are named.

    Raises:
        ConfigError: If ``duplicates`` is unknown.
    """

    duplicates: str = "error"
    """What to do about a name that is twice in one file: ``error``, or ``number``. The repeats of
    ``a`` are then ``a_2``, ``a_3``; one with the same header and sequence is left out."""

    full: bool = False
    """The name is the whole header, not only the part before the first blank."""

    def __post_init__(self) -> None:
        if self.duplicates not in DUPLICATES:
            raise ConfigError(
                f"--duplicate-names is {shown(self.duplicates)}, but must be one of "
                f"{', '.join(DUPLICATES)}."
            )

    @classmethod
    def of(cls, *, duplicates: str | None, full: bool | None) -> "NameOptions":
        """Return the options of a command, of which None is not given."""
        return cls(duplicates or "error", bool(full))

    def name_of(self, entry: Entry) -> str:
        """Return the name of an entry, as it is in the file."""
        return f"{entry.name} {entry.description}".rstrip() if self.full else entry.name


class FileNames:
    """The names in one file so far. ``where`` of its methods names the present entry."""

    def __init__(self, path: Path, unit: str, options: NameOptions, *, is_alone: bool) -> None:
        self.path = path
        self.unit = unit
        self.options = options
        self.is_alone = is_alone  # no other file is read
        self._index_of: dict[str, int] = {}
        self._numbers = array("q")  # of the entries
        self._headers = array("q")  # their hashes
        self._contents: list[bytes] = []  # digests of sequences, to recognise copies
        self._given: dict[str, str] = {}  # numbered names, each with the name that was there twice
        self._num_copies = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def check(self, name: str, entry: Entry, where: str) -> None:
        """Raise DataError if a name was there before and may not be."""
        if name in self._given:
            raise DataError(
                f"{where}: record {name!r} has the name that was given to a repeat of "
                f"{self._given[name]!r}, but record names must be unique. Rename one of them."
            )
        first = self._index_of.get(name)
        if first is None or self.options.duplicates == "number":
            return
        remedy = (
            "Pass --duplicate-names number to number the repeats (identical copies are then left "
            "out), or rename or remove one of them."
        )
        if not self.options.full and self._headers[first] != hash(entry.description):
            remedy = (
                "The headers differ, but names end at the first blank: pass --full-names to take "
                "whole headers as names, or --duplicate-names number to number the repeats."
            )
        raise DataError(
            f"{where}: record {name!r} was already at {self.unit} {self._numbers[first]}, but "
            f"record names must be unique. {remedy}"
        )

    def add(self, name: str, entry: Entry, sequence: str | Codes) -> str | None:
        """Add a checked name; return it, numbered if it is a repeat; None for a copy."""
        digest = b""
        if self.options.duplicates == "number":
            codes = encode(sequence) if isinstance(sequence, str) else sequence
            text = repr((entry.description, entry.columns)).encode(errors="surrogateescape")
            hashed = hashlib.blake2b(text, digest_size=_DIGEST_BYTES)
            hashed.update(codes.data)
            digest = hashed.digest()
        first = self._index_of.setdefault(name, len(self._numbers))
        if first == len(self._numbers):
            self._append(entry, digest)
            return name
        number = 1
        while (numbered := name if number == 1 else f"{name}_{number}") in self._index_of:
            if self._contents[self._index_of[numbered]] == digest and (
                number == 1 or numbered in self._given
            ):
                self._num_copies += 1
                return None
            number += 1
        self._index_of[numbered] = len(self._numbers)
        self._given[numbered] = name
        self._append(entry, digest)
        return numbered

    def _append(self, entry: Entry, digest: bytes) -> None:
        self._numbers.append(entry.number)
        self._headers.append(hash(entry.description))
        if digest:
            self._contents.append(digest)

    def is_numbered(self, name: str) -> bool:
        """Tell whether a name was given to a repeat."""
        return name in self._given

    def warn(self) -> None:
        """Warn of numbered names and of copies that were left out, with their counts."""
        parts = []
        if self._given:
            numbered, name = next(iter(self._given.items()))
            parts.append(
                f"{counted(len(self._given), 'repeat')} of a name numbered (such as {numbered!r}, "
                f"a repeat of {name!r})"
            )
        if self._num_copies:
            count = f"{self._num_copies:,} {'copy' if self._num_copies == 1 else 'copies'}"
            parts.append(f"{count} with the same name, header and sequence left out")
        if parts:
            text = f"{self.path}: {', '.join(parts)} (--duplicate-names number)."
            warnings.warn(text, RMTGenomicsWarning, stacklevel=4)


def stem_of(path: Path) -> str:
    """Return a file's name without compression and format: ``train`` for ``gue/train.csv.gz``."""
    stem = Path(without_suffix(path.name)).stem
    return os.fsencode(stem).decode(errors="backslashreplace")  # a name may not be UTF-8


def file_prefixes(files: Sequence[Path]) -> dict[Path, str]:
    """Return what names each of some files: its stem, with folders or suffixes where needed.

    Examples:
        >>> list(file_prefixes([Path("a/x.fa"), Path("a/y.fa")]).values())
        ['x', 'y']
        >>> list(file_prefixes([Path("in/a/x.fa"), Path("in/b/x.fa")]).values())
        ['a/x', 'b/x']
    """
    absolute = [file.absolute() for file in files]
    root = os.path.commonpath([file.parent for file in absolute]) if files else ""
    inside = [file.relative_to(root) for file in absolute]
    ways = (
        [_as_text(stem_of(file)) for file in files],
        [_as_text((file.parent / stem_of(file)).as_posix()) for file in inside],
        [_as_text(file.as_posix()) for file in inside],
    )
    names = next((way for way in ways if len(set(way)) == len(set(absolute))), ways[-1])
    return dict(zip(files, names, strict=True))


def _as_text(name: str) -> str:
    """Return the name of a file, which need not be UTF-8, as text that can be printed."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else "_" for each in text)
