"""Notes on records for which a prediction may mean nothing: the column ``note``, and a warning.

They depend on the record alone, never on its batch or on the process that reads it.
"""

import warnings
from collections import Counter

from rmt_genomics.dna import EncodedRecord
from rmt_genomics.errors import RMTGenomicsWarning, three_digits
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.model.tokenization import N
from rmt_genomics.prediction.training_range import (
    HIGHER_GC,
    LOWER_GC,
    OTHER_KMERS,
    TrainingRange,
)

NO_BASE, SHORTER, LONGER = (
    "no known base",
    "shorter than any training example",
    "longer than any training example",
)
NOTES = (NO_BASE, SHORTER, LONGER, LOWER_GC, HIGHER_GC, OTHER_KMERS)


class Notes:
    """Finds the notes on records, and counts them.

    Args:
        config: The model's; its training lengths are 0 if they are not known.
        training_range: The composition of its training examples; None if that is not known.
    """

    def __init__(
        self, config: ClassifierConfig, training_range: TrainingRange | None = None
    ) -> None:
        self.config = config
        self.training_range = training_range
        self.num_records = 0
        self.counts: Counter[str] = Counter()

    def of(self, record: EncodedRecord) -> list[str]:
        """Return the notes on a record, in the order of ``NOTES``."""
        holds = {
            NO_BASE: record.codes.min() >= N,
            SHORTER: record.length < self.config.min_train_bp,
            LONGER: record.length > self.config.max_train_bp > 0,
        }
        found = [note for note, is_true in holds.items() if is_true]
        if self.training_range is not None:
            found += self.training_range.notes(record.codes)
        self.add(1, Counter(found))
        return found

    def add(self, num_records: int, counts: Counter[str]) -> None:
        """Add what was counted elsewhere, such as in another process."""
        self.num_records += num_records
        self.counts += counts

    def warn(self) -> None:
        """Warn once, with the number of records per note, if there are any."""
        if not self.counts:
            return
        found = ", ".join(f"{note}: {self.counts[note]:,}" for note in NOTES if self.counts[note])
        text, config = f"Notes on {self.num_records:,} sequences: {found}.", self.config
        known = []
        if config.max_train_bp:
            known.append(f"{config.min_train_bp:,} to {config.max_train_bp:,} bp")
        if self.training_range is not None:
            low, _, high = self.training_range.gc.tolist()
            known.append(f"a GC content of {three_digits(low)} to {three_digits(high)}")
        if known:
            text += (
                f" The training examples have {' and '.join(known)}: "
                "predictions for other sequences may mean nothing."
            )
        warnings.warn(text, RMTGenomicsWarning, stacklevel=3)
