"""Baselines predict the same examples; k and regularization are chosen on validation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.datasets import EncodedStore, Example
from rmt_genomics.dna import Interval
from rmt_genomics.evaluation import baselines
from rmt_genomics.evaluation.baselines import (
    KmerBaselines,
    baseline_predictions,
    constant_predictions,
    fit_kmer_baselines,
    segment_by_segment,
)
from rmt_genomics.evaluation.context_ablation import average_of_segments
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.evaluation.metrics_report import FittedReferences, metrics_report
from rmt_genomics.model import kmer_regression
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec
from tests.evaluation.toys import codes_of, make_eval_set
from tests.model.toys import toy
from tests.prediction.toys import TWO, dna, write_fasta


def fit_toys(eval_set: EvaluationSet) -> KmerBaselines:
    return fit_kmer_baselines(eval_set.store, eval_set.examples, eval_set.targets, eval_set)


def fit_regression(
    eval_set: EvaluationSet, kmers: KmerSpec, inverse_regularization: float
) -> KmerRegression:
    return KmerRegression.fit(
        kmers.features(codes_of(eval_set)),
        eval_set.targets,
        eval_set.classes,
        eval_set.task,
        kmers=kmers,
        inverse_regularization=inverse_regularization,
    )


def record_fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Record rows and inverse regularization of each fit from now on."""
    calls: list[tuple[int, float]] = []
    fit = KmerRegression.fit

    def recording(
        features: np.ndarray, targets: np.ndarray, *arguments: Any, **options: Any
    ) -> KmerRegression:
        assert len(features) == len(targets)
        calls.append((len(features), options["inverse_regularization"]))
        return fit(features, targets, *arguments, **options)

    monkeypatch.setattr(KmerRegression, "fit", recording)
    return calls


def test_the_most_common_label_is_predicted_everywhere(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [20] * 6)

    rows = constant_predictions(np.array([1, 1, 1, 0]), eval_set)

    assert rows.tolist() == [[0.25, 0.75]] * 6
    metrics = eval_set.metrics(rows)
    assert (metrics["accuracy"], metrics["mcc"], metrics["auroc"]) == (0.5, 0.0, 0.5)


def test_a_regression_has_the_mean_as_baseline(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [20] * 4, task="regression", classes=("label",))

    (mean, *_) = baseline_predictions(eval_set, np.array([1.0, 2.0]), None)

    assert (mean.key, mean.outputs.tolist()) == ("mean", [[1.5]] * 4)


def test_long_examples_are_read_segment_by_segment(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [25, 6, 7, 3, 12])

    rows = segment_by_segment(eval_set).with_whole

    codes = codes_of(eval_set)
    expected = average_of_segments(eval_set.model, codes).with_whole
    np.testing.assert_allclose(rows, expected, atol=1e-12)
    assert rows[[1, 3]].tolist() == eval_set.probabilities[[1, 3]].tolist()
    assert np.abs(rows - eval_set.probabilities)[[0, 2, 4]].min() > 0


def test_the_k_of_the_better_validation_mcc_is_chosen(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [60] * 12)
    chosen = fit_toys(eval_set)

    best = chosen.best["kmer"].kmers.k
    assert set(chosen.by_k) == {4, 6}
    assert chosen.best["kmer"] is chosen.by_k[best]
    ratings = {
        k: eval_set.metrics(
            regression.predict_proba(regression.kmers.features(codes_of(eval_set)))
        )["mcc"]
        for k, regression in chosen.by_k.items()
    }
    assert ratings[best] == max(ratings.values()) == chosen.best["kmer"].validation
    assert chosen.by_k[6].coefficients.shape == (2, 2080)


def test_the_validation_part_chooses_k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eval_set = make_eval_set(tmp_path, [60] * 12)
    for ratings, better in (([0.3, 0.1, 0.2, 0.1, 0.4, 0.2], 6), ([0.3, 0.5, 0.2] * 2, 4)):
        # three regularizations of 4-mers, then of 6-mers (equal: the shorter), then stranded ones
        left = iter([*ratings, *ratings, 0.0, 0.0, 0.1])
        monkeypatch.setattr(baselines, "_score", lambda *_, left=left: (next(left), 0.0))
        best = fit_toys(eval_set).best
        assert (best["kmer"].kmers.k, best["kmer"].validation) == (better, max(ratings))
        assert best["stranded_kmer"].kmers == KmerSpec({4: 2, 6: 4}[better], is_stranded=True)
        assert best["composition"].validation == 0.1


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_validation_part_chooses_the_regularization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    eval_set = make_eval_set(tmp_path, [60] * 12)
    ratings = iter([(float(index == best), 0.0) for index in range(3)] * 5)
    monkeypatch.setattr(baselines, "_score", lambda *_: next(ratings))

    fitted = fit_toys(eval_set).by_k[4]

    expected = fit_regression(eval_set, KmerSpec(4), (1.0, 0.01, 0.001)[best])
    np.testing.assert_allclose(fitted.coefficients, expected.coefficients, atol=1e-12)


def test_all_baselines_have_a_key_and_the_better_kmer_baseline_comes_first(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [60] * 12)
    kmers = fit_toys(eval_set)

    predictions = baseline_predictions(eval_set, eval_set.targets, kmers)

    names = ["majority", "kmer_logistic", "kmer4_logistic", "kmer6_logistic"]
    names += ["stranded_kmer_logistic", "composition_logistic", "chunk_average"]
    assert [prediction.key for prediction in predictions] == names
    k, stranded_k = (kmers.best[kind].kmers.k for kind in ("kmer", "stranded_kmer"))
    scores = [{"validation_mcc": fitted.validation} for fitted in kmers.best.values()]
    extra = [{"k": k, **scores[0]}, {"k": 4}, {"k": 6}, {"k": stranded_k, **scores[1]}, scores[2]]
    assert [prediction.extra for prediction in predictions] == [{}, *extra, {}]
    compared = {prediction.key: prediction.description for prediction in predictions}
    assert [key for key, name in compared.items() if name is None] == names[2:4]
    assert compared["stranded_kmer_logistic"] == f"the stranded {stranded_k}-mer baseline"
    assert compared["composition_logistic"] == "the length and composition baseline"
    better = predictions[2 if k == 4 else 3]
    assert predictions[1].outputs.tolist() == better.outputs.tolist()
    (alone,) = baseline_predictions(eval_set, None, None)
    assert alone.key == "chunk_average"


def test_a_model_that_reads_protein_kmers_has_a_protein_baseline(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [90] * 12, features=("protein:2",), orf_codons=5)
    kmers = fit_toys(eval_set)

    *_, proteins, segments, windows = baseline_predictions(eval_set, eval_set.targets, kmers)

    assert (proteins.key, proteins.description) == (
        "protein_logistic",
        "the protein 2-mer baseline",
    )
    assert proteins.extra == {"k": 2, "validation_mcc": kmers.best["protein"].validation}
    assert (segments.key, windows.key) == ("chunk_average", "window_average")
    spec = KmerSpec(2, orf_codons=5)
    candidates = [
        fit_regression(eval_set, spec, value).predict_proba(spec.features(codes_of(eval_set)))
        for value in (1.0, 0.01, 0.001)
    ]
    metrics = [eval_set.metrics(rows) for rows in candidates]
    best = candidates[max(range(3), key=lambda i: (metrics[i]["mcc"], metrics[i]["auroc"]))]
    np.testing.assert_allclose(proteins.outputs, best, atol=1e-12)
    assert set(kmers.by_k) == {4, 6}


def test_a_regression_has_ridge_regression_as_kmer_baseline(tmp_path: Path) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    eval_set = make_eval_set(tmp_path, [60] * 12, task="regression", classes=("label",))
    kmers = fit_toys(eval_set)

    predictions = baseline_predictions(eval_set, eval_set.targets, kmers)

    names = ["mean", "kmer_ridge", "kmer4_ridge", "kmer6_ridge", "stranded_kmer_ridge"]
    names += ["composition_ridge", "chunk_average"]
    assert [prediction.key for prediction in predictions] == names
    features = kmers.best["kmer"].kmers.features(codes_of(eval_set))
    scaled = StandardScaler().fit_transform(features)
    expected = Ridge(alpha=1.0).fit(scaled, eval_set.targets).predict(scaled)
    np.testing.assert_allclose(
        kmers.best["kmer"].predict_proba(features)[:, 0], expected, atol=1e-9
    )


def test_stranded_kmers_see_what_is_the_same_on_both_strands_taken_together(tmp_path: Path) -> None:
    """More G than C on one strand is more C than G on the other: canonical k-mers hide it."""
    letters = [
        dna(400, seed=seed, letters="AACGGGTT" if seed % 2 else "AACCCGTT") for seed in range(60)
    ]
    store = EncodedStore.open(
        write_fasta(tmp_path / "toy.fa", {f"r{i}": s for i, s in enumerate(letters)})
    )
    examples = [
        Example(Interval(f"r{index}", 0, 400), whole=True, labels=(TWO["classes"][index % 2],))
        for index in range(60)
    ]
    validation = EvaluationSet.from_model(toy(**TWO), store, examples[30:], where="toy")

    fitted = fit_kmer_baselines(store, examples[:30], np.arange(30) % 2, validation)

    assert fitted.best["stranded_kmer"].validation == 1
    assert fitted.best["composition"].validation == 1
    assert abs(fitted.best["kmer"].validation or 0) < 0.6
    model_at_random = replace(validation, probabilities=np.random.default_rng(0).random((30, 2)))
    references = FittedReferences(np.arange(30) % 2, fitted, None)
    metrics = metrics_report(model_at_random, "test", references)
    assert metrics["summary"]["baseline"] == "stranded_kmer_logistic"
    assert metrics["summary"]["rating"] == "bad"
    assert "behind the stranded 2-mer baseline" in metrics["summary"]["sentence"]


def test_very_large_sets_are_fitted_with_one_regularization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eval_set = make_eval_set(tmp_path, [60] * 12)
    calls = record_fits(monkeypatch)
    monkeypatch.setattr(baselines, "_LARGE_FIT", 12 * 136)

    fit_toys(eval_set)

    assert [value for _, value in calls] == [
        1.0,
        0.01,
        0.001,
        0.01,
        *([1.0, 0.01, 0.001] * 1),
        0.01,
        1.0,
        0.01,
        0.001,
    ]


def test_train_rows_are_subsampled_with_a_note_if_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eval_set = make_eval_set(tmp_path, [60] * 12)
    calls = record_fits(monkeypatch)
    monkeypatch.setattr(baselines, "_MAX_FREQUENCIES", 8 * 2080)

    fitted = fit_toys(eval_set)

    assert [rows for rows, _ in calls] == [12] * 3 + [8] * 3 + [12] * 9
    (note,) = fitted.notes
    assert note.startswith("The 6-mer baseline was fitted on 8 of 12 train rows, drawn at random")


def test_counting_in_chunks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eval_set = make_eval_set(tmp_path, [60] * 12)
    kmers = fit_toys(eval_set)
    at_once = baseline_predictions(eval_set, None, kmers)
    monkeypatch.setattr(baselines, "_ROWS_AT_ONCE", 5)

    in_parts = baseline_predictions(eval_set, None, kmers)

    for expected, result in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(result.outputs, expected.outputs, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "composition"),
    [
        ({"features": ("kmer:2",)}, "the k-mer composition"),
        ({"features": ("stranded-kmer:2",)}, "the stranded k-mer composition"),
        ({"features": ("protein:1",), "orf_codons": 2}, "the protein composition"),
    ],
)
def test_composition_is_of_the_whole_sequence_or_of_the_window(
    tmp_path: Path, changes: dict[str, object], composition: str
) -> None:
    eval_set = make_eval_set(tmp_path, [20, 5, 33], **changes)

    whole, window = baseline_predictions(eval_set, None, None)

    assert (whole.key, window.key) == ("chunk_average", "window_average")
    name = f"the same network on single segments (with {composition} of the whole sequence)"
    assert whole.description == name
    assert window.description == "the same network averaged over windows of 6 bp"
    assert (whole.extra, window.extra) == ({}, {"window_bp": 6})
    expected = average_of_segments(eval_set.model, codes_of(eval_set))
    np.testing.assert_allclose(whole.outputs, expected.with_whole, atol=1e-12)
    np.testing.assert_allclose(window.outputs, expected.alone, atol=1e-12)
    assert np.abs(whole.outputs - window.outputs)[[0, 2]].min() > 0


def test_windows_are_left_out_if_they_equal_another_prediction(tmp_path: Path) -> None:
    (short,) = baseline_predictions(
        make_eval_set(tmp_path, [6] * 3, features=("kmer:2",)), None, None
    )
    (alone,) = baseline_predictions(make_eval_set(tmp_path, [20] * 3), None, None)

    assert short.key == "chunk_average"
    assert (alone.key, alone.description) == (
        "chunk_average",
        "the same network on single segments",
    )


def test_a_fit_that_would_take_hours_is_left_out_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kmer_regression, "_LARGEST_FIT", 100)

    fitted = fit_toys(make_eval_set(tmp_path, [60] * 12))

    assert not fitted.best
    assert any("classes would take hours" in note for note in fitted.notes)
