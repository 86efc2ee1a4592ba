"""The DNA alphabet: letters to base codes and back, reverse complement, base composition.

A base code is the index of a letter in ``LETTERS``: A 0, C 1, G 2, T 3, N 4. Lower case (soft
masking) is read like upper case, U (RNA) as T, and every IUPAC code for several bases as N.
Anything else is an error: a model must never see what is not DNA.

Reverse complement and encoding commute:
``encode(reverse_complement(s)) == reverse_complement_codes(encode(s))``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
import numpy.typing as npt

from rmt_genomics.dna.python_inputs import as_letters
from rmt_genomics.errors import DataError

LETTERS = "ACGTN"
UNKNOWN = LETTERS.index("N")

Codes = npt.NDArray[np.uint8]

_IUPAC = "ACGTUNRYSWKMBDHV"
_IUPAC_COMPLEMENT = "TGCAANYRSWMKVHDB"
_ALLOWED = (_IUPAC + _IUPAC.lower()).encode()
_COMPLEMENT = str.maketrans(_IUPAC + _IUPAC.lower(), _IUPAC_COMPLEMENT + _IUPAC_COMPLEMENT.lower())
_PROTEIN_ONLY = "EFILPQZ*"
_GAPS = "-."
_INVALID = 255


def _code_of(letter: int) -> int:
    if letter not in _ALLOWED:
        return _INVALID
    upper = chr(letter).upper().replace("U", "T")
    return LETTERS.index(upper) if upper in LETTERS else UNKNOWN


_CODES = bytes(_code_of(byte) for byte in range(256))
_COMPLEMENT_CODES = bytes([3, 2, 1, 0, 4]) + bytes([_INVALID]) * 251


def encode(sequence: Any) -> Codes:
    """Turn DNA letters, 5' to 3', into base codes, in about 1 ns per letter.

    The sequence is text or bytes, or Biopython's Seq or SeqRecord.

    The sequence may be of either case, or empty; IUPAC codes are read as N. The array is new, and
    may be written to.

    Raises:
        DataError: If a letter is not DNA, naming the first one and its 0-based position.

    Examples:
        >>> encode("ACGTN").tolist()
        [0, 1, 2, 3, 4]
        >>> encode("acguR").tolist()
        [0, 1, 2, 3, 4]
    """
    return encode_pieces([as_letters(sequence, "encode")])


def encode_pieces(pieces: Iterable[str | bytes]) -> Codes:
    """Turn the pieces of one sequence into the base codes of the whole.

    No piece is kept, so a chromosome takes one byte per base, without its letters.

    Raises:
        DataError: As in ``encode``; the position is that in the whole sequence.

    Examples:
        >>> encode_pieces(["ACG", "TN"]).tolist()
        [0, 1, 2, 3, 4]
    """
    codes = bytearray()
    for piece in pieces:
        piece_codes = _as_bytes(piece).translate(_CODES)
        if (position := piece_codes.find(_INVALID)) >= 0:
            raise _not_dna(piece, position, offset=len(codes))
        codes += piece_codes
    return np.frombuffer(codes, dtype=np.uint8)  # writable, because a bytearray is


def check_codes(codes: npt.ArrayLike, *, where: str = "codes", largest: int = UNKNOWN) -> Codes:
    """Return the base codes of one sequence as uint8, checked.

    Args:
        codes: Whole numbers, of any type.
        where: What they are called in an error.
        largest: 3 where N is not allowed.

    Raises:
        DataError: If they are not base codes, naming the first wrong one and its 0-based position.
    """
    array = np.asarray(codes)
    problem = None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        problem = f"is an array of {array.dtype} of shape {array.shape}"
    elif array.size and (array.max() > largest or array.min() < 0):
        position = int(np.argmax((array < 0) | (array > largest)))
        problem = f"position {position} holds {array[position]}"
    if problem is not None:
        raise DataError(
            f"{where}: {problem}, but base codes are whole numbers from 0 to {largest} "
            f"({', '.join(LETTERS[: largest + 1])}) in one row. Make them with dna.encode."
        )
    return array.astype(np.uint8, copy=False)


def decode(codes: Codes) -> str:
    """Turn base codes back into upper-case letters.

    Raises:
        DataError: If one is not a base code (see ``check_codes``).

    Examples:
        >>> decode(encode("gattacaR"))
        'GATTACAN'
    """
    letters = check_codes(codes).tobytes().translate(LETTERS.encode().ljust(256))
    return letters.decode()


def check_letters(sequence: str) -> str:
    """Return a sequence; or raise DataError, naming the first letter that is not DNA."""
    if (position := _as_bytes(sequence).translate(_CODES).find(_INVALID)) >= 0:
        raise _not_dna(sequence, position)
    return sequence


def reverse_complement(sequence: Any) -> str:
    """Return the reverse complement of a sequence: the opposite strand, 5' to 3'.

    Args:
        sequence: DNA letters, 5' to 3', as text or Biopython's Seq or SeqRecord. Case and IUPAC
            codes are kept (R, a purine, becomes Y, a pyrimidine). May be empty.

    Returns:
        Letters, of the same number.

    Raises:
        DataError: If a letter is not DNA.

    Examples:
        >>> reverse_complement("AACGT")
        'ACGTT'
        >>> reverse_complement("GATN")
        'NATC'
        >>> reverse_complement("acR")
        'Ygt'
    """
    letters = as_letters(sequence, "reverse_complement")
    text = letters.decode("latin-1") if isinstance(letters, bytes) else letters
    return check_letters(text).translate(_COMPLEMENT)[::-1]


def reverse_complement_codes(codes: Codes) -> Codes:
    """Return the reverse complement of base codes, in a new array; N stays N.

    Raises:
        DataError: If one is not a base code (see ``check_codes``).

    Examples:
        >>> decode(reverse_complement_codes(encode("AACGT")))
        'ACGTT'
    """
    complement = bytearray(check_codes(codes).tobytes()).translate(_COMPLEMENT_CODES)
    complement.reverse()
    return np.frombuffer(complement, dtype=np.uint8)


def pad_codes(sequences: Sequence[Codes]) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Stack sequences, at least one, padded with N at the end.

    Returns:
        Codes ``(sequences, longest)`` and the length of each sequence in bp.

    Raises:
        DataError: If one is not a base code (see ``check_codes``).

    Examples:
        >>> pad_codes([encode("ACG"), encode("T")])[0].tolist()
        [[0, 1, 2], [3, 4, 4]]
    """
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    padded = np.full((len(sequences), lengths.max()), UNKNOWN, dtype=np.uint8)
    for index, sequence in enumerate(sequences):
        padded[index, : len(sequence)] = check_codes(sequence, where=f"sequence {index}")
    return padded, lengths


def _as_bytes(sequence: str | bytes) -> bytes:
    # A letter outside ASCII becomes '?', which is not DNA either and keeps the position.
    return sequence.encode("ascii", "replace") if isinstance(sequence, str) else sequence


def _not_dna(sequence: str | bytes, position: int, *, offset: int = 0) -> DataError:
    letter = sequence[position] if isinstance(sequence, str) else chr(sequence[position])
    if "\udc80" <= letter <= "\udcff":  # a byte that is not UTF-8
        letter = chr(ord(letter) - 0xDC00)
    others = _as_bytes(sequence).translate(None, _ALLOWED).decode("latin-1").upper()
    if letter in _GAPS:
        remedy = "This looks like an alignment: unaligned sequences are expected, remove the gaps."
    elif any(protein in others for protein in _PROTEIN_ONLY):
        remedy = "This looks like protein: DNA is expected."
    elif "\x00" in others:
        remedy = "This looks like a binary file: FASTA text is expected."
    else:
        remedy = "Remove this letter, or write N where the base is unknown."
    return DataError(
        f"position {offset + position} holds {letter!r}, but a DNA letter is one of "
        f"{', '.join(LETTERS)} or an IUPAC code. {remedy}"
    )


@dataclass(frozen=True, slots=True)
class Composition:
    """The base composition of one sequence, counted on its letters as in the file."""

    length: int  # letters, in bp
    gc: float | None  # fraction of G and C among A, C, G, T and U; None if there is none of these
    n: float  # fraction of N in the length
    ambiguous: int
    """IUPAC letters other than N that stand for several bases, such as R; the model reads N."""

    lower_case: float  # fraction of lower-case letters (soft-masked, mostly repeats) in the length


def composition_of(sequence: str) -> Composition:
    """Count the letters of a sequence.

    Raises:
        DataError: If a letter is not DNA.

    Examples:
        >>> composition_of("GGCAnnRT")
        Composition(length=8, gc=0.6, n=0.25, ambiguous=1, lower_case=0.25)
    """
    upper, length = check_letters(sequence).upper(), len(sequence)
    num = {letter: upper.count(letter) for letter in "ACGTUN"}
    known = sum(num.values()) - num["N"]
    num_lower = length - len(sequence.encode("ascii").translate(None, ascii_lowercase.encode()))
    return Composition(
        length=length,
        gc=(num["G"] + num["C"]) / known if known else None,
        n=num["N"] / length if length else 0.0,
        ambiguous=length - known - num["N"],
        lower_case=num_lower / length if length else 0.0,
    )
