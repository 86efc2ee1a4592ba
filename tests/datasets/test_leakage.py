"""The audit finds what was planted, and nothing when nothing was."""

import json
import re
import warnings

import pytest

from rmt_genomics.datasets import Example, LabelScheme, Split
from rmt_genomics.datasets.leakage import Audit, audit, warn_of
from rmt_genomics.dna import reverse_complement
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.datasets.toys import MemoryStore, dna, mutated, whole

CLEAN = {f"r{place}": dna(400, place) for place in range(12)}


def split_of(examples: list[Example]) -> Split:
    """Six to train, then four to validation, then the rest to test."""
    return Split(tuple(examples[:6]), tuple(examples[6:10]), tuple(examples[10:]))


def audited(sequences: dict[str, str]) -> Audit:
    store = MemoryStore(sequences)
    examples = whole(store)
    return audit(store, split_of(examples), LabelScheme.of(examples))


def test_nothing_is_found_where_nothing_is() -> None:
    found = audited(CLEAN)

    assert (found.near_duplicate_pairs, found.near_duplicates, found.overlapping) == (0, (), 0)
    assert found.touched == {"validation": 0.0, "test": 0.0}
    assert list(found.warnings()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of(found, strict=True)


PLANTED = {
    "duplicate": CLEAN["r1"],
    "reverse complement": reverse_complement(CLEAN["r1"]),
    "fragment": CLEAN["r1"][100:300],
    "mutated copy on the other strand": reverse_complement(mutated(CLEAN["r1"], 0.01, seed=0)),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_what_was_planted_is_found(planted: str) -> None:
    found = audited({**CLEAN, "r7": planted})

    assert found.near_duplicate_pairs == 1
    (pair,) = found.near_duplicates
    assert (pair.first, pair.first_part) == ("r1", "train")
    assert (pair.second, pair.second_part) == ("r7", "validation")
    assert pair.similarity > 0.7
    assert found.touched == {"validation": 0.25, "test": 0.0}


def test_a_duplicate_within_a_part_is_no_leak() -> None:
    found = audited({**CLEAN, "r2": CLEAN["r1"], "r7": CLEAN["r8"]})

    assert found.near_duplicate_pairs == 0


def test_pairs_are_counted_and_five_shown_the_most_similar_first() -> None:
    copies = {
        f"r{place}": mutated(CLEAN["r0"], 0.003 * (10 - place), place) for place in range(4, 10)
    }

    found = audited({**CLEAN, **copies})

    assert found.near_duplicate_pairs > 5
    assert len(found.near_duplicates) == 5
    shares = [pair.similarity for pair in found.near_duplicates]
    assert shares == sorted(shares, reverse=True)


def test_overlapping_intervals_are_found() -> None:
    store = MemoryStore({"chr1": dna(9000, 0)})
    places = [(0, 1000), (2000, 3000), (2990, 4000), (5000, 6000)]
    train, other, validation, test = (
        Example(Interval("chr1", *place), whole=False, labels=("ab"[place[0] == 0],))
        for place in places
    )

    found = audit(
        store, Split((train, other), (validation,), (test,)), LabelScheme.of((train, other))
    )

    assert found.overlapping == 1
    assert found.overlaps == (("chr1:2000-3000(+)", "chr1:2990-4000(+)"),)
    assert found.near_duplicate_pairs == 0
    with pytest.warns(RMTGenomicsWarning, match=r"1 examples overlap .* chr1:2990-4000\(\+\) and"):
        warn_of(found, strict=False)


def test_what_cannot_be_compared_is_counted() -> None:
    found = audited({**CLEAN, "r3": "ACGT", "r11": "N" * 90})

    assert found.not_compared == 2
    assert "Not compared, for lack of k-mers without N: 2 examples." in found.summary()


def test_the_json_form_says_it_all() -> None:
    found = audited({**CLEAN, "r7": CLEAN["r1"]}).to_json()

    assert json.loads(json.dumps(found))["near_duplicates"] == [
        {
            "first": "r1",
            "first_part": "train",
            "second": "r7",
            "second_part": "validation",
            "similarity": 1.0,
        }
    ]
    assert found["examples"] == {"train": 6, "validation": 4, "test": 2}
    assert set(found["probes"]) == {"length", "gc", "n", "all"}
    assert len(found["warnings"]) == 1


def test_the_summary_says_it_in_sentences_with_numbers() -> None:
    summary = audited({**CLEAN, "r7": reverse_complement(CLEAN["r1"])}).summary()

    assert summary.startswith(
        "Near-duplicates in different parts: 1 pairs share at least 50% of their 15-mers, on "
        "either strand (25.0% of validation and 0.0% of test).\n"
        "  r1 (train) and r7 (validation): 100.0% shared.\n"
        "Examples that overlap one of another part: 0.\n"
        "AUROC on validation of what is not sequence: length 0.500, GC "
    )
    assert "\nWarning: 25.0% of validation and 0.0% of test are near-duplicates of" in summary


def test_leaks_are_warned_of_with_numbers_and_a_remedy() -> None:
    found = audited({**CLEAN, "r7": CLEAN["r1"]})

    with pytest.warns(
        RMTGenomicsWarning,
        match=re.escape(
            "25.0% of validation and 0.0% of test are near-duplicates of examples in another part "
            "(such as r1 in train and r7 in validation, 100% of their 15-mers shared), but a score "
            "is only fair on what is new. Split anew with: rmt-genomics split --by homology."
        ),
    ):
        warn_of(found, strict=False)


def test_strict_refuses_in_one_line() -> None:
    found = audited({**CLEAN, "r7": CLEAN["r1"]})

    with pytest.raises(
        DataError, match="the split leaks, but --strict trains on none that"
    ) as told:
        warn_of(found, strict=True)

    assert "\n" not in str(told.value)
    assert "25.0% of validation" in str(told.value)


@pytest.mark.parametrize(("count", "warned"), [(80, True), (38, False)])
def test_a_telling_probe_is_warned_of_unless_few_examples_may_be_luck(
    count: int,
    warned: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    store = MemoryStore({f"r{place}": dna(60 + place % 2, place) for place in range(count)})
    examples = whole(store)
    split = Split(tuple(examples[: count // 2]), tuple(examples[count // 2 :]), ())

    found = audit(store, split, LabelScheme.of(examples))

    assert found.probes["length"] == 1.0
    expected = ["length alone tells the labels apart (AUROC 1.000 on validation), but a model sho"]
    assert [text[: len(expected[0])] for text in found.warnings()] == expected * warned
