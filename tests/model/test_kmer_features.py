"""K-mer composition: the right counts, the same on both strands and in any batch."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig, classifier
from rmt_genomics.model import kmer_features as composition
from rmt_genomics.model.batching import pad
from rmt_genomics.model.kmer_features import Composition, add_reverse_complement, count_kmers
from tests.model.toys import TINY, toy

EXACT = {"rtol": 1e-12, "atol": 1e-12}
letters = st.text("ACGTN", min_size=1, max_size=60)
batches = st.lists(letters, min_size=1, max_size=3)


def counted(sequence: str, k: int) -> list[int]:
    """Count with a dictionary, alphabetically."""
    found = Counter(sequence[i : i + k] for i in range(len(sequence) - k + 1))
    names = [""]
    for _ in range(k):
        names = [name + letter for name in names for letter in "ACGT"]
    return [found[name] for name in names]


@given(sequences=batches, k=st.integers(1, 4), at_once=st.integers(1, 30))
def test_counts_are_those_of_a_dictionary(sequences: list[str], k: int, at_once: int) -> None:
    codes, _ = pad([encode(each) for each in sequences])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "BP_AT_ONCE", at_once)
        found = count_kmers(codes, k)

    assert found.tolist() == [counted(each, k) for each in sequences]


@given(sequence=letters, k=st.integers(1, 4))
def test_both_strands_are_counted_as_one(sequence: str, k: int) -> None:
    here, there = (
        torch.tensor([counted(each, k)]) for each in (sequence, reverse_complement(sequence))
    )

    assert add_reverse_complement(here, k).tolist() == (here + there).tolist()


def test_features_are_those_of_the_formula() -> None:
    part = Composition(1, 2).double()
    with torch.no_grad():
        part.hidden.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0]]))
        part.hidden.bias.zero_()

    found = part(torch.tensor([[0, 0, 0, 1]], dtype=torch.uint8))  # AAAC and GTTT: 3 A C G 3 T

    expected = torch.tensor([[(4 * 3 / 8) ** 0.5 - 1, (4 * 1 / 8) ** 0.5 - 1]], dtype=torch.float64)
    torch.testing.assert_close(found, torch.nn.functional.gelu(expected), **EXACT)


@pytest.mark.parametrize("strand_head", ["concat", "symmetric"])
@given(sequences=batches)
def test_it_follows_the_strands_and_is_the_same_on_the_other_one(
    strand_head: str, sequences: list[str]
) -> None:
    model = toy(composition_k=3, strand_head=strand_head)
    here = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    there = model.encode(
        *pad([encode(reverse_complement(each)) for each in sequences])
    ).concatenated()

    assert here.shape == (len(sequences), model.config.encoding_width)
    torch.testing.assert_close(there[:, :16], here[:, :16].roll(8, dims=-1), **EXACT)
    assert torch.equal(there[:, 16:], here[:, 16:])
    if strand_head == "symmetric":
        torch.testing.assert_close(model.head(there), model.head(here), **EXACT)


@given(sequences=batches)
def test_the_batch_changes_nothing(sequences: list[str]) -> None:
    model = toy(composition_k=3)
    together = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    alone = torch.cat([model.encode(*pad([encode(each)])).concatenated() for each in sequences])

    torch.testing.assert_close(together, alone, **EXACT)


def test_a_long_record_has_the_composition_it_has_in_memory() -> None:
    model = toy(composition_k=3)
    codes = encode("ACGTTGCANNCGTATTACGGACT" * 9)
    with torch.no_grad():
        expected = model.encode(*pad([codes])).concatenated()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "LONG_BP", 50)
        with torch.no_grad():
            found = model._encode_codes([codes], lambda _: None).concatenated()

    torch.testing.assert_close(found, expected, **EXACT)


def test_sequences_without_any_k_mer_have_finite_features() -> None:
    assert (
        toy(composition_k=4)
        .encode(*pad([encode("AC"), encode("NNNNNN")]))
        .concatenated()
        .isfinite()
        .all()
    )


def test_half_precision_has_features_as_good_as_its_numbers() -> None:
    part, codes = Composition(3, 4), torch.randint(0, 4, (2, 400_000), dtype=torch.uint8)
    with torch.no_grad():
        expected = part(codes)
        found = part.half()(codes)

    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-3)


def test_the_head_reads_it() -> None:
    """Two sequences that differ in composition only: the memory is made deaf."""
    for strand_head in ("concat", "symmetric"):
        model = toy(composition_k=2, strand_head=strand_head)
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.zero_()
        first, second = model(*pad([encode("AAAAAAAA"), encode("ACGCGCGT")]))
        assert not torch.allclose(first, second)


@pytest.mark.parametrize("k", [-1, 9, True])
def test_other_lengths_are_refused(k: object) -> None:
    with pytest.raises(ConfigError, match="but must be a whole number of at least 0 and below 9"):
        ClassifierConfig(**{**TINY, "composition_k": k})
