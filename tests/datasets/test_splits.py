"""Parts of a data set: disjoint, complete, and never dividing a group."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.splits import Split, split_by_shares, split_examples
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError


def make(
    labels: Sequence[str],
    groups: Sequence[str | None] | None = None,
    splits: Sequence[str | None] | None = None,
) -> list[Example]:
    """Make one whole record a label."""
    nothing = [None] * len(labels)
    return [
        Example(Interval(f"r{place}", 0, 10), True, (label,), group, split)  # noqa: FBT003
        for place, (label, group, split) in enumerate(
            zip(labels, groups or nothing, splits or nothing, strict=True)
        )
    ]


def divide(examples: list[Example], **options: object) -> Split:
    return split_examples(examples, **({"validation_fraction": 0.25, "seed": 0} | options))


def test_stratified_parts_have_the_same_shares() -> None:
    split = divide(make(["a"] * 40 + ["b"] * 8))

    assert Counter(each.labels[0] for each in split.validation) == {"a": 10, "b": 2}
    assert len(split.train) == 36
    assert split.test == ()


def test_a_rare_class_is_on_both_sides_if_it_can_be() -> None:
    split = divide(make(["a"] * 40 + ["b"] * 2 + ["c"]))

    assert Counter(each.labels[0] for each in split.validation) == {"a": 10, "b": 1}
    assert {each.labels[0] for each in split.train} == {"a", "b", "c"}


def test_having_none_of_several_labels_is_divided_like_a_class() -> None:
    kinds = {(): 20, ("a",): 8, ("a", "b"): 12}
    labels = [each for each, count in kinds.items() for _ in range(count)]
    examples = [
        replace(example, labels=each)
        for example, each in zip(make("x" * len(labels)), labels, strict=True)
    ]

    split = divide(examples)
    shared = split_by_shares(
        examples, {"train": 0.5, "validation": 0.25, "test": 0.25}, by_group=False, seed=0
    )

    for part in (split.validation, shared.validation, shared.test):
        assert sum(not each.labels for each in part) == 5


def test_groups_are_held_out_whole() -> None:
    split = divide(make("aabb" * 10, groups=[f"g{place // 2}" for place in range(40)]))

    in_train = {each.group for each in split.train}
    in_validation = {each.group for each in split.validation}
    assert not in_train & in_validation
    assert Counter(each.labels[0] for each in split.validation) == {"a": 4, "b": 4}


labels_and_groups = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 8).map(str)), min_size=4, max_size=60
)


@pytest.mark.parametrize("how", ["group", "stratified"])
@given(drawn=labels_and_groups, fraction=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_parts_are_disjoint_and_complete(
    drawn: list[tuple[str, str]], fraction: float, seed: int, how: str
) -> None:
    labels, groups = zip(*drawn, strict=True)
    assume(len(set(labels)) > 1)
    examples = make(labels, groups if how == "group" else None)

    try:
        split = divide(examples, how=how, validation_fraction=fraction, seed=seed)
    except DataError as error:
        assert "give no validation part" in str(error)  # noqa: PT017
        return

    together = [*split.train, *split.validation, *split.test]
    assert sorted(each.name for each in together) == sorted(each.name for each in examples)
    assert split.validation
    assert {each.labels for each in split.train} == {each.labels for each in examples}
    in_train = {each.group for each in split.train if each.group}
    assert not in_train & {each.group for each in split.validation}


def test_the_seed_decides() -> None:
    examples = make("ab" * 30)

    assert divide(examples, seed=1) == divide(examples, seed=1)
    assert divide(examples, seed=1) != divide(examples, seed=2)


def test_the_column_is_followed() -> None:
    splits = ["train", "train", "validation", "test"] * 2
    examples = make("abababab"[:4] * 2, splits=splits)

    split = divide(examples)

    assert split.train == (examples[0], examples[1], examples[4], examples[5])
    assert split.validation == (examples[2], examples[6])
    assert split.test == (examples[3], examples[7])


def test_a_column_without_validation_gets_it_from_train_by_group() -> None:
    groups = [f"g{place // 4}" for place in range(40)]
    splits = ["train"] * 32 + ["test"] * 8
    examples = make("ab" * 20, groups, splits)

    split = divide(examples)

    assert split.test == tuple(examples[32:])
    assert len(split.validation) == 8
    assert len({each.group for each in split.validation}) == 2


def test_the_best_way_is_found() -> None:
    grouped = make("ab" * 8, groups=[f"g{place // 4}" for place in range(16)])
    plain = make("ab" * 8)

    assert divide(grouped) == divide(grouped, how="group")
    assert divide(plain) == divide(plain, how="stratified")


def test_several_labels_are_shared_out() -> None:
    examples = [
        Example(Interval(f"r{place}", 0, 9), whole=True, labels=("a", "b")[: place % 3])
        for place in range(30)
    ]

    split = divide(examples, validation_fraction=0.5)

    held = Counter(label for each in split.validation for label in each.labels)
    assert held == {"a": 10, "b": 5}


@pytest.mark.parametrize(
    ("examples", "how", "message"),
    [
        (make("aaaa"), "auto", "all examples have the label 'a', but there must be two classes"),
        (make("ab"), "auto", "2 examples in 2 groups give no validation part, but training needs"),
        (
            make("abab", groups=["g", "g", "h", "h"], splits=["train", "test", "test", "test"]),
            "auto",
            "1 of 2 classes (such as 'b') have no example in train, but every class must.",
        ),
        (
            make("abab", splits=["test", "test", "validation", "test"]),
            "auto",
            "the split column has no example for train, but training needs some. Write train in",
        ),
        (
            make("abab", groups=["g", "h", "g", "i"], splits=["train", "train", "test", "test"]),
            "column",
            "the group 'g' is in train and in test, but a group must stay in one part",
        ),
        (
            make("aab", splits=["train", "validation", "test"]),
            "column",
            "1 of 2 classes (such as 'b') have no example in train, but every class must.",
        ),
        (
            make("ab", splits=["train", None]),
            "auto",
            "1 of 2 examples have no split (such as r1), but data.split 'column' needs one",
        ),
        (make("ab"), "column", "2 of 2 examples have no split (such as r0), but data.split"),
        (make("ab"), "group", "r0 has no group, but a split by group needs one for every example."),
        (make("ab", groups=["g", None]), "auto", "r1 has no group, but a split by group needs"),
    ],
)
def test_what_cannot_be_divided_is_refused(examples: list[Example], how: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        divide(examples, how=how)


def test_a_group_divided_by_the_column_is_refused_before_it_leaks() -> None:
    examples = make(
        "abab" * 2, groups=["g"] * 2 + ["h"] * 6, splits=["train"] * 4 + ["validation"] * 4
    )
    with pytest.raises(DataError, match="the group 'h' is in train and in validation"):
        divide(examples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "random"}, "data.split is 'random', but must be one of auto, column, group, st"),
        ({"how": "stratified"}, "data.split is 'stratified', but the examples have groups, which"),
        ({"validation_fraction": 0.0}, "data.validation_fraction is 0.0, but must be between 0"),
        ({"validation_fraction": 1.0}, "data.validation_fraction is 1.0, but must be between 0"),
    ],
)
def test_a_wrong_setting_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        divide(make("abab", groups="gghh"), **options)


SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def share_out(examples: list[Example], **options: Any) -> Split:
    return split_by_shares(examples, **({"shares": SHARES, "by_group": True, "seed": 0} | options))


@given(drawn=labels_and_groups, seed=st.integers(0, 99))
def test_three_parts_are_disjoint_and_complete_and_have_every_class(
    drawn: list[tuple[str, str]], seed: int
) -> None:
    labels, groups = zip(*drawn, strict=True)
    assume(len(set(labels)) > 1)
    examples = make(labels, groups)

    try:
        split = share_out(examples, seed=seed)
    except DataError as error:
        assert re.search("give no .* part|have no example in", str(error))  # noqa: PT017
        return

    parts = [split.train, split.validation, split.test]
    together = [each.name for part in parts for each in part]
    assert sorted(together) == sorted(each.name for each in examples)
    assert all({each.labels for each in part} == {(x,) for x in labels} for part in parts)
    groups_of_parts = [{each.group for each in part} for part in parts]
    assert sum(map(len, groups_of_parts)) == len(set(groups))


def test_the_parts_have_the_wanted_shares_of_each_class() -> None:
    split = share_out(make("aab" * 20, groups=[f"g{place // 2}" for place in range(60)]))

    counts = [
        Counter(each.labels[0] for each in part)
        for part in (split.train, split.validation, split.test)
    ]
    assert counts == [{"a": 24, "b": 12}, {"a": 8, "b": 4}, {"a": 8, "b": 4}]


def test_no_test_part_is_made_if_none_is_wanted() -> None:
    split = share_out(make("ab" * 10), shares=SHARES | {"test": 0.0}, by_group=False)

    assert split.test == ()
    assert len(split.validation) == 4


def test_a_class_in_too_few_groups_is_named() -> None:
    examples = make("ab" * 10 + "cc", groups=[str(place) for place in range(20)] + ["x", "y"])

    message = (
        "1 of 3 classes have no example in validation (such as 'c', which is in 2 groups), but "
        "every class must be in all 3 parts. Add examples of it, leave the class out, or change "
        "--fractions or --seed."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        share_out(examples)


def test_a_part_that_cannot_be_made_is_named() -> None:
    with pytest.raises(DataError, match="4 examples in 1 groups give no test part"):
        share_out(make("abab", groups="gggg"))


def test_the_best_of_several_orders_is_taken() -> None:
    """With one order, the large groups that happen to come first would spoil the shares."""
    sizes = [13, 11, 9, 7, 5, 5, 3, 3, 2, 2]
    groups = [str(place) for place, size in enumerate(sizes) for _ in range(size)]

    for seed in range(10):
        held = share_out(make("ab" * 30, groups), seed=seed)
        assert abs(len(held.validation) - 12) <= 1
        assert abs(len(held.test) - 12) <= 1
