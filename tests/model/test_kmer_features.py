"""K-mer composition: the right counts, as the strands have them, the same in any batch."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.model import RMTClassifier, classifier
from rmt_genomics.model import kmer_features as composition
from rmt_genomics.model.batching import pad
from rmt_genomics.model.kmer_features import Composition, count_kmers, reverse_complement_counts
from tests.model.toys import toy

EXACT = {"rtol": 1e-12, "atol": 1e-12}
letters = st.text("ACGTN", min_size=1, max_size=60)
batches = st.lists(letters, min_size=1, max_size=3)
EVERYTHING = ("kmer:3", "stranded-kmer:2", "protein:1", "wide:2")


def both_strands(model: RMTClassifier, sequences: list[str]) -> list[torch.Tensor]:
    """Encode sequences and their reverse complements."""
    return [
        model.encode(*pad([encode(read(each)) for each in sequences])).concatenated()
        for read in (str, reverse_complement)
    ]


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
def test_the_counts_of_the_other_strand_need_no_second_count(sequence: str, k: int) -> None:
    here, there = (
        torch.tensor([counted(each, k)]) for each in (sequence, reverse_complement(sequence))
    )

    assert reverse_complement_counts(here, k).tolist() == there.tolist()


def test_features_are_those_of_the_formula() -> None:
    part = Composition(1, 2).double()
    with torch.no_grad():
        part.hidden.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0]]))
        part.hidden.bias.zero_()

    found = part(torch.tensor([[0, 0, 0, 1]], dtype=torch.uint8))  # AAAC and GTTT: 3 A C G 3 T

    expected = torch.tensor([[(4 * 3 / 8) ** 0.5 - 1, (4 * 1 / 8) ** 0.5 - 1]], dtype=torch.float64)
    torch.testing.assert_close(found, torch.nn.functional.gelu(expected), **EXACT)


@given(sequences=batches)
def test_with_a_symmetric_head_it_is_the_same_on_the_other_strand(sequences: list[str]) -> None:
    model = toy(features=("kmer:3",), strand_head="symmetric")
    here, there = both_strands(model, sequences)

    assert here.shape == (len(sequences), model.config.encoding_width)
    torch.testing.assert_close(there[:, :16], here[:, :16].roll(8, dims=-1), **EXACT)
    assert torch.equal(there[:, 16:], here[:, 16:])
    torch.testing.assert_close(model.head(there), model.head(here), **EXACT)


@given(sequences=batches)
def test_the_other_strand_swaps_the_halves_of_stranded_features(sequences: list[str]) -> None:
    model = toy(features=EVERYTHING, orf_codons=2)
    here, there = both_strands(model, sequences)
    parts = [16, 8, 16, 8, 3]  # strands, k-mers, stranded k-mers, proteins, logits

    assert here.shape == (len(sequences), sum(parts)) == (len(here), model.config.encoding_width)
    strands, kmers, stranded, *others = torch.split(here, parts, dim=-1)
    torch.testing.assert_close(
        there, torch.cat([strands.roll(8, -1), kmers, stranded.roll(8, -1), *others], -1), **EXACT
    )
    assert torch.equal(there[:, 24:40], stranded.roll(8, -1))


@given(sequences=batches)
def test_the_batch_changes_nothing(sequences: list[str]) -> None:
    model = toy(features=EVERYTHING, orf_codons=2)
    together = model.encode(*pad([encode(each) for each in sequences])).concatenated()
    alone = torch.cat([model.encode(*pad([encode(each)])).concatenated() for each in sequences])

    torch.testing.assert_close(together, alone, **EXACT)


def test_a_long_record_has_the_features_it_has_in_memory() -> None:
    model = toy(features=EVERYTHING, orf_codons=2)
    assert model.wide is not None
    torch.nn.init.normal_(model.wide.weight)
    codes = encode("ACGTTGCANNCGTATTACGGACT" * 9)
    with torch.no_grad():
        expected = model.encode(*pad([codes])).concatenated()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "LONG_BP", 50)
        patch.setattr(composition, "BP_AT_ONCE", 30)  # k-mers are counted block by block
        with torch.no_grad():
            found = model._encode_codes([codes], lambda _: None).concatenated()

    torch.testing.assert_close(found, expected, **EXACT)


def test_sequences_without_any_k_mer_have_finite_features() -> None:
    assert (
        toy(features=("kmer:4",))
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
        model = toy(features=("kmer:2",), strand_head=strand_head)
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.zero_()
        first, second = model(*pad([encode("AAAAAAAA"), encode("ACGCGCGT")]))
        assert not torch.allclose(first, second)


def test_stranded_features_are_those_of_the_formula() -> None:
    part = Composition(1, 1, is_stranded=True).double()
    with torch.no_grad():
        part.hidden.weight.copy_(torch.tensor([[1.0, 0, 0, 0]]))
        part.hidden.bias.zero_()

    found = part(torch.tensor([[0, 0, 0, 1, 3, 4]], dtype=torch.uint8))  # AAACT and AGTTT

    expected = torch.tensor([[(4 * 3 / 5) ** 0.5 - 1, (4 * 1 / 5) ** 0.5 - 1]], dtype=torch.float64)
    torch.testing.assert_close(found, torch.nn.functional.gelu(expected), **EXACT)


def test_the_head_reads_what_differs_between_the_strands() -> None:
    """Two sequences that are each other's reverse complement: the memory is made deaf."""
    sequence = "AAACCAAACACA"
    for features, is_read in (("kmer:2",), False), (("stranded-kmer:2",), True):
        model = toy(features=features)
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.zero_()
        first, second = model(*pad([encode(sequence), encode(reverse_complement(sequence))]))
        assert torch.allclose(first, second) != is_read


def test_replay_does_not_change_the_gradient_of_a_model_with_features() -> None:
    gradients = []
    codes, lengths = torch.randint(0, 5, (2, 40), dtype=torch.uint8), torch.tensor([40, 13])
    for replay in (True, False):
        model = toy(features=EVERYTHING, orf_codons=2)
        model(codes, lengths, replay=replay).square().sum().backward()
        gradients.append({name: each.grad for name, each in model.named_parameters()})

    assert gradients[0]["stranded.hidden.weight"].abs().sum() > 0
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], **EXACT)
