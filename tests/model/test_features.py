"""The items of ``features``: what is allowed, one way to write them, and their older keys."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.features import LARGEST_K, Feature, beside_memory, describe, parse_features
from rmt_genomics.model.kmer_regression import KmerSpec
from rmt_genomics.model.pretrained import read_config
from tests.model.toys import TINY, toy

one_k = {kind: st.integers(1, largest).map(lambda k: (k,)) for kind, largest in LARGEST_K.items()}
several = st.sets(st.integers(1, 16), min_size=1).map(lambda ks: tuple(sorted(ks)))
any_features = st.fixed_dictionaries({}, optional={**one_k, "wide": several})


@given(any_features, st.randoms(use_true_random=False))
def test_an_item_is_read_as_it_was_written_in_any_order(ks: dict, rng) -> None:
    features = [Feature(kind, ks[kind]) for kind in LARGEST_K if kind in ks]
    items = [feature.text for feature in features]
    rng.shuffle(items)

    assert parse_features(items) == tuple(features)


def test_lengths_are_a_range_or_a_list_and_are_written_in_one_way() -> None:
    texts = {
        "wide:6": "wide:6",
        "wide:6-8": "wide:6-8",
        "wide:6,7,8": "wide:6-8",
        "wide:6,8,10,12": "wide:6,8,10,12",
        "wide:1-16": "wide:1-16",
    }

    assert {text: parse_features([text])[0].text for text in texts} == texts
    assert parse_features(["wide:6-8"])[0].ks == (6, 7, 8)


K_RULE = "but K must be a whole number from 1 to "
WIDE_RULE = "but its lengths must be whole numbers from 1 to 16 that increase."
REFUSED = [
    (
        ["kmr:6"],
        "features has 'kmr:6', but its items must be kmer:K, stranded-kmer:K, protein:K or",
    ),
    (["none"], "features has 'none', but its items must be kmer:K, "),
    ([""], "features has '', but its items must be kmer:K, "),
    ([" kmer:6"], "features has ' kmer:6', but its items must be kmer:K, "),
    (['["kmer:6"]'], "features has '[\"kmer:6\"]', but its items must be kmer:K, "),
    (["kmer"], f"features has 'kmer', {K_RULE}8. For example: kmer:4."),
    (["kmer:0"], f"features has 'kmer:0', {K_RULE}8."),
    (["kmer:9"], f"features has 'kmer:9', {K_RULE}8."),
    (["kmer:4-6"], f"features has 'kmer:4-6', {K_RULE}8."),
    (["kmer:4,6"], f"features has 'kmer:4,6', {K_RULE}8."),
    (["kmer:04"], f"features has 'kmer:04', {K_RULE}8."),
    (["kmer:٤"], f"features has 'kmer:٤', {K_RULE}8."),  # a digit, but not ASCII
    (["stranded-kmer:9"], f"features has 'stranded-kmer:9', {K_RULE}8. For example: stranded-kmer"),
    (["protein:6"], f"features has 'protein:6', {K_RULE}5. For example: protein:4."),
    (["wide:"], f"features has 'wide:', {WIDE_RULE} For example: wide:6-8, or wide:6,8,10,12."),
    (["wide:0-3"], f"features has 'wide:0-3', {WIDE_RULE}"),
    (["wide:6-17"], f"features has 'wide:6-17', {WIDE_RULE}"),
    (["wide:8-6"], f"features has 'wide:8-6', {WIDE_RULE}"),
    (["wide:6,6"], f"features has 'wide:6,6', {WIDE_RULE}"),
    (["wide:6-8,8"], f"features has 'wide:6-8,8', {WIDE_RULE}"),
    (["wide:6,8-7"], f"features has 'wide:6,8-7', {WIDE_RULE}"),
    (["wide:6,"], f"features has 'wide:6,', {WIDE_RULE}"),
    (["kmer:4", "kmer:6"], "features has 'kmer:4' and 'kmer:6', but must have one item of a kind"),
]


@pytest.mark.parametrize(("items", "message"), REFUSED, ids=[str(items) for items, _ in REFUSED])
def test_other_items_are_refused(items: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ClassifierConfig(**TINY, features=items)

    assert str(error.value).startswith(message)
    assert str(error.value).endswith(".")


def test_a_symmetric_head_reads_nothing_that_differs_between_the_strands() -> None:
    with pytest.raises(ConfigError) as error:
        toy(features=("stranded-kmer:3",), strand_head="symmetric")

    assert str(error.value) == (
        "features has 'stranded-kmer:3', which differs between the strands, but strand_head is "
        "'symmetric'. Set strand_head to 'concat', or count both strands as one: kmer:3."
    )


OLD_AND_NEW = [
    ({"composition_k": 3}, ("kmer:3",)),
    ({"protein_k": 2}, ("protein:2",)),
    ({"wide_k": (2, 3, 5)}, ("wide:2,3,5",)),
    (
        {"composition_k": 2, "protein_k": 1, "wide_k": (2, 3, 4)},
        ("wide:2-4", "protein:1", "kmer:2"),
    ),
    ({"composition_k": 0, "wide_k": ()}, ()),
]


@pytest.mark.parametrize(("old", "features"), OLD_AND_NEW)
def test_the_older_keys_give_the_same_model_bit_for_bit(
    old: dict[str, object], features: tuple[str, ...]
) -> None:
    others = {"orf_codons": 4 if "protein_k" in old else 100, "segment_length": 30}
    models = [toy(**old, **others), toy(features=features, **others)]
    for model in models:
        if model.wide is not None:
            torch.nn.init.normal_(model.wide.weight, generator=torch.Generator().manual_seed(0))
    codes, lengths = torch.randint(0, 4, (2, 90), dtype=torch.uint8), torch.tensor([90, 17])
    here, there = (model(codes, lengths) for model in models)
    here.sum().backward()
    there.sum().backward()

    assert models[0].config == models[1].config
    assert torch.equal(here, there)
    for (name, one), (_, other) in zip(*(m.named_parameters() for m in models), strict=True):
        assert torch.equal(one, other), name
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad), name


def test_a_saved_model_with_older_keys_gives_its_old_answers(tmp_path: Path) -> None:
    model = toy(features=("kmer:2", "protein:1", "wide:2,5"), orf_codons=3)
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text())
    assert settings.pop("features") == ["kmer:2", "protein:1", "wide:2,5"]
    older = {"composition_k": 2, "protein_k": 1, "wide_k": [2, 5]}
    path.write_text(json.dumps({**settings, **older}))

    again = RMTClassifier.from_pretrained(tmp_path)

    assert again.config == model.config
    sequences = ["ACGT" * 9, "GGATTT"]
    assert (again.predict_proba(sequences) == model.eval().predict_proba(sequences)).all()
    again.save_pretrained(tmp_path / "copy")
    assert read_config(tmp_path / "copy/config.json") == model.config


@pytest.mark.parametrize(
    ("old", "message"),
    [
        (
            {"composition_k": -1},
            "composition_k is -1, but must be a whole number of at least 0 and",
        ),
        (
            {"composition_k": 9},
            "composition_k is 9, but must be a whole number of at least 0 and b",
        ),
        (
            {"composition_k": True},
            "composition_k is true, but must be a whole number of at least 0",
        ),
        ({"protein_k": 6}, "protein_k is 6, but must be a whole number of at least 0 and below 6"),
        ({"wide_k": (17,)}, "wide_k is [17], but must be a list, each element a whole number of a"),
        ({"wide_k": (8, 6)}, "wide_k is [8, 6], but must increase: each length above the one befo"),
        (
            {"composition_k": 2, "wide_k": (), "features": ("kmer:2",)},
            "composition_k is set beside features, but is its older form: only one of them may be "
            "set. Remove composition_k, wide_k, and say it in features.",
        ),
    ],
)
def test_older_keys_are_checked_as_ever(old: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ClassifierConfig(**TINY, **old)

    assert str(error.value).startswith(message)


def test_sentences_name_what_is_read() -> None:
    features = parse_features(["wide:3", "stranded-kmer:2", "protein:1"])

    assert beside_memory(features) == "the k-mer, stranded k-mer and protein composition"
    assert beside_memory(()) == describe((), 100) == ""
    assert describe(features, 9) == (
        ", which also reads the frequencies of 2-mers of each strand and of 1-mers of amino acids "
        "(in ten classes) in open reading frames of at least 9 codons; a linear model on k-mers of "
        "3 bases is added to its logits"
    )


def test_an_item_says_what_a_regression_counts() -> None:
    features = parse_features(["kmer:4", "stranded-kmer:3", "protein:2"])

    assert [KmerSpec.of(feature, 30) for feature in features] == [
        KmerSpec(4),
        KmerSpec(3, is_stranded=True),
        KmerSpec(2, orf_codons=30),
    ]
