"""Which sequence files are meant: several, a folder of them, or standard input."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from rmt_genomics.dna.files import check_exists
from rmt_genomics.dna.formats import Format, format_in_folder
from rmt_genomics.errors import DataError, RMTGenomicsWarning

STDIN = Path("/dev/stdin")
_SHOWN = 5


def sequence_files(paths: Sequence[Path]) -> list[Path]:
    """Name the files that are to be read.

    Args:
        paths: Files, and folders that stand for all sequence files in them and in the folders
            below, by name; hidden ones are left out. ``-`` is standard input.

    Returns:
        The files, at least one, in the order of ``paths``.

    Raises:
        DataError: If a path is not there, or a folder has no sequence file or several kinds.
    """
    return [file for path in paths for file in _files_of(path)]


class NamesOfFiles:
    """Record names seen so far, to notice one that two files share."""

    def __init__(self) -> None:
        self._file_of: dict[str, Path] = {}

    def add(self, name: str, file: Path) -> None:
        """Note a record.

        Raises:
            DataError: If another file has a record of this name.
        """
        if (first := self._file_of.setdefault(name, file)) is not file:
            raise DataError(
                f"{file}: record {name!r} is in {first} too, but every record needs a name of its "
                "own. Rename or remove one of them."
            )


def _files_of(path: Path) -> list[Path]:
    if str(path) == "-":
        return [STDIN]
    check_exists(path, "a sequence file or a folder of such files")
    return _files_in(path) if path.is_dir() else [path]


def _files_in(folder: Path) -> list[Path]:
    kinds: dict[Path, Format] = {}
    others: list[str] = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if not file.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        if (kind := format_in_folder(file)) is None:
            others.append(str(inside))
        else:
            kinds[file] = kind
    if not kinds:
        raise DataError(
            f"{folder}: {len(others)} files are in this folder, but none is a sequence file "
            "(FASTA, FASTQ, GenBank, EMBL, or CSV or TSV with a sequence column). Check the name."
        )
    _check_one_kind(folder, kinds)
    if others:
        warnings.warn(
            f"{folder}: {len(others)} files are no sequence files and are left out "
            f"({', '.join(others[:_SHOWN])}{', ...' if len(others) > _SHOWN else ''}).",
            RMTGenomicsWarning,
            stacklevel=4,
        )
    return list(kinds)


def _check_one_kind(folder: Path, kinds: dict[Path, Format]) -> None:
    first = next(iter(kinds))
    for file, kind in kinds.items():
        if kind != kinds[first]:
            raise DataError(
                f"{folder}: {first.relative_to(folder)} is {kinds[first].name} and "
                f"{file.relative_to(folder)} is {kind.name}, but a folder must hold one kind. "
                "Put each kind into a folder of its own."
            )
