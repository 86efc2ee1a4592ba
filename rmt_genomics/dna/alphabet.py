"""The DNA alphabet: from letters to base codes and back, and how to read the other strand.

Codes are the places of the letters in ``LETTERS``: A 0, C 1, G 2, T 3, N 4. Lower case (soft
masking) folds to upper case, U (RNA) is read as T, and every IUPAC code for "one of several
bases" is read as N. Anything else is an error: a model must never see what is not DNA.

The law of this file: ``reverse_complement`` and ``encode`` may change places,
``encode(reverse_complement(s)) == reverse_complement_codes(encode(s))``.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

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
_BAD = 255


def _code_of(letter: int) -> int:
    """Return the code of one byte, or ``_BAD``."""
    if letter not in _ALLOWED:
        return _BAD
    upper = chr(letter).upper().replace("U", "T")
    return LETTERS.index(upper) if upper in LETTERS else UNKNOWN


_CODES = bytes(_code_of(byte) for byte in range(256))
_COMPLEMENT_CODES = bytes([3, 2, 1, 0, 4]) + bytes([_BAD]) * 251


def encode(sequence: str | bytes) -> Codes:
    """Turn DNA letters into base codes, about 1 ns a letter.

    Args:
        sequence: DNA letters, 5' to 3', of either case; IUPAC codes are read as N. May be empty.

    Returns:
        One code a letter, in a new array that may be written to.

    Raises:
        DataError: If a letter is not DNA, naming the first one and its 0-based position.

    Examples:
        >>> encode("ACGTN").tolist()
        [0, 1, 2, 3, 4]
        >>> encode("acguR").tolist()
        [0, 1, 2, 3, 4]
    """
    return encode_pieces([sequence])


def encode_pieces(pieces: Iterable[str | bytes]) -> Codes:
    """Turn DNA letters that come piece by piece into the base codes of the whole.

    No piece is kept: a chromosome takes one byte a base, and never its letters beside it.

    Raises:
        DataError: As in ``encode``; the position is that in the whole.

    Examples:
        >>> encode_pieces(["ACG", "TN"]).tolist()
        [0, 1, 2, 3, 4]
    """
    codes = bytearray()
    for piece in pieces:
        found = _as_bytes(piece).translate(_CODES)
        if (position := found.find(_BAD)) >= 0:
            raise _not_dna(piece, position, starts_at=len(codes))
        codes += found
    return np.frombuffer(codes, dtype=np.uint8)  # of a bytearray: may be written to


def decode(codes: Codes) -> str:
    """Turn base codes back into upper-case letters.

    Examples:
        >>> decode(encode("gattacaR"))
        'GATTACAN'
    """
    assert codes.size == 0 or codes.max() <= UNKNOWN, "codes are 0 to 4"
    return codes.tobytes().translate(bytes(LETTERS, "ascii").ljust(256)).decode("ascii")


def check_letters(sequence: str | bytes) -> None:
    """Raise DataError, naming the first letter that is not DNA and its 0-based position."""
    if (position := _as_bytes(sequence).translate(_CODES).find(_BAD)) >= 0:
        raise _not_dna(sequence, position)


def reverse_complement(sequence: str) -> str:
    """Read the opposite strand.

    Args:
        sequence: DNA letters, 5' to 3'. Case and IUPAC codes are kept (R, a purine, becomes Y,
            a pyrimidine). May be empty.

    Returns:
        The opposite strand, 5' to 3', of the same length.

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
    check_letters(sequence)
    return sequence.translate(_COMPLEMENT)[::-1]


def reverse_complement_codes(codes: Codes) -> Codes:
    """Read the opposite strand of base codes; N stays N. Returns a new array.

    Examples:
        >>> decode(reverse_complement_codes(encode("AACGT")))
        'ACGTT'
    """
    complement = bytearray(codes.tobytes()).translate(_COMPLEMENT_CODES)
    complement.reverse()
    return np.frombuffer(complement, dtype=np.uint8)


def _as_bytes(sequence: str | bytes) -> bytes:
    """One byte a letter; a letter outside ASCII becomes '?', which is not DNA either."""
    return sequence.encode("ascii", "replace") if isinstance(sequence, str) else sequence


def _not_dna(sequence: str | bytes, position: int, *, starts_at: int = 0) -> DataError:
    letter = sequence[position] if isinstance(sequence, str) else chr(sequence[position])
    return DataError(
        f"position {starts_at + position} holds {letter!r}, but a DNA letter is one of "
        f"{', '.join(LETTERS)} or an IUPAC code. {_remedy(sequence, letter)}"
    )


def _remedy(sequence: str | bytes, letter: str) -> str:
    others = _as_bytes(sequence).translate(None, _ALLOWED).decode("latin-1").upper()
    if letter in _GAPS:
        return "This looks like an alignment: unaligned sequences are expected, take the gaps out."
    if any(protein in others for protein in _PROTEIN_ONLY):
        return "This looks like protein: DNA is expected."
    if "\x00" in others:
        return "This looks like a binary file: FASTA text is expected."
    return "Take this letter out, or write N where the base is unknown."
