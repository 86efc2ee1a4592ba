"""Protein composition: the right counts, the same on both strands and in any batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.dna.genetic_code import STOP, expected_kmer_frequencies
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import (
    ClassifierConfig,
    classifier,
)
from rmt_genomics.model import (
    kmer_features as proteins,
)
from rmt_genomics.model import (
    tokenization as tokens,
)
from rmt_genomics.model.batching import pad
from rmt_genomics.model.kmer_features import ProteinComposition, count_amino_acid_kmers
from tests.model.plain_amino_acid_kmers import amino_acid_kmers_of, by_class
from tests.model.toys import TINY, toy

EXACT = {"rtol": 1e-12, "atol": 1e-12}
letters = st.text("ACGTN", min_size=1, max_size=90) | st.text("ACG", min_size=1, max_size=90)
batches = st.lists(letters, min_size=1, max_size=3)


@given(
    sequences=batches,
    k=st.integers(1, 3),
    orf_codons=st.integers(1, 8),
    at_once=st.integers(1, 40),
    frames_at_once=st.integers(1, 3),
)
def test_counts_are_those_of_six_translated_frames(
    sequences: list[str], k: int, orf_codons: int, at_once: int, frames_at_once: int
) -> None:
    codes, _ = pad([encode(each) for each in sequences])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proteins, "BP_AT_ONCE", at_once)
        patch.setattr(proteins, "_FRAMES_AT_ONCE", frames_at_once)
        found = count_amino_acid_kmers(codes, k, orf_codons)

    assert found.tolist() == [
        by_class(amino_acid_kmers_of(each, k, orf_codons), k) for each in sequences
    ]


def test_short_reading_frames_do_not_count() -> None:
    codes, _ = pad([encode("ATGGCC" * 5 + "TAA")])  # ten codons, then a stop

    assert count_amino_acid_kmers(codes, 1, 10).sum() > 0
    assert count_amino_acid_kmers(codes, 1, 12).sum() == 0


def test_features_are_those_of_the_formula() -> None:
    part = ProteinComposition(1, 2, 1).double()
    with torch.no_grad():
        part.hidden.weight.copy_(torch.arange(STOP, dtype=torch.float64)[None])
        part.hidden.bias.zero_()
    codes = torch.from_numpy(encode("ATGGCC"))[None]

    found = part(codes)

    counts = torch.tensor(by_class(amino_acid_kmers_of("ATGGCC", 1, 2), 1), dtype=torch.float64)
    chance = torch.from_numpy(expected_kmer_frequencies(1))
    inputs = 30 * (counts / counts.sum() * chance / chance.square().sum()).sqrt()
    expected = torch.nn.functional.gelu(inputs @ part.hidden.weight[0])
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("others", [(), ("kmer:2",)])
@pytest.mark.parametrize("strand_head", ["concat", "symmetric"])
@given(sequences=batches)
def test_it_is_the_last_part_and_the_same_on_the_other_strand(
    strand_head: str, others: tuple[str, ...], sequences: list[str]
) -> None:
    model = toy(features=("protein:2", *others), orf_codons=3, strand_head=strand_head)
    here = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    there = model.encode(
        *pad([encode(reverse_complement(each)) for each in sequences])
    ).concatenated()

    assert here.shape == (len(sequences), model.config.encoding_width)
    torch.testing.assert_close(there[:, :16], here[:, :16].roll(8, dims=-1), **EXACT)
    assert torch.equal(there[:, 16:], here[:, 16:])
    assert model.proteins is not None
    alone = model.proteins(pad([encode(each) for each in sequences])[0])
    assert torch.equal(here[:, -8:], alone)
    if strand_head == "symmetric":
        torch.testing.assert_close(model.head(there), model.head(here), **EXACT)


@given(sequences=batches)
def test_the_batch_changes_nothing(sequences: list[str]) -> None:
    model = toy(features=("protein:2",), orf_codons=3)
    together = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    alone = torch.cat([model.encode(*pad([encode(each)])).concatenated() for each in sequences])

    torch.testing.assert_close(together, alone, **EXACT)


def test_a_long_record_has_the_features_it_has_in_memory() -> None:
    model = toy(features=("protein:2",), orf_codons=5)
    codes = encode("ACGTTGCANNCGTATTACGGACT" + "GCCATGGAT" * 20)
    with torch.no_grad():
        expected = model.encode(*pad([codes])).concatenated()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "LONG_BP", 50)
        patch.setattr(tokens, "BP_AT_ONCE", 30)
        with torch.no_grad():
            found = model._encode_codes([codes], lambda _: None).concatenated()

    torch.testing.assert_close(found, expected, **EXACT)


def test_sequences_without_any_reading_frame_have_finite_features() -> None:
    model = toy(features=("protein:3",))
    assert model.encode(*pad([encode("A"), encode("NNNNNN")])).concatenated().isfinite().all()


def test_half_precision_has_features_as_good_as_its_numbers() -> None:
    part, codes = ProteinComposition(2, 1, 4), torch.randint(0, 4, (2, 90_000), dtype=torch.uint8)
    with torch.no_grad():
        expected = part(codes)
        found = part.half()(codes)

    torch.testing.assert_close(found.float(), expected, rtol=2e-2, atol=2e-2)


def test_the_head_reads_it() -> None:
    """Two sequences that differ in their codons: the memory is made deaf."""
    for strand_head in ("concat", "symmetric"):
        model = toy(features=("protein:1",), orf_codons=2, strand_head=strand_head)
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.zero_()
        first, second = model(*pad([encode("AAAAAAAA"), encode("ACGCGCGT")]))
        assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"features": ("protein:2",), "orf_codons": 0},
            "orf_codons is 0, but must be a whole number of at",
        ),
        (
            {"orf_codons": 300},
            "orf_codons is 300, but has no effect: features has no item protein:K",
        ),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ClassifierConfig(**{**TINY, **changes})
