"""The summary claims no more than the comparison with the best independent baseline shows."""

from typing import Any

import pytest

from rmt_genomics.evaluation.bootstrap import difference_sentence
from rmt_genomics.evaluation.summary import summary_of
from rmt_genomics.evaluation.tables import summary_sentences


def compared(value: float, low: float, high: float, metric: str = "mcc") -> dict[str, Any]:
    numbers = {"metric": metric, "difference": value, "low": low, "high": high, "level": 0.95}
    return {**numbers, "sentence": difference_sentence(numbers, "the baseline", "90 examples")}


AHEAD, NO_DIFFERENCE = compared(0.5, 0.4, 0.6), compared(0.01, -0.05, 0.05)
BEHIND = compared(-0.2, -0.3, -0.1)


def metrics_of(
    differences: dict[str, Any], baselines: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    about = {"n": 90, "mcc": 0.8, "task": "binary", "split": "test"}
    return {**about, "differences": differences, "baselines": baselines or {}, **changes}


def test_the_baseline_that_is_best_on_validation_is_compared() -> None:
    baselines = {
        "majority": {"mcc": 0.0},
        "kmer_logistic": {"mcc": 0.9, "validation_mcc": 0.3},  # best on the evaluated examples
        "stranded_kmer_logistic": {"mcc": 0.7, "validation_mcc": 0.6},
    }
    differences = {"majority": AHEAD, "kmer_logistic": BEHIND}
    differences["stranded_kmer_logistic"] = NO_DIFFERENCE

    summary = summary_of(metrics_of(differences, baselines))

    assert (summary["baseline"], summary["chosen_on"]) == ("stranded_kmer_logistic", "validation")
    assert summary["rating"] == "unsure"
    assert summary["sentence"] == (
        "On 90 examples of the test part, the model has MCC 0.800. The model and the baseline show "
        "no significant difference: 0.0100 MCC (95% interval -0.0500 to 0.0500, 90 examples). "
        "That is the best of 3 independent baselines on the validation part."
    )


def test_without_validation_the_best_on_the_evaluated_examples_is_compared_and_said() -> None:
    baselines = {"majority": {"mcc": 0.0}, "kmer_logistic": {"mcc": 0.9}}
    differences = {"majority": AHEAD, "kmer_logistic": BEHIND}

    summary = summary_of(metrics_of(differences, baselines))

    assert (summary["baseline"], summary["chosen_on"]) == ("kmer_logistic", "evaluated")
    assert summary["rating"] == "bad"
    assert summary["sentence"].endswith(
        "That is the best of 2 independent baselines on these examples themselves."
    )


def test_ablations_of_the_model_are_no_baselines() -> None:
    baselines = {
        "kmer_logistic": {"mcc": 0.79, "validation_mcc": 0.7},
        "chunk_average": {"mcc": 0.3},
        "window_average": {"mcc": 0.2},
    }
    differences = {"kmer_logistic": NO_DIFFERENCE, "chunk_average": AHEAD, "window_average": AHEAD}

    summary = summary_of(metrics_of(differences, baselines))
    alone = summary_of(metrics_of({"chunk_average": AHEAD}, {"chunk_average": {"mcc": 0.3}}))

    assert (summary["baseline"], summary["rating"]) == ("kmer_logistic", "unsure")
    assert (alone["baseline"], alone["rating"]) == (None, "unsure")
    assert "compared with no baseline" in alone["sentence"]


@pytest.mark.parametrize(
    ("low", "high", "words", "rating"),
    [
        (0.01, 0.2, "is ahead of the baseline", "good"),
        (-0.1, 0.2, "show no significant difference", "unsure"),
        (0.0, 0.2, "show no significant difference", "unsure"),
        (-0.2, 0.0, "show no significant difference", "unsure"),
        (-0.3, -0.1, "is behind the baseline", "bad"),
    ],
)
def test_the_rating_follows_the_interval(low: float, high: float, words: str, rating: str) -> None:
    difference = {"kmer_logistic": compared((low + high) / 2, low, high)}
    baselines = {"kmer_logistic": {"mcc": 0.5, "validation_mcc": 0.5}}

    summary = summary_of(metrics_of(difference, baselines))

    assert words in summary["sentence"]
    assert summary["rating"] == rating


@pytest.mark.parametrize(
    ("low", "high", "words", "rating"),
    [
        (-0.2, -0.1, "The model is ahead of the baseline by 0.150 root mean square", "good"),
        (-0.2, 0.1, "The model and the baseline show no significant difference", "unsure"),
        (0.1, 0.2, "The model is behind the baseline by 0.150 root mean square", "bad"),
    ],
)
def test_a_lower_error_is_better(low: float, high: float, words: str, rating: str) -> None:
    difference = {"kmer_ridge": compared((low + high) / 2, low, high, "rmse")}
    metrics = metrics_of(difference, {"kmer_ridge": {"rmse": 3.0}}, task="regression", rmse=2.0)

    summary = summary_of(metrics)

    assert words in summary["sentence"]
    assert summary["rating"] == rating


def test_of_errors_the_lowest_is_the_best_baseline() -> None:
    differences = {key: compared(-1, -2, -0.5, "rmse") for key in ("kmer_ridge", "mean")}
    baselines = {"kmer_ridge": {"rmse": 3.0}, "mean": {"rmse": 4.0}}

    summary = summary_of(metrics_of(differences, baselines, task="regression"))

    assert summary["baseline"] == "kmer_ridge"


def test_ahead_of_the_most_common_label_alone_is_not_called_good() -> None:
    summary = summary_of(metrics_of({"majority": AHEAD}, {"majority": {"mcc": 0.0}}))

    assert (summary["baseline"], summary["rating"]) == ("majority", "unsure")
    assert summary["sentence"].endswith("compared with no baseline that reads the sequences.")


def test_an_undefined_metric_is_no_result() -> None:
    metrics = metrics_of({}, {"majority": {"mcc": None}}, mcc=None, accuracy=0.9)

    summary = summary_of(metrics)

    assert summary["sentence"] == (
        "On 90 examples of the test part, the model has accuracy 0.900; MCC, by which it would be "
        "compared, is not defined on them, so it is not known how good that is."
    )
    assert summary["rating"] == "unsure"


def test_the_sentences_begin_with_the_summary_and_repeat_nothing() -> None:
    differences = {"majority": AHEAD, "kmer_logistic": NO_DIFFERENCE}
    baselines = {"majority": {"mcc": 0.0}, "kmer_logistic": {"mcc": 0.8, "validation_mcc": 0.8}}
    metrics = metrics_of(differences, baselines, context={"sentence": "Context matters."})

    sentences = summary_sentences(metrics)

    assert sentences == [summary_of(metrics)["sentence"], AHEAD["sentence"], "Context matters."]
    assert summary_sentences({**metrics, "summary": {"sentence": "As it was."}})[0] == "As it was."


@pytest.mark.parametrize(
    ("control", "words", "memory", "rating"),
    [
        (AHEAD, "Memory helps.", "good", "good"),
        (NO_DIFFERENCE, "It is not shown that memory helps.", "unsure", "good"),
        (BEHIND, "Memory does harm.", "bad", "bad"),
    ],
)
def test_memory_helps_only_if_the_interval_of_the_trained_control_excludes_0(
    control: dict[str, Any], words: str, memory: str, rating: str
) -> None:
    baselines = {
        "majority": {"mcc": 0.0},
        "kmer_logistic": {"mcc": 0.3, "validation_mcc": 0.3},
        "memory_reset_trained": {"mcc": 0.99},
    }
    differences = {"majority": AHEAD, "kmer_logistic": AHEAD, "memory_reset_trained": control}
    metrics = metrics_of(differences, baselines)

    summary = summary_of(metrics)

    assert summary["sentence"].endswith(f" {words} {control['sentence']}")
    assert (summary["memory"], summary["rating"]) == (memory, rating)
    assert (summary["baseline"], summary["chosen_on"]) == ("kmer_logistic", "validation")
    assert control["sentence"] not in summary_sentences(metrics)[1:]  # it is in the first


def test_a_trained_control_alone_is_no_independent_baseline() -> None:
    summary = summary_of(metrics_of({"memory_reset_trained": AHEAD}, {}))

    assert (summary["rating"], summary["baseline"]) == ("unsure", None)
    assert (
        "it was compared with no baseline, so it is not known how good that is. Memory"
        in (summary["sentence"])
    )
