"""RMTEstimator and RMTTransformer: what scikit-learn expects of an estimator, with DNA as input."""

import importlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from rmt_genomics import RMTClassifier, RMTEstimator, RMTTransformer
from rmt_genomics.errors import ConfigError, RMTGenomicsError, RMTGenomicsWarning
from rmt_genomics.estimator import Targets
from tests.training.toys import TINY, sequence

pd = pytest.importorskip("pandas", reason="needs pandas, the extra pandas")

SETTINGS = [f"{key}={value}" for key, value in TINY.items()]
ONE_EPOCH = [*SETTINGS, "training.max_epochs=1"]


def dna(num: int = 24, length_bp: int = 40, seed: int = 0) -> list[str]:
    """AT-rich and GC-rich sequences in turn."""
    random = np.random.default_rng(seed)
    return [sequence(random, 0.9 if row % 2 else 0.1, length_bp) for row in range(num)]


X, Y = dna(), np.array(["poor", "rich"] * 12)


def estimator(*settings: str, **options: Any) -> RMTEstimator:
    return RMTEstimator([*SETTINGS, *settings], device="cpu", **options)


@pytest.fixture(scope="module")
def fitted() -> RMTEstimator:
    return estimator("training.max_epochs=4").fit(X, Y)


def test_it_learns_and_predicts_in_the_order_and_type_of_the_labels(fitted: RMTEstimator) -> None:
    probabilities = fitted.predict_proba(X[:4])

    assert fitted.predict(X[:4]).tolist() == ["poor", "rich", "poor", "rich"]
    assert fitted.classes_.tolist() == ["poor", "rich"]
    assert probabilities.shape == (4, 2)
    assert (probabilities.argmax(axis=1) == [0, 1, 0, 1]).all()
    assert fitted.score(X, Y) == 1.0
    assert isinstance(fitted.model_, RMTClassifier)
    assert [row["epoch"] for row in fitted.history_] == [1, 2, 3, 4]


def test_columns_follow_numbers_where_text_has_another_order() -> None:
    numbers = np.where(Y == "rich", 10, 9)  # as text, "10" comes before "9"
    it = estimator("training.max_epochs=4").fit(X, numbers)

    assert it.classes_.tolist() == [9, 10]
    assert it.model_.classes_ == ("10", "9")
    assert it.predict_proba(X[:2]).argmax(axis=1).tolist() == [0, 1]
    assert it.predict(X[:2]).tolist() == [9, 10]
    assert it.score(X, numbers) == 1.0


@pytest.mark.parametrize(
    "form",
    [np.array, pd.Series, lambda x: list(map(Seq, x)), lambda x: [SeqRecord(Seq(s)) for s in x]],
)
def test_sequences_may_come_in_every_form(fitted: RMTEstimator, form: Any) -> None:
    np.testing.assert_array_equal(fitted.predict_proba(form(X)), fitted.predict_proba(X))


@pytest.mark.slow
def test_a_fit_takes_a_series_with_another_index_and_records_as_it_takes_lists() -> None:
    index = range(100, 124)
    records = [SeqRecord(Seq(text)) for text in X]
    plain = RMTEstimator(ONE_EPOCH, device="cpu").fit(X, list(Y)).predict_proba(X)

    of_series = RMTEstimator(ONE_EPOCH, device="cpu").fit(
        pd.Series(X, index=index), pd.Series(Y, index=index)
    )
    of_records = RMTEstimator(ONE_EPOCH, device="cpu").fit(records, Y)

    np.testing.assert_array_equal(of_series.predict_proba(X), plain)
    np.testing.assert_array_equal(of_records.predict_proba(X), plain)


@pytest.mark.slow
def test_the_seed_decides_and_the_random_numbers_of_the_caller_go_on() -> None:
    np.random.seed(7)  # noqa: NPY002 (the global state is the subject)
    torch.manual_seed(7)
    expected = np.random.rand(), torch.rand(1)  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)

    first = RMTEstimator(ONE_EPOCH, device="cpu").fit(X, Y).predict_proba(X)

    assert (np.random.rand(), torch.rand(1)) == expected  # noqa: NPY002
    second = RMTEstimator(ONE_EPOCH, device="cpu").fit(X, Y).predict_proba(X)
    other = RMTEstimator(ONE_EPOCH, device="cpu", seed=1).fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_nothing_is_left_on_the_disk_and_the_model_can_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("RMT_GENOMICS_CACHE", str(cache))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    it = RMTEstimator(ONE_EPOCH, device="cpu").fit(X, Y)

    assert not list((tmp_path / "temporary").iterdir())
    assert not cache.exists()
    it.model_.save_pretrained(tmp_path / "model")
    loaded = RMTClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), it.predict_proba(X))


def test_it_trains_as_the_command_line_does(tmp_path: Path) -> None:
    from rmt_genomics.training import read_config, train

    fasta, labels = tmp_path / "x.fa", tmp_path / "y.tsv"
    fasta.write_text("".join(f">sequence_{row}\n{text}\n" for row, text in enumerate(X)))
    rows = (f"sequence_{row}\t{label}\n" for row, label in enumerate(Y))
    labels.write_text("record\tlabel\n" + "".join(rows))

    run = train(fasta, labels, tmp_path / "run", read_config(None, ONE_EPOCH), device="cpu")
    it = RMTEstimator(ONE_EPOCH, device="cpu").fit(X, Y)

    assert run.model is not None
    np.testing.assert_array_equal(it.predict_proba(X), run.model.predict_proba(X))


def test_groups_are_not_divided_between_training_and_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = importlib.import_module("rmt_genomics.training.train")  # not the function
    seen, prepare = [], training.prepare_data
    monkeypatch.setattr(
        training, "prepare_data", lambda *args, **kw: seen.append(prepare(*args, **kw)) or seen[-1]
    )
    groups = np.repeat(["a", "b", "c", "d", "e", "f"], 4)

    RMTEstimator(ONE_EPOCH, device="cpu").fit(X, Y, groups=groups)

    row_of = [
        {int(each.interval.record.removeprefix("sequence_")) for each in part}
        for part in (seen[0].split.train, seen[0].split.validation)
    ]
    assert {*row_of[0], *row_of[1]} == set(range(24))
    assert row_of[1]
    assert {groups[row] for row in row_of[0]}.isdisjoint(groups[row] for row in row_of[1])


def test_similar_sequences_without_groups_are_a_warning_that_names_groups() -> None:
    twins = dna(4, length_bp=400) * 6

    with pytest.warns(RMTGenomicsWarning, match="near-duplicates") as caught:
        RMTEstimator(ONE_EPOCH, device="cpu").fit(twins, Y)

    texts = [str(each.message) for each in caught]
    (text,) = [each for each in texts if "near-duplicates" in each]
    assert text.endswith("Give similar sequences the same group: fit(X, y, groups=...).")
    assert "rmt-genomics split" not in text


MATRIX = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]] * 6)


@pytest.mark.parametrize(
    "form", [np.array, csr_matrix, list, lambda y: pd.DataFrame(y, columns=list("abc"))]
)
def test_several_labels_as_a_matrix_keep_its_columns(form: Any) -> None:
    it = RMTEstimator(ONE_EPOCH, device="cpu")
    y = MATRIX.tolist() if form is list else form(MATRIX)
    with pytest.warns(RMTGenomicsWarning, match=r"no sequence has [2c] \(1 of 3 columns of y\)"):
        it.fit(X, y)

    assert it.classes_.tolist() == (["a", "b", "c"] if hasattr(y, "columns") else [0, 1, 2])
    assert it.predict_proba(X).shape == (24, 3)
    assert (it.predict_proba(X)[:, 2] == 0).all()
    assert it.model_.config.task == "multilabel"
    assert it.predict(X).shape == (24, 3)
    assert set(it.predict(X).ravel()) <= {0, 1}
    expected = (it.predict(X) == MATRIX).all(axis=1).mean()
    assert it.score(X, MATRIX) == expected


def test_several_labels_as_lists_of_names() -> None:
    labels = [["x"], ["y"], [], ["y", "x"]] * 6
    it = RMTEstimator(ONE_EPOCH, device="cpu").fit(X, labels)

    assert it.classes_.tolist() == ["x", "y"]
    assert it.predict_proba(X).shape == (24, 2)
    hot = np.array([[1, 0], [0, 1], [0, 0], [1, 1]] * 6)
    assert it.score(X, labels) == (it.predict(X) == hot).all(axis=1).mean()


@pytest.mark.slow
def test_numbers_with_decimals_are_predicted_as_numbers() -> None:
    gc = np.array([(text.count("G") + text.count("C")) / len(text) for text in X])
    it = estimator("training.max_epochs=8").fit(X, gc)

    assert it.predict(X).dtype == float
    assert it.score(X, gc) > 0.5
    assert not hasattr(it, "classes_")
    assert is_regressor(it)
    with pytest.raises(ConfigError, match="only a model of classes has probabilities"):
        it.predict_proba(X)


def test_numbers_that_pandas_has_as_objects_are_numbers() -> None:
    gc = pd.Series(np.linspace(0, 1, 24), dtype=object)

    assert Targets.read(gc, "auto").task == "regression"
    assert Targets.read(pd.Series([True, False], dtype=object), "auto").classes.dtype == bool


def test_whole_numbers_are_classes_unless_the_task_is_regression() -> None:
    whole = np.where(Y == "rich", 2.0, 1.0)
    as_numbers = RMTEstimator([*ONE_EPOCH, "data.task=regression"], device="cpu")

    assert RMTEstimator(ONE_EPOCH, device="cpu").fit(X, whole).classes_.tolist() == [1.0, 2.0]
    assert as_numbers.fit(X, whole).model_.config.task == "regression"
    assert is_regressor(as_numbers)
    assert is_regressor(clone(as_numbers))  # before a fit, by its settings
    assert is_classifier(RMTEstimator(ONE_EPOCH))


@pytest.mark.slow
def test_cross_validation_scores_with_groups() -> None:
    groups = np.repeat(np.arange(6), 4)
    scores = cross_val_score(
        RMTEstimator(ONE_EPOCH, device="cpu"),
        X,
        Y,
        groups=groups,
        cv=GroupKFold(3),
        params={"groups": groups},
    )

    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


@pytest.mark.slow
def test_a_grid_search_finds_the_settings_that_learn() -> None:
    useless = [*ONE_EPOCH, "training.learning_rate=1e-12"]
    search = GridSearchCV(
        RMTEstimator(device="cpu"),
        {"settings": [useless, [*SETTINGS, "training.max_epochs=4"]]},
        scoring="roc_auc",
        cv=2,
    ).fit(X, Y)

    assert search.best_params_["settings"][-1] == "training.max_epochs=4"
    assert search.best_score_ > 0.9
    assert search.predict(X[:2]).tolist() == ["poor", "rich"]


@pytest.mark.slow
def test_probabilities_can_be_calibrated() -> None:
    calibrated = CalibratedClassifierCV(RMTEstimator(ONE_EPOCH, device="cpu"), cv=2).fit(X, Y)

    probabilities = calibrated.predict_proba(X)
    assert calibrated.classes_.tolist() == ["poor", "rich"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_it_ends_a_pipeline_which_passes_groups() -> None:
    lower = [text.lower() + "\n" for text in X]
    strip = FunctionTransformer(lambda texts: [text.strip() for text in texts])
    pipeline = make_pipeline(strip, RMTEstimator(ONE_EPOCH, device="cpu"))

    pipeline.fit(lower, Y, rmtestimator__groups=np.repeat(np.arange(6), 4))

    assert pipeline.predict_proba(lower).shape == (24, 2)
    assert pipeline[-1].history_


def test_embeddings_of_a_model_feed_another_classifier(
    fitted: RMTEstimator, tmp_path: Path
) -> None:
    fitted.model_.save_pretrained(tmp_path)
    pipeline = make_pipeline(RMTTransformer(str(tmp_path), device="cpu"), LogisticRegression(C=100))

    assert cross_val_score(pipeline, X, Y, cv=3).mean() > 0.9
    of_model = RMTTransformer(fitted.model_, device="cpu", batch_size=3).fit().transform(X)
    np.testing.assert_allclose(of_model, fitted.model_.embed(X), atol=1e-6)
    names = clone(pipeline[0]).fit().get_feature_names_out()
    assert names[:2].tolist() == ["rmttransformer0", "rmttransformer1"]
    assert len(names) == of_model.shape[1]
    frame = RMTTransformer(fitted.model_).set_output(transform="pandas").fit_transform(X)
    assert list(frame.columns) == names.tolist()


def test_a_transformer_without_a_model_says_what_it_needs(fitted: RMTEstimator) -> None:
    with pytest.raises(ConfigError, match=r"model is an? RMTEstimator, but.*pass its model_"):
        RMTTransformer("x").set_params(model=fitted).fit()
    with pytest.raises(NotFittedError):
        RMTTransformer(fitted.model_).transform(X)


def few(y: Any, **options: Any) -> Any:
    return lambda it: it.fit(X, y, **options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda it: it.fit(X), "requires y to be passed, but the target y is None"),
        (few(Y[:-1]), r"X has 24 sequences, but y has 23 values, and needs one for each"),
        (few(Y, groups=[1, 2]), "X has 24 sequences, but groups has 2 values"),
        (few(Y, groups=[[1, 2]] * 24), r"should be a 1d array, got an array of shape \(24, 2\)"),
        (lambda it: it.set_params(settings=None).fit(X, Y), "settings is None, but must be a list"),
        (few(Y, groups=[None] * 24), "the group of sequence 0 is missing"),
        (few(Y, groups=["a"] * 24), r"24 examples in 1 group, .* Add examples of other groups\.$"),
        (few([None, *Y[1:]]), "y is None for sequence 0, but each sequence needs a label"),
        (few([1.5, *[float("nan")] * 23]), "y is nan for sequence 1"),
        (few(pd.Series([*Y[:-1], pd.NA], dtype=object)), "y is <NA> for sequence 23"),
        (few(np.array([1, "1"] * 12, dtype=object)), "y holds labels of several types"),
        (few(["a"] * 24), "y: all examples have the label 'a', but there must be at least two"),
        (few(MATRIX + 1), "y has 3 columns and other values than 0 and 1"),
        (few(["a;b", *Y[1:]]), "sequence_0: the labels are .*must be without ';'"),
        (lambda it: it.fit([], []), "X has no sequence"),
        (lambda it: it.fit(["ACGT!", *X[1:]], Y), "sequence 0: .*'!'"),
        (lambda it: it.fit("ACGT", ["a"]), "RMTEstimator.fit: got one string"),
        (
            lambda it: it.fit(pd.DataFrame({"sequence": X}), Y),
            r"Pass the column: table\['sequence'\]",
        ),
        (lambda it: it.fit(["N" * 40] * 24, Y), "X: none of the .* has a known base"),
        (lambda it: it.set_params(seed=-1).fit(X, Y), "seed is -1, but must be a whole number"),
        (
            lambda it: it.set_params(settings="a=b").fit(X, Y),
            "settings is 'a=b', but must be a list",
        ),
        (lambda it: it.set_params(settings=["model.dimm=3"]).fit(X, Y), "Did you mean 'model.dim'"),
        (
            lambda it: it.set_params(settings=[*SETTINGS, "data.group=plasmid"]).fit(X, Y),
            "data.group is 'plasmid', but there is no table",
        ),
        (
            lambda it: it.set_params(settings=[*SETTINGS, "data.task=regression"]).fit(X, Y),
            "y holds labels that are no numbers",
        ),
        (
            lambda it: it.set_params(settings=[*SETTINGS, "data.task=regression"]).fit(X, MATRIX),
            "several labels per sequence, but data.task is 'regression'",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(call: Any, words: str) -> None:
    with pytest.raises((RMTGenomicsError, ValueError), match=words) as refused:
        call(RMTEstimator(ONE_EPOCH, device="cpu"))
    assert "/tmp" not in str(refused.value)


def test_a_prediction_before_a_fit_is_refused() -> None:
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(estimator(), method)(X)


def test_classes_that_are_too_small_are_left_out_of_the_columns() -> None:
    y = np.array([*Y[:-1], "alone"])
    it = RMTEstimator([*ONE_EPOCH, "data.min_class_size=2"], device="cpu")
    with pytest.warns(RMTGenomicsWarning, match="1 class of fewer than 2 examples left out"):
        it.fit(X, y)

    assert it.classes_.tolist() == ["poor", "rich"]


class OfNumbers(RMTEstimator):
    """Writes each row of numbers as DNA, so that the checks of scikit-learn can be run."""

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> "OfNumbers":
        super().fit(as_dna(X), y, groups)
        return self

    def predict(self, X: Any) -> np.ndarray:
        return super().predict(as_dna(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(as_dna(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        return tags


def as_dna(rows: Any) -> list[str]:
    rows = np.asarray(rows, dtype=float)
    if rows.ndim != 2:
        raise ValueError("Expected 2D array. Reshape your data")
    return ["".join("ACGT"[int(np.clip(v + 2, 0, 3))] * 4 for v in row) for row in rows]


NO_FEATURES = "a sequence is text: it has no features that could be counted or named"
NO_NUMBERS = "about the numbers, types or layout of X, which is text"
COVERED = "takes several fits, and a test above asks the same"
NOT_APPLICABLE = {
    "check_n_features_in": NO_FEATURES,
    "check_n_features_in_after_fitting": NO_FEATURES,
    "check_estimators_empty_data_messages": NO_FEATURES,
    "check_estimators_nan_inf": NO_NUMBERS,
    "check_estimators_dtypes": NO_NUMBERS,
    "check_dtype_object": NO_NUMBERS,
    "check_complex_data": NO_NUMBERS,
    "check_estimator_sparse_tag": NO_NUMBERS,
    "check_estimator_sparse_array": NO_NUMBERS,
    "check_estimator_sparse_matrix": NO_NUMBERS,
    "check_array_api_input": NO_NUMBERS,
    "check_f_contiguous_array_estimator": NO_NUMBERS,
    "check_positive_only_tag_during_fit": NO_NUMBERS,
    "check_readonly_memmap_input": NO_NUMBERS,
    "check_classifiers_classes": COVERED,
    "check_classifiers_multilabel_representation_invariance": COVERED,
    "check_pipeline_consistency": COVERED,
    "check_classifiers_train": "asks for the error of X with another number of features",
    "check_classifiers_regression_target": "numbers with decimals are a regression here",
    "check_classifiers_multilabel_output_format_decision_function": "there is no decision_function",
    "check_fit2d_1sample": "the words of the error: here it is that there is one class only",
    "check_do_not_raise_errors_in_init_or_set_params": (
        "gives arguments of wrong types, which the shape checker of the tests refuses first"
    ),
}


def sklearn_checks() -> list[Any]:
    subject = OfNumbers([*ONE_EPOCH, "training.batch_size=32"], device="cpu")
    found = {}
    for each, check in estimator_checks.estimator_checks_generator(subject):
        function = getattr(check, "func", check)
        found.setdefault(function.__name__, (each, check))
    return [
        pytest.param(*pair, id=name) for name, pair in found.items() if name not in NOT_APPLICABLE
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("subject", "check"), sklearn_checks())
def test_it_passes_a_check_of_scikit_learn(subject: BaseEstimator, check: Any) -> None:
    check(clone(subject))


def test_the_transformer_passes_the_checks_that_need_no_data() -> None:
    for check in (
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
    ):
        check("RMTTransformer", RMTTransformer("folder"))
