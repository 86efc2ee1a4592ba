"""Regressions on features: fitted before the training, added to the network at its end."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rmt_genomics import RMTClassifier
from rmt_genomics.dna.alphabet import encode
from rmt_genomics.evaluation.baselines import KS, STRANDED_KS
from rmt_genomics.model import ClassifierConfig, kmer_regression
from rmt_genomics.model.features import parse_features
from rmt_genomics.model.kmer_regression import FeatureRegression, KmerRegression, KmerSpec
from rmt_genomics.model.metrics import logits_of
from rmt_genomics.training import feature_regressions
from rmt_genomics.training.feature_regressions import _OF_LONG, _OF_SHORT, _best_factors
from tests.cli.toys import succeed
from tests.training.toys import TINY, run, sequence

RANDOM = np.random.default_rng(0)
SEQUENCES = [encode(sequence(RANDOM, gc, 700)) for gc in (0.3, 0.5, 0.6, 0.4, 0.55, 0.7)]
TARGETS = np.array([0, 1, 2, 0, 1, 2])


def of_three_mers() -> FeatureRegression:
    """Return a fitted regression on canonical 3-mers, in float64."""
    kmers = KmerSpec(3)
    fitted = KmerRegression.fit(
        kmers.features(SEQUENCES), TARGETS, ("a", "b", "c"), "multiclass", kmers=kmers
    )
    module = FeatureRegression(kmers, 3).double()
    module.set_from(fitted)
    return module


def test_nothing_is_counted_before_it_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is trained without it: counting in each step would be for nothing."""
    monkeypatch.setattr(kmer_regression, "count_kmers", None)
    codes = torch.from_numpy(SEQUENCES[0])[None]

    assert FeatureRegression(KmerSpec(3), 2)(codes).tolist() == [[0.0, 0.0]]
    with pytest.raises(TypeError):
        of_three_mers()(codes)


@pytest.mark.parametrize("items", [_OF_SHORT, _OF_LONG])
def test_what_the_baselines_count_is_tried(items: tuple[str, ...]) -> None:
    """Or a model could be worse than one of them."""
    wanted = {f"kmer:{k}" for k in KS} | {f"stranded-kmer:{k}" for k in STRANDED_KS}
    assert wanted <= set(items)


@pytest.mark.parametrize("item", ["kmer:3", "stranded-kmer:3", "protein:2"])
def test_the_module_gives_the_logits_of_the_regression(item: str) -> None:
    (feature,) = parse_features([item])
    kmers = KmerSpec.of(feature, orf_codons=5)
    features = kmers.features(SEQUENCES)
    fitted = KmerRegression.fit(features, TARGETS, ("a", "b", "c"), "multiclass", kmers=kmers)
    module = FeatureRegression(kmers, 3).double()
    module.set_from(fitted)

    logits = torch.cat([module(torch.from_numpy(codes)[None]) for codes in SEQUENCES])

    torch.testing.assert_close(
        logits.softmax(dim=1).numpy(), fitted.predict_proba(features), rtol=1e-6, atol=1e-9
    )


def test_canonical_kmers_have_the_same_logits_on_both_strands() -> None:
    module = of_three_mers()
    codes = torch.from_numpy(SEQUENCES[0])[None]

    torch.testing.assert_close(module(codes), module((3 - codes).flip(1)))


def test_padding_and_batch_mates_do_not_matter() -> None:
    module = of_three_mers()
    padded = torch.full((2, 900), 4, dtype=torch.uint8)
    padded[0, :700] = torch.from_numpy(SEQUENCES[0])
    padded[1, :10] = 1

    torch.testing.assert_close(module(padded)[:1], module(torch.from_numpy(SEQUENCES[0])[None]))


def test_the_weights_are_folded_into_one_share() -> None:
    kmers = KmerSpec(2)
    fitted = KmerRegression.fit(
        kmers.features(SEQUENCES), TARGETS, ("a", "b", "c"), "multiclass", kmers=kmers
    )
    whole, half = FeatureRegression(kmers, 3).double(), FeatureRegression(kmers, 3).double()
    whole.set_from(fitted)
    half.set_from(fitted, share=0.5)
    codes = torch.from_numpy(SEQUENCES[1])[None]

    torch.testing.assert_close(half(codes), whole(codes) / 2)


def test_a_part_that_hardly_lowers_the_loss_is_left_out() -> None:
    losses = {(0.0, 1.0): 0.50, (1.0, 0.0): 0.60, (0.5, 1.0): 0.495, (0.0, 0.0): 0.7}

    assert _best_factors(losses, 500) == (0.0, 1.0)
    assert _best_factors(losses, 1000) == (0.5, 1.0)
    assert _best_factors({**losses, (1.0, 0.0): 0.40}, 100) == (1.0, 0.0)


def test_a_model_says_something_even_if_nothing_lowers_the_loss(
    by_composition: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        feature_regressions, "loss_of", lambda _, logits, __: float(np.abs(logits).sum())
    )
    run(by_composition, tmp_path / "run", training__max_epochs=1, model__features="kmer:2")

    model = RMTClassifier.from_pretrained(tmp_path / "run")
    assert len(np.unique(model.predict_proba(["ACCA" * 30, "GATA" * 30]))) > 2


@pytest.fixture(scope="module")
def by_composition(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two classes that differ in 2-mers, not in GC content."""
    folder, random = tmp_path_factory.mktemp("dinucleotides"), np.random.default_rng(1)
    fasta, labels = folder / "a.fa", folder / "a.tsv"
    rows = []
    for index in range(80):
        label = ("left", "right")[index % 2]
        units = ["CA", "GA"] if index % 2 else ["CC", "AA"]
        mixed = "".join(random.choice([*units, "A", "C", "G", "T"], size=120))
        rows.append((f"r{index}", label, mixed))
    fasta.write_text("".join(f">{name}\n{letters}\n" for name, _, letters in rows))
    labels.write_text("record\tlabel\n" + "".join(f"{n}\t{label}\n" for n, label, _ in rows))
    return fasta, labels


def test_a_model_is_as_good_as_its_regression_from_the_start(
    by_composition: tuple[Path, Path], tmp_path: Path
) -> None:
    """One epoch with a learning rate of almost 0 teaches the network nothing."""
    options = {"training__max_epochs": 1, "training__learning_rate": 1e-9}
    run(by_composition, tmp_path / "none", **options)
    run(by_composition, tmp_path / "with", **options, model__features="kmer:3")
    folders = (tmp_path / "none", tmp_path / "with")
    alone, model = (RMTClassifier.from_pretrained(folder) for folder in folders)
    lines = by_composition[0].read_text().split("\n")
    truth = np.array([index % 2 for index in range(80)])

    right = [
        (each.predict_proba(lines[1::2][:80]).argmax(axis=1) == truth).mean()
        for each in (alone, model)
    ]

    assert right[0] < 0.8
    assert right[1] > 0.95


def test_the_saved_model_is_network_and_regression_times_their_factors(
    by_composition: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run(by_composition, tmp_path / "run", model__features="kmer:2", training__max_epochs=4)
    (line,) = [each for each in caplog.messages if " x network + " in each]
    of_network, of_regression = (float(part.split(" x ")[0]) for part in line.split(" + "))
    model = RMTClassifier.from_pretrained(tmp_path / "run")
    whole = model.predict_proba(["ACGGTA" * 30])
    assert model.regressions is not None
    regression = model.regressions[0](torch.from_numpy(encode("ACGGTA" * 30))[None])
    for parameter in model.regressions.buffers():
        parameter.zero_()
    network = logits_of(model.predict_proba(["ACGGTA" * 30]), "binary")

    assert max(of_network, of_regression) > 0
    difference = (network + regression.numpy())[0]
    expected = np.exp(difference - np.logaddexp(*difference))
    np.testing.assert_allclose(whole[0], expected, rtol=1e-5)
    assert json.loads((tmp_path / "run/config.json").read_text())["feature_head"] == "regression"


def test_a_resumed_run_has_the_same_model(
    by_composition: tuple[Path, Path], tmp_path: Path
) -> None:
    options = {"model__features": "kmer:2", "training__max_epochs": 2}
    run(by_composition, tmp_path / "run", **options)
    before = (tmp_path / "run/model.safetensors").read_bytes()
    run(by_composition, tmp_path / "run", **options, resume=True)

    assert (tmp_path / "run/model.safetensors").read_bytes() == before


def test_embeddings_have_the_logits_of_the_regressions(
    by_composition: tuple[Path, Path], tmp_path: Path
) -> None:
    run(by_composition, tmp_path / "run", model__features="kmer:2", training__max_epochs=1)
    model = RMTClassifier.from_pretrained(tmp_path / "run")

    assert model.embed(["ACGT" * 10]).shape == (1, model.config.encoding_width)
    assert model.config.encoding_width == 2 * model.config.dim + 2


def test_a_hidden_layer_is_still_possible() -> None:
    config = ClassifierConfig(
        classes=("a", "b"), task="binary", dim=8, heads=2, features=("kmer:2",)
    )

    assert RMTClassifier(config).composition is not None
    assert RMTClassifier(config).regressions is None
    assert RMTClassifier(config.replace(feature_head="regression")).composition is None


def test_the_report_says_what_the_network_adds(
    by_composition: tuple[Path, Path], tmp_path: Path
) -> None:
    fasta, labels = map(str, by_composition)
    settings = [
        f"--set={key}={value}" for key, value in {**TINY, "model.features": "kmer:3"}.items()
    ]

    succeed("train", fasta, "--labels", labels, "--out", str(tmp_path / "run"), *settings)

    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    alone = metrics["baselines"]["features_alone"]
    assert alone["mcc"] > 0.8
    assert metrics["summary"]["network"] in ("unsure", "good")
    assert "adds to its features" in metrics["summary"]["sentence"]
    assert metrics["summary"]["baseline"] != "features_alone"
