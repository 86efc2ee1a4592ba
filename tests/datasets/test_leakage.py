"""The leakage audit finds what was planted, and nothing else; baseline probes."""

import json
import re
import warnings

import numpy as np
import pytest

from rmt_genomics.datasets import Example, LabelScheme, Split
from rmt_genomics.datasets import leakage as module
from rmt_genomics.datasets.leakage import FEATURES, Audit, audit, check_leakage, probe_labels
from rmt_genomics.dna import reverse_complement
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.datasets.toys import MemoryStore, dna, mutated, whole

CLEAN = {f"r{index}": dna(400, index) for index in range(12)}


def split_of(examples: list[Example]) -> Split:
    """Six to train, then four to validation, then the rest to test."""
    return Split(tuple(examples[:6]), tuple(examples[6:10]), tuple(examples[10:]))


def audited(sequences: dict[str, str]) -> Audit:
    store = MemoryStore(sequences)
    examples = whole(store)
    return audit(store, split_of(examples), LabelScheme.of(examples))


def test_a_clean_split_gives_no_warning() -> None:
    result = audited(CLEAN)

    assert (result.near_duplicate_pairs, result.near_duplicates, result.overlapping) == (0, (), 0)
    assert result.touched == {"validation": 0.0, "test": 0.0}
    assert list(result.warnings()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_leakage(result, strict=True)


PLANTED = {
    "duplicate": CLEAN["r1"],
    "reverse complement": reverse_complement(CLEAN["r1"]),
    "fragment": CLEAN["r1"][100:300],
    "mutated copy on the other strand": reverse_complement(mutated(CLEAN["r1"], 0.01, seed=0)),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_planted_near_duplicates_are_found(planted: str) -> None:
    result = audited({**CLEAN, "r7": planted})

    assert result.near_duplicate_pairs == 1
    (pair,) = result.near_duplicates
    assert (pair.first, pair.first_part) == ("r1", "train")
    assert (pair.second, pair.second_part) == ("r7", "validation")
    assert pair.similarity > 0.7
    assert result.touched == {"validation": 0.25, "test": 0.0}


def test_the_identity_is_the_one_that_was_asked_for() -> None:
    store = MemoryStore({**CLEAN, "r7": mutated(CLEAN["r1"], 0.05, seed=0)})
    examples = whole(store)

    loose, strict = (
        audit(store, split_of(examples), LabelScheme.of(examples), identity)
        for identity in (0.9, 0.98)
    )

    assert (loose.near_duplicate_pairs, strict.near_duplicate_pairs) == (1, 0)
    assert loose.highest_identity == strict.highest_identity
    assert strict.highest_identity == pytest.approx(0.95, abs=0.02)
    assert "of at least 98% estimated identity, on either strand (0.0% of" in strict.summary()


def test_duplicates_within_a_part_are_not_leakage() -> None:
    result = audited({**CLEAN, "r2": CLEAN["r1"], "r7": CLEAN["r8"]})

    assert result.near_duplicate_pairs == 0


def test_pairs_are_counted_and_five_shown_the_most_similar_first() -> None:
    copies = {
        f"r{index}": mutated(CLEAN["r0"], 0.003 * (10 - index), index) for index in range(4, 10)
    }

    result = audited({**CLEAN, **copies})

    assert result.near_duplicate_pairs > 5
    assert len(result.near_duplicates) == 5
    fractions = [pair.similarity for pair in result.near_duplicates]
    assert fractions == sorted(fractions, reverse=True)


def test_overlapping_intervals_are_found() -> None:
    store = MemoryStore({"chr1": dna(9000, 0)})
    places = [(0, 1000), (2000, 3000), (2990, 4000), (5000, 6000)]
    train, other, validation, test = (
        Example(Interval("chr1", *index), whole=False, labels=("ab"[index[0] == 0],))
        for index in places
    )

    result = audit(
        store, Split((train, other), (validation,), (test,)), LabelScheme.of((train, other))
    )

    assert result.overlapping == 1
    assert result.overlaps == (("chr1:2000-3000(+)", "chr1:2990-4000(+)"),)
    assert result.near_duplicate_pairs == 0
    with pytest.warns(RMTGenomicsWarning, match=r"1 example overlaps .* chr1:2990-4000\(\+\) and"):
        check_leakage(result, strict=False)


def test_examples_that_cannot_be_compared_are_counted() -> None:
    result = audited({**CLEAN, "r3": "ACGT", "r11": "N" * 90})

    assert result.not_compared == 2
    not_compared = "Not compared, because they have no k-mers without N, or none in the sample: 2"
    assert f"{not_compared} examples." in result.summary()


def test_the_json_form_is_complete() -> None:
    result = audited({**CLEAN, "r7": CLEAN["r1"]}).to_json()

    assert json.loads(json.dumps(result))["near_duplicates"] == [
        {
            "first": "r1",
            "first_part": "train",
            "second": "r7",
            "second_part": "validation",
            "similarity": 1.0,
            "identity": 1.0,
        }
    ]
    assert result["examples"] == {"train": 6, "validation": 4, "test": 2}
    assert set(result["probes"]) == {"length", "gc", "n", "all"}
    assert len(result["warnings"]) == 1


def test_the_summary_has_sentences_with_numbers() -> None:
    summary = audited({**CLEAN, "r7": reverse_complement(CLEAN["r1"])}).summary()

    assert summary.startswith(
        "Near-duplicates in different parts: 1 pair of at least 95% estimated identity, on "
        "either strand (25.0% of validation and 0.0% of test); the highest estimate is 100%.\n"
        "  r1 (train) and r7 (validation): 100% identity, 100.0% of the 15-mers shared.\n"
        "Examples that overlap an example of another part: 0.\n"
        "AUROC on validation without the sequence, from length 0.500, GC content "
    )
    assert "\nWarning: 25.0% of validation and 0.0% of test are near-duplicates of" in summary


def test_leakage_gives_a_warning_with_numbers_and_a_remedy() -> None:
    result = audited({**CLEAN, "r7": CLEAN["r1"]})

    with pytest.warns(
        RMTGenomicsWarning,
        match=re.escape(
            "25.0% of validation and 0.0% of test are near-duplicates of examples in another part "
            "(such as r1 in train and r7 in validation, of 100% estimated identity), but scores "
            "are only meaningful on new sequences. Make a new split: rmt-genomics split --by "
            "homology (if that was made at a higher identity, set data.identity to it)."
        ),
    ):
        check_leakage(result, strict=False)


def test_strict_refuses_in_one_line() -> None:
    result = audited({**CLEAN, "r7": CLEAN["r1"]})

    with pytest.raises(DataError, match="the split leaks, but --strict refuses such") as output:
        check_leakage(result, strict=True)

    assert "\n" not in str(output.value)
    assert "25.0% of validation" in str(output.value)


@pytest.mark.parametrize(("count", "warned"), [(80, True), (38, False)])
def test_a_predictive_probe_gives_a_warning_unless_there_are_few_examples(
    count: int,
    warned: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    store = MemoryStore({f"r{index}": dna(60 + index % 2, index) for index in range(count)})
    examples = whole(store)
    split = Split(tuple(examples[: count // 2]), tuple(examples[count // 2 :]), ())

    result = audit(store, split, LabelScheme.of(examples))

    assert result.probes["length"] == 1.0
    expected = ["length alone predicts the labels (AUROC 1.000 on validation), but a model should"]
    assert [text[: len(expected[0])] for text in result.warnings()] == expected * warned


COUNT = 60


def halves(examples: list[Example]) -> Split:
    return Split(tuple(examples[: COUNT // 2]), tuple(examples[COUNT // 2 :]), ())


def probe(sequences: list[str]) -> dict[str, float | None]:
    """Records are labelled a and b in turn."""
    store = MemoryStore({f"r{index}": item for index, item in enumerate(sequences)})
    examples = whole(store)
    return probe_labels(store, halves(examples), LabelScheme.of(examples))


TELLING = {
    "length": [dna(100 + 50 * (index % 2), index) for index in range(COUNT)],
    "gc": [("GC" if index % 2 else "AC") * 50 for index in range(COUNT)],
    "n": ["ACGT" * 20 + ("N" if index % 2 else "ACGT") * 20 for index in range(COUNT)],
}


def test_probes_are_uninformative_for_random_sequences_of_one_length() -> None:
    result = probe([dna(100, index) for index in range(COUNT)])

    assert (result["length"], result["n"]) == (0.5, 0.5)
    assert result["gc"] is not None
    assert 0.1 < result["gc"] < 0.9


@pytest.mark.parametrize("feature", FEATURES)
def test_each_probe_uses_its_feature(feature: str) -> None:
    result = probe(TELLING[feature])

    assert result[feature] == result["all"] == 1.0


def test_a_probe_can_use_a_middle_value() -> None:
    lengths = [100 if index % 2 else (50, 150)[index // 2 % 2] for index in range(COUNT)]

    assert probe(["A" * length for length in lengths])["length"] == 1.0


def test_several_labels_are_evaluated_class_by_class() -> None:
    store = MemoryStore({"r": "A" * 5000})
    examples = [
        Example(
            Interval("r", index, index + (50 if index % 2 else 20)),
            whole=False,
            labels=("all", "long") if index % 2 else ("all",),
        )
        for index in range(COUNT)
    ]

    result = probe_labels(store, halves(examples), LabelScheme.of(examples))

    assert result["length"] == 1.0  # of the class long; all have the other one


def test_auroc_is_none_with_one_class_in_validation() -> None:
    store = MemoryStore({f"r{index}": "ACGT" for index in range(4)})
    first, second, third, _ = whole(store)

    result = probe_labels(
        store, Split((first, second), (third,), ()), LabelScheme.of((first, second))
    )

    assert set(result.values()) == {None}


def test_only_some_of_many_examples_are_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Interval] = []
    codes = MemoryStore.codes

    def watched(store: MemoryStore, interval: Interval) -> np.ndarray:
        read.append(interval)
        return codes(store, interval)

    monkeypatch.setattr(MemoryStore, "codes", watched)
    monkeypatch.setattr(module, "_MAX_EXAMPLES", 7)

    probe(TELLING["length"])

    assert len(read) == 12  # 30 a part, every fifth
