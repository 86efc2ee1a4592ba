"""Sequences as Python code has them: text, Biopython's Seq and SeqRecord, pandas, NumPy."""

from collections.abc import Iterable, Mapping
from typing import Any

from rmt_genomics.errors import DataError
from rmt_genomics.parsing import shown_type

_SEQUENCE_COLUMNS = ("sequence", "seq", "dna")


def as_letters(value: Any, where: str) -> str | bytes:
    """Return the letters of one sequence: text as it is, or those of a Seq or SeqRecord.

    ``where`` names the sequence in errors.

    Raises:
        DataError: If it is something else, or a Seq without letters.
    """
    if isinstance(value, str | bytes):
        return value
    from Bio.Seq import MutableSeq, Seq, UndefinedSequenceError
    from Bio.SeqRecord import SeqRecord

    sequence = value.seq if isinstance(value, SeqRecord) else value
    if not isinstance(sequence, Seq | MutableSeq):
        raise DataError(f"{where}: is {shown_type(value)}, but must be text, such as 'ACGT'.")
    try:
        return str(sequence)
    except UndefinedSequenceError as error:
        raise DataError(
            f"{where}: is a Seq that has a length, but no letters, and must have them. Read it "
            "from a file with its sequence."
        ) from error


def each_letters(values: Any, caller: str) -> list[str | bytes]:
    """Return the letters of some sequences: a list, a pandas Series, a NumPy array, an iterator.

    ``caller`` names the function in errors, of which those of one sequence have its index.

    Raises:
        DataError: If they are one sequence, a dict or a data frame, or one of them is no sequence.
    """
    problem = None
    if isinstance(values, Mapping) or (hasattr(values, "columns") and hasattr(values, "iloc")):
        problem = f"got {shown_type(values)}, but needs one column of sequences"
        remedy = _name_the_column(values)
    elif isinstance(values, str | bytes):
        problem, remedy = "got one string, but needs a list of strings", "Wrap it: [sequence]."
    elif type(values).__module__.startswith("Bio."):
        kind = shown_type(values)
        problem, remedy = f"got {kind}, but needs a list of them", "Wrap it: [sequence]."
    elif not isinstance(values, Iterable):
        kind = shown_type(values)
        problem, remedy = f"got {kind}, but needs a list of them", "Pass ['ACGT', ...]."
    if problem is not None:
        raise DataError(f"{caller}: {problem}. {remedy}")
    return [as_letters(value, f"sequence {index}") for index, value in enumerate(values)]


def _name_the_column(table: Any) -> str:
    names = [str(name) for name in table]
    likely = [name for name in names if name.lower() in _SEQUENCE_COLUMNS]
    column = next(iter([*likely, *names]), "sequence")
    others = f" It has: {', '.join(names[:5])}." if len(names) > 1 else ""
    return f"Pass the column: table[{column!r}].{others}"
