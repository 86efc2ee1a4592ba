"""An evaluation with a time limit: a sample of the examples, the same for all, said with counts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from rmt_genomics.datasets import Example, LabelScheme
from rmt_genomics.dna import Interval
from rmt_genomics.evaluation import evaluate_run, time_limit
from rmt_genomics.evaluation.time_limit import TimeLimit
from tests.evaluation.toys import read_table
from tests.training.toys import run, write_data


def examples(split: str, number: int, length_bp: int = 100) -> list[Example]:
    return [
        Example(Interval(f"{split}{n}", 0, length_bp), True, ("ab"[n % 4 == 0],), split=split)  # noqa: FBT003
        for n in range(number)
    ]


class Clock:
    """Time that passes with base pairs that are predicted, and with rows that are fitted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, per_bp: float, per_row: float) -> None:
        self.now, self.per_row, self.fits = 0.0, per_row, list[int]()
        monkeypatch.setattr(time_limit, "time", SimpleNamespace(monotonic=lambda: self.now))

        self.per_bp = per_bp

    def predict(self, part: Sequence[Example]) -> None:
        self.now += self.per_bp * sum(len(example.interval) for example in part)

    def limit(self, seconds: float | None) -> TimeLimit:
        return TimeLimit(seconds, began_at=0.0)

    def fit(self, rows: Sequence[Example]) -> int:
        self.now += self.per_row * len(rows)
        self.fits.append(len(rows))
        return len(rows)


SCHEME = LabelScheme(("a", "b"), "binary")
TEST, VALIDATION = examples("test", 1000), examples("validation", 500)


@pytest.mark.parametrize(
    ("seconds", "num_test", "num_validation"),
    [(None, 1000, 500), (1000.0, 1000, 500), (60.0, 537, 268), (1.0, 10, 10)],
)
def test_as_many_examples_are_evaluated_as_can_be_in_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
    seconds: float | None,
    num_test: int,
    num_validation: int,
) -> None:
    """All would take 43 s + 5 s; of 60 s 5 are for the report, and 3.4 were for measuring."""
    clock = Clock(monkeypatch, per_bp=1e-4, per_row=0.0)
    limit = clock.limit(seconds)

    evaluated, others = limit.evaluated(clock.predict, TEST, VALIDATION, SCHEME)

    assert (len(evaluated), len(others)) == (num_test, num_validation)
    assert Counter(e.labels[0] for e in evaluated)["b"] == pytest.approx(len(evaluated) / 4, abs=1)
    is_all = num_test == 1000
    assert len(limit.notes) == (0 if is_all else 2)
    if not is_all:
        assert limit.notes[0].startswith(f"Of the test part, {len(evaluated)} of 1,000 examples ")
        assert limit.notes[1].startswith(f"Of the validation part, {len(others)} of 500 examples ")


def test_a_validation_part_that_is_evaluated_is_sampled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, per_bp=0.01, per_row=0.0)
    limit = clock.limit(60.0)

    evaluated, others = limit.evaluated(clock.predict, VALIDATION, VALIDATION, SCHEME)

    assert evaluated is others
    assert len(evaluated) < 50
    assert len(limit.notes) == 1


@pytest.mark.parametrize(
    ("seconds", "fits"),
    [(None, [9000]), (1000.0, [2000, 9000]), (24.0, [2000, 5000]), (4.0, [2000])],
)
def test_baselines_are_fitted_on_as_many_rows_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, fits: list[int]
) -> None:
    """2,000 rows take 2 s, the predictions that follow 12 s; 5 s are kept for the report."""
    clock = Clock(monkeypatch, per_bp=0.0, per_row=1e-3)
    limit = clock.limit(seconds)
    limit.predicting_seconds = 12.0

    fitted = limit.fit(clock.fit, examples("train", 9000), SCHEME)

    assert clock.fits == fits
    assert fitted == fits[-1]
    if fitted == 9000:
        assert limit.notes == []
    else:
        (note,) = limit.notes
        assert f"were fitted on {fitted:,} of 9,000 train rows, drawn at random (seed 0)" in note


def test_few_rows_are_fitted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, per_bp=0.0, per_row=1e3)

    clock.limit(1.0).fit(clock.fit, examples("train", 3900), SCHEME)

    assert clock.fits == [3900]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:GC content alone")
def test_model_and_baselines_are_evaluated_on_the_same_sample(tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path, num_records=120)
    result = run((fasta, labels), tmp_path / "run", training__max_epochs=1)

    metrics = evaluate_run(tmp_path / "run", fasta, trained=result, max_seconds=1e-3)

    rows = read_table(tmp_path / "run/predictions.tsv")
    assert metrics["n"] == len(rows) == 10
    assert {baseline["n"] for baseline in metrics["baselines"].values()} == {10}
    note = "Of the validation part, 10 of 24 examples were evaluated, drawn at random"
    assert any(text.startswith(note) for text in metrics["notes"])
    whole = evaluate_run(tmp_path / "run", fasta, trained=result, max_seconds=1e3)
    assert whole["n"] == 24
    assert not any("time budget" in text for text in whole["notes"])
