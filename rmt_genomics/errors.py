"""The exceptions and the warning of rmt_genomics.

Every message follows one template, so that a user can act on it without reading the code:
``{where}: {what was found}, but {rule}. {remedy}``.
"""


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


def three_digits(value: float) -> str:
    """Write a number with three significant digits, from 100 on as an integer.

    Examples:
        >>> [three_digits(value) for value in (0.98712, 0.0123, 12.34, 1234.5, 2.5e-05)]
        ['0.987', '0.0123', '12.3', '1,234', '2.50e-05']
    """
    if abs(value) >= 1e12:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value + 0.0:#.3g}"  # + 0.0: no -0.00
