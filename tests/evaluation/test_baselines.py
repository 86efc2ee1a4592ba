"""Baselines answer for the same examples, and the better k is chosen elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.evaluation import baselines
from rmt_genomics.evaluation.baselines import (
    baseline_predictions,
    fit_kmers,
    most_common,
    segment_by_segment,
)
from rmt_genomics.evaluation.context_ablation import average_of_segments
from rmt_genomics.model.kmer_regression import KmerBaseline, Kmers
from tests.evaluation.toys import judged_of, sequences_of


def test_the_most_common_label_is_called_everywhere(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [20] * 6)

    rows = most_common(np.array([1, 1, 1, 0]), judged)

    assert rows.tolist() == [[0.25, 0.75]] * 6
    found = judged.metrics(rows)
    assert (found["accuracy"], found["mcc"], found["auroc"]) == (0.5, 0.0, 0.5)


def test_of_numbers_the_mean_is_said_everywhere(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [20] * 4, task="regression", classes=("label",))

    (mean, *_) = baseline_predictions(judged, np.array([1.0, 2.0]), None)

    assert (mean.name, mean.outputs.tolist()) == ("mean", [[1.5]] * 4)


def test_long_examples_are_read_segment_by_segment(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [25, 6, 7, 3, 12])

    rows = segment_by_segment(judged).beside_whole

    codes = sequences_of(judged)
    expected = average_of_segments(judged.model, codes).beside_whole
    np.testing.assert_allclose(rows, expected, atol=1e-12)
    assert rows[[1, 3]].tolist() == judged.probabilities[[1, 3]].tolist()
    assert np.abs(rows - judged.probabilities)[[0, 2, 4]].min() > 0


def test_the_better_k_is_chosen_on_other_examples(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [60] * 12)
    chosen = fit_kmers(judged.store, judged.examples, judged.targets, judged)

    assert set(chosen.by_k) == {4, 6}
    assert chosen.best is chosen.by_k[chosen.k]
    ratings = {
        k: judged.metrics(each.predict_proba(sequences_of(judged)))["mcc"]
        for k, each in chosen.by_k.items()
    }
    assert ratings[chosen.k] == max(ratings.values())
    assert chosen.by_k[6].coefficients.shape == (2, 2080)


def test_the_validation_part_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judged_of(tmp_path, [60] * 12)
    for ratings, better in (([0.3, 0.1, 0.2, 0.1, 0.4, 0.2], 6), ([0.3, 0.5, 0.2] * 2, 4)):
        left = iter(ratings)  # three strengths of 4-mers, then of 6-mers; equal: the shorter
        monkeypatch.setattr(baselines, "_rating", lambda *_, left=left: (next(left), 0.0))
        assert fit_kmers(judged.store, judged.examples, judged.targets, judged).k == better


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_validation_part_decides_how_freely_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    judged = judged_of(tmp_path, [60] * 12)
    ratings = iter([(float(place == best), 0.0) for place in range(3)] * 2)
    monkeypatch.setattr(baselines, "_rating", lambda *_: next(ratings))

    found = fit_kmers(judged.store, judged.examples, judged.targets, judged).by_k[4]

    strength = (1.0, 0.01, 0.001)[best]
    expected = KmerBaseline.fit(
        sequences_of(judged), judged.targets, judged.classes, judged.task, strength=strength
    )
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-12)


def test_all_baselines_have_a_name_and_the_better_one_says_which_k(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [60] * 12)
    kmers = fit_kmers(judged.store, judged.examples, judged.targets, judged)

    found = baseline_predictions(judged, judged.targets, kmers)

    names = ["majority", "kmer_logistic", "kmer4_logistic", "kmer6_logistic", "chunk_average"]
    assert [each.name for each in found] == names
    assert [each.more for each in found] == [{}, {"k": kmers.k}, {"k": 4}, {"k": 6}, {}]
    assert [each.words is None for each in found] == [False, False, True, True, False]
    assert found[1].outputs.tolist() == found[2 if kmers.k == 4 else 3].outputs.tolist()
    (alone,) = baseline_predictions(judged, None, None)
    assert alone.name == "chunk_average"


def test_a_model_that_reads_proteins_has_them_as_a_baseline_too(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [90] * 12, protein_k=2, orf_codons=5)
    kmers = fit_kmers(judged.store, judged.examples, judged.targets, judged)

    *_, proteins, chunks, windows = baseline_predictions(judged, judged.targets, kmers)

    assert (proteins.name, proteins.words) == ("protein_logistic", "the protein 2-mer baseline")
    assert proteins.more == {"k": 2}
    assert (chunks.name, windows.name) == ("chunk_average", "window_average")
    counted = Kmers(2, orf_codons=5)
    alone = [
        KmerBaseline.fit(
            sequences_of(judged), judged.targets, judged.classes, judged.task,
            kmers=counted, strength=strength,
        ).predict_proba(sequences_of(judged))
        for strength in (1.0, 0.01, 0.001)
    ]  # fmt: skip
    best = max(alone, key=lambda rows: (judged.metrics(rows)["mcc"], judged.metrics(rows)["auroc"]))
    np.testing.assert_allclose(proteins.outputs, best, atol=1e-12)
    assert set(kmers.by_k) == {4, 6}


def test_numbers_have_a_ridge_regression(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    judged = judged_of(tmp_path, [60] * 12, task="regression", classes=("label",))
    kmers = fit_kmers(judged.store, judged.examples, judged.targets, judged)

    names = [each.name for each in baseline_predictions(judged, judged.targets, kmers)]

    assert names == ["mean", "kmer_ridge", "kmer4_ridge", "kmer6_ridge", "chunk_average"]
    codes = sequences_of(judged)
    shares = np.stack([kmers.best.kmers.shares([each])[0] for each in codes])
    scaled = StandardScaler().fit_transform(shares)
    oracle = Ridge(alpha=1.0).fit(scaled, judged.targets).predict(scaled)
    np.testing.assert_allclose(kmers.best.predict_proba(codes)[:, 0], oracle, atol=1e-9)


def test_very_large_sets_are_fitted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judged_of(tmp_path, [60] * 12)
    strengths: list[float] = []
    fit = KmerBaseline.fit_shares

    def noting(*arguments: object, strength: float, **more: object) -> KmerBaseline:
        strengths.append(strength)
        return fit(*arguments, strength=strength, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(baselines, "_LARGE", 12 * 136)
    monkeypatch.setattr(KmerBaseline, "fit_shares", noting)
    fit_kmers(judged.store, judged.examples, judged.targets, judged)

    assert strengths == [1.0, 0.01, 0.001, 0.01]


def test_more_train_rows_than_memory_holds_are_drawn_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = judged_of(tmp_path, [60] * 12)
    monkeypatch.setattr(baselines, "_MOST", 8 * 2080)
    rows: list[int] = []
    fit = KmerBaseline.fit_shares

    def noting(shares: np.ndarray, targets: np.ndarray, *more: object, **by: object) -> object:
        assert len(shares) == len(targets)
        rows.append(len(shares))
        return fit(shares, targets, *more, **by)  # type: ignore[arg-type]

    monkeypatch.setattr(KmerBaseline, "fit_shares", noting)
    found = fit_kmers(judged.store, judged.examples, judged.targets, judged)

    assert rows == [12] * 3 + [8] * 3
    (note,) = found.notes
    assert note.startswith("The 6-mer baseline was fitted on 8 of 12 train rows, drawn at random")


def test_examples_are_counted_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = judged_of(tmp_path, [60] * 12)
    kmers = fit_kmers(judged.store, judged.examples, judged.targets, judged)
    at_once = baseline_predictions(judged, None, kmers)
    monkeypatch.setattr(baselines, "_ROWS_AT_ONCE", 5)

    in_parts = baseline_predictions(judged, None, kmers)

    for one, other in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(one.outputs, other.outputs, atol=1e-12)


def test_examples_of_one_part_are_taken_out_in_order(tmp_path: Path) -> None:
    judged = judged_of(tmp_path, [20, 21, 22])

    some = judged.some(np.array([2, 0]))

    assert [example.name for example in some.examples] == ["r2", "r0"]
    assert some.probabilities.tolist() == judged.probabilities[[2, 0]].tolist()
    assert some.targets.tolist() == judged.targets[[2, 0]].tolist()


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"composition_k": 2}, " (beside the k-mer composition of the whole)"),
        ({"protein_k": 1, "orf_codons": 2}, " (beside the protein composition of the whole)"),
    ],
)
def test_what_is_read_beside_the_memory_is_that_of_the_whole_and_then_of_the_window(
    tmp_path: Path, changes: dict[str, int], more: str
) -> None:
    judged = judged_of(tmp_path, [20, 5, 33], **changes)

    whole, window = baseline_predictions(judged, None, None)

    assert (whole.name, window.name) == ("chunk_average", "window_average")
    assert whole.words == "the same network reading each segment by itself" + more
    assert window.words == "the mean of the same network on windows of 6 bp"
    assert (whole.more, window.more) == ({}, {"window_bp": 6})
    expected = average_of_segments(judged.model, sequences_of(judged))
    np.testing.assert_allclose(whole.outputs, expected.beside_whole, atol=1e-12)
    np.testing.assert_allclose(window.outputs, expected.alone, atol=1e-12)
    assert np.abs(whole.outputs - window.outputs)[[0, 2]].min() > 0


def test_windows_are_left_out_where_they_would_say_nothing_new(tmp_path: Path) -> None:
    (short,) = baseline_predictions(judged_of(tmp_path, [6] * 3, composition_k=2), None, None)
    (alone,) = baseline_predictions(judged_of(tmp_path, [20] * 3), None, None)

    assert short.name == "chunk_average"
    assert (alone.name, alone.words) == (
        "chunk_average",
        "the same network reading each segment by itself",
    )
