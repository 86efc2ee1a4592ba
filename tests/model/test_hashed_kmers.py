"""Hashed k-mer linear model: the right sums, the same on both strands and in any batch."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.model import (
    RMTClassifier,
    classifier,
)
from rmt_genomics.model import (
    kmer_features as wide,
)
from rmt_genomics.model.batching import pad
from rmt_genomics.model.kmer_features import HashedKmerLinear, hash_kmers
from tests.model.toys import toy

EXACT = {"rtol": 1e-10, "atol": 1e-10}
letters = st.text("ACGTN", min_size=1, max_size=60)
batches = st.lists(letters, min_size=1, max_size=3)


def filled(*others: str, **changes: object) -> RMTClassifier:
    """A toy whose weights of single k-mers are not zero, as they are at first."""
    model = toy(features=("wide:1,3,11", *others), **changes)
    assert model.wide is not None
    torch.nn.init.normal_(model.wide.weight)
    return model


def kmers_of(sequence: str, k: int) -> Counter[str]:
    """Count k-mers without N, each under the name that sorts first of its two strands."""
    every = (sequence[i : i + k] for i in range(len(sequence) - k + 1))
    return Counter(min(each, reverse_complement(each)) for each in every if "N" not in each)


@given(sequence=letters, at_once=st.integers(1, 30))
def test_the_logits_are_those_of_a_dictionary_of_weights(sequence: str, at_once: int) -> None:
    torch.manual_seed(0)
    part = HashedKmerLinear((2, 5), 3).double()
    torch.nn.init.normal_(part.weight)
    expected = torch.zeros(3, dtype=torch.float64)
    for which, k in enumerate((2, 5)):
        found = kmers_of(sequence, k)
        total = sum(found.values())
        for kmer, count in found.items():
            number = int("".join(str("ACGT".index(letter)) for letter in kmer), 4)
            weight = part.weight[which * wide.NUM_BUCKETS + number].detach()
            expected += weight * count / total * min(total, 4**k / 2) ** 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide, "BP_AT_ONCE", at_once)
        logits = part(torch.from_numpy(encode(sequence))[None])[0]

    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)


@given(sequence=letters, k=st.sampled_from([1, 2, 9, 10, 13, 16]))
def test_a_kmer_has_one_number_on_both_strands(sequence: str, k: int) -> None:
    if len(sequence) < k:
        return
    here, known = hash_kmers(torch.from_numpy(encode(sequence))[None], k)
    there, known_there = hash_kmers(torch.from_numpy(encode(reverse_complement(sequence)))[None], k)

    assert here.tolist() == there.flip(1).tolist()
    assert known.tolist() == known_there.flip(1).tolist()
    assert ((here >= 0) & (here < wide.NUM_BUCKETS)).all()


@pytest.mark.parametrize("k", [12, 16])
def test_long_kmers_are_spread_evenly(k: int) -> None:
    codes = torch.randint(0, 4, (1, wide.NUM_BUCKETS + k - 1), dtype=torch.uint8)

    numbers, _ = hash_kmers(codes, k)

    share = len(numbers.unique()) / wide.NUM_BUCKETS  # of as many balls into as many bins: 1 - 1/e
    assert share == pytest.approx(1 - torch.exp(torch.tensor(-1.0)).item(), abs=0.02)


@pytest.mark.parametrize("strand_head", ["concat", "symmetric"])
@given(sequences=batches)
def test_it_is_the_last_part_and_the_same_on_the_other_strand(
    strand_head: str, sequences: list[str]
) -> None:
    model = filled("kmer:2", strand_head=strand_head)
    here = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    there = model.encode(
        *pad([encode(reverse_complement(each)) for each in sequences])
    ).concatenated()

    assert here.shape == (len(sequences), model.config.encoding_width)
    torch.testing.assert_close(there[:, 16:], here[:, 16:], **EXACT)
    assert model.wide is not None
    alone = model.wide(pad([encode(each) for each in sequences])[0])
    torch.testing.assert_close(here[:, -3:], alone, **EXACT)
    logits = model(*pad([encode(each) for each in sequences]))
    head_input = torch.cat([model.hidden(here[:, :16]), here[:, 16:-3]], dim=1)
    torch.testing.assert_close(logits, model.head(head_input) + alone, **EXACT)


@given(sequences=batches)
def test_the_batch_changes_nothing(sequences: list[str]) -> None:
    model = filled()
    together = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    alone = torch.cat([model.encode(*pad([encode(each)])).concatenated() for each in sequences])

    torch.testing.assert_close(together, alone, **EXACT)


def test_dropout_leaves_it_alone() -> None:
    model = filled(dropout=0.9).train()
    with torch.no_grad():
        for parameter in (*model.encoder.parameters(), *model.head.parameters()):
            parameter.zero_()
    batch = pad([encode("ACGTTGCATTACG")])

    assert model.wide is not None
    torch.testing.assert_close(model(*batch), model.wide(batch[0]), **EXACT)


def test_a_long_record_has_the_logits_it_has_in_memory() -> None:
    model = filled()
    codes = encode("ACGTTGCANNCGTATTACGGACT" * 9)
    with torch.no_grad():
        expected = model.encode(*pad([codes])).concatenated()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "LONG_BP", 50)
        patch.setattr(wide, "BP_AT_ONCE", 30)
        with torch.no_grad():
            found = model._encode_codes([codes], lambda _: None).concatenated()

    torch.testing.assert_close(found, expected, **EXACT)


def test_sequences_without_any_kmer_have_finite_logits() -> None:
    found = filled().encode(*pad([encode("N"), encode("NNNNNN")])).concatenated()

    assert found.isfinite().all()
    assert (found[:, -3:] == 0).all()


def test_a_saved_model_is_the_model(tmp_path: Path) -> None:
    model = filled("protein:1", orf_codons=2)
    model.save_pretrained(tmp_path)

    again = RMTClassifier.from_pretrained(tmp_path)

    assert again.config == model.config
    np.testing.assert_allclose(
        again.predict_proba(["ACGTTGCATTACG"]), model.predict_proba(["ACGTTGCATTACG"]), rtol=1e-5
    )
