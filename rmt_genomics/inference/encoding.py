"""Records through the encoder while they are read, in the memory of one batch.

Consecutive records share a padded batch; answers do not depend on which (a law). A record of many
Mb is a batch of its own: only its base codes, one byte each, grow with it. Which records meet is
told by their lengths alone, so a share of the batches, or the rest of them after a stop, gives the
very bytes that all of them give.

Dimensions: b batch, d model width.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from rmt_genomics.dna import EncodedRecord
from rmt_genomics.errors import ConfigError
from rmt_genomics.inference.watch import Watch
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.long_records import LONG_BP

MAX_ROWS = 64
MAX_BP = LONG_BP


@dataclass(frozen=True, slots=True)
class Share:
    """Which batches are computed; by default all. All records are read nevertheless.

    Raises:
        ConfigError: If the share is not one of 1 to ``of``.
    """

    number: int = 1
    """Which of the shares, from 1."""

    of: int = 1
    """Into how many shares the batches are dealt, in turn."""

    after: int = 0
    """The first row that is still wanted."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ConfigError(
                f"the shard is {self.number}/{self.of}, but must be one of 1/{self.of} to "
                f"{self.of}/{self.of}."
            )

    def wants(self, batch: "Batch") -> bool:
        """Tell whether any row of a batch is to be computed."""
        is_ours = batch.number % self.of == self.number - 1
        return is_ours and batch.first + len(batch.records) > self.after


class Batch(NamedTuple):
    """Consecutive records that are computed together."""

    number: int
    """Counted from 0."""

    first: int
    """Place of its first record among all, from 0."""

    records: list[EncodedRecord]


def encode_records(
    model: RMTClassifier,
    records: Iterable[EncodedRecord],
    share: Share,
    watch: Watch,
) -> Iterator[tuple[Batch, Float[Tensor, "b e"]]]:
    """Yield the both-strand encodings of those batches that are wanted, in reading order.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one batch and one record.
        share: Which batches are wanted.
        watch: Is told how far it is.
    """
    for batch in batches(records):
        if share.wants(batch):
            read = [record.codes for record in batch.records]
            yield batch, model.encode_codes(read, on_read=watch.read)
            del read
        else:
            watch.skipped(sum(record.length for record in batch.records))
        del batch  # before the next is read


def batches(records: Iterable[EncodedRecord]) -> Iterator[Batch]:
    """Group consecutive records so that a padded batch stays small; a long one is alone."""
    number = first = widest = 0
    held: list[EncodedRecord] = []
    for record in records:
        if held and not _fits(len(held) + 1, max(widest, record.length)):
            yield Batch(number, first, held)
            number, first, held, widest = number + 1, first + len(held), [], 0
        held.append(record)
        widest = max(widest, record.length)
        del record
        if not _fits(len(held) + 1, widest):  # no other could join: nothing is read ahead
            yield Batch(number, first, held)
            number, first, held, widest = number + 1, first + len(held), [], 0
    if held:
        yield Batch(number, first, held)


def _fits(rows: int, widest: int) -> bool:
    return rows <= MAX_ROWS and rows * widest <= MAX_BP
