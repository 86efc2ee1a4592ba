"""The exceptions and the warning of rmt_genomics.

Every message follows one template, so that a user can act on it without reading the code:
``{where}: {what was found}, but {rule}. {remedy}``.
"""

import re


class RMTGenomicsError(Exception):
    """Base class of the errors of this package."""


class ConfigError(RMTGenomicsError, ValueError):
    """A setting has a value that cannot be used."""


class DataError(RMTGenomicsError, ValueError):
    """Input data (a FASTA file, a labels file, a sequence, an interval) breaks a rule."""


class CheckpointError(RMTGenomicsError):
    """A saved model or checkpoint is missing, damaged or of another kind than expected."""


class RMTGenomicsWarning(UserWarning):
    """Something was repaired or decided automatically."""


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "could not create a primitive",  # oneDNN, which does not say why
    "could not create a memory object",
)


def out_of_memory(error: BaseException) -> str | None:
    """Return what to do if an error of Python or PyTorch means that memory is exhausted."""
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    if not (isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)):
        return None
    return (
        f"memory ran out ({reason.rstrip('.')}), but more is needed than this process may use. "
        "Train with --set training.replay=true and a smaller training.batch_size, cut long records "
        "into intervals or windows, or give the process more memory."
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, for messages.

    Examples:
        >>> counted(1, "record"), counted(2000, "record")
        ('1 record', '2,000 records')
    """
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def three_digits(value: int | float) -> str:
    """Write a number with three significant digits, from 100 on as an integer.

    Examples:
        >>> [three_digits(value) for value in (0.98712, 0.0123, 12.34, 1234.5, 2.5e-05)]
        ['0.987', '0.0123', '12.3', '1,234', '2.50e-05']
    """
    if abs(value) >= 1e12:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value + 0.0:#.3g}"  # + 0.0: no -0.00


def one_line(text: str) -> str:
    r"""Return a message as one line for a terminal, whatever names and values it quotes.

    Line ends become blanks and what cannot be printed becomes an escape, so that no name can send
    a command to the terminal; words of more than 400 characters are cut in the middle.

    Examples:
        >>> one_line("record 'a\x1b[31m'\n  is red")
        "record 'a\\x1b[31m' is red"
    """
    text = re.sub(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text.rstrip())
    text = re.sub(r"\S{401,}", lambda word: f"{word[0][:200]}...{word[0][-100:]}", text)
    printable = (each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return "".join(printable)
