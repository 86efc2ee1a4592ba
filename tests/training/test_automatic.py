"""Settings chosen by the data: each choice, what is given stays, and what is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.errors import ConfigError
from rmt_genomics.model import kmer_regression
from rmt_genomics.training import automatic, feature_regressions, read_config
from rmt_genomics.training.automatic import TrainingPart, choose, cost, patience, settled
from rmt_genomics.training.config_file import to_toml
from tests.training.toys import run, sequence

LONG, SHORT = [30_000] * 400, [101] * 20_000


def values(lengths_bp: list[int], *settings: str, num_validation: int = 100) -> dict[str, object]:
    """Return all settings for examples of these lengths."""
    config = read_config(None, list(settings))
    choices = choose(config, TrainingPart(lengths_bp, num_validation))
    return settled(config, choices).flat()


@pytest.mark.parametrize(
    ("length_bp", "stem_pool", "dim", "segment_length"),
    [
        (70, 4, 128, 32),
        (300, 4, 128, 96),
        (1500, 4, 64, 128),
        (8000, 8, 64, 128),
        (30_000, 16, 64, 128),
        (5_000_000, 32, 64, 128),
    ],
)
def test_sizes_follow_from_the_length_of_the_examples(
    length_bp: int, stem_pool: int, dim: int, segment_length: int
) -> None:
    found = values([length_bp] * 100)

    assert found["model.stem_pool"] == stem_pool
    assert found["model.dim"] == dim
    assert found["model.segment_length"] == segment_length
    assert found["model.pooling"] == "mean"


def test_a_few_long_examples_do_not_decide() -> None:
    assert values([500] * 95 + [90_000] * 5)["model.stem_pool"] == 4


def test_a_tokenizer_that_merges_bases_needs_less_pooling() -> None:
    kmers = ("tokenizer.kind=kmer", "tokenizer.k=4", "tokenizer.stride=4")
    assert values(LONG, *kmers)["model.stem_pool"] == 4
    assert values(LONG, "model.stem_width=0")["model.stem_pool"] == 1


def test_what_is_given_stays_and_the_rest_fits_it() -> None:
    given = values(LONG, "model.stem_pool=4", "training.max_epochs=3", "model.preset=tiny")

    assert given["model.stem_pool"] == 4
    assert given["training.max_epochs"] == 3
    assert given["model.dim"] == 64
    assert given["model.depth"] == 3
    assert given["model.segment_length"] == 256


@pytest.mark.parametrize(
    ("lengths_bp", "given", "dim", "heads"),
    [
        (LONG, "model.dim=30", 30, 1),
        (LONG, "model.dim=20", 20, 2),
        (LONG, "model.heads=3", 66, 3),
        (SHORT, "model.heads=3", 132, 3),
        (SHORT, "model.heads=8", 128, 8),
    ],
)
def test_sizes_fit_a_given_one(lengths_bp: list[int], given: str, dim: int, heads: int) -> None:
    found = values(lengths_bp, given)

    assert (found["model.dim"], found["model.heads"]) == (dim, heads)


@pytest.mark.parametrize("other", ["model.heads=4", "model.preset=small"])
def test_sizes_that_are_both_given_must_fit(other: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.dim \(30\) must be a multiple of heads \(4\)"):
        values(LONG, "model.dim=30", other)


def test_batches_hold_at_most_about_a_megabase() -> None:
    assert values(SHORT)["training.batch_size"] == 128
    assert values([100_000] * 5000)["training.batch_size"] == 8
    assert values([3_000_000] * 50)["training.batch_size"] == 4
    assert values([3_000_000] * 2)["training.batch_size"] == 2


def test_a_batch_size_that_will_be_measured_stays() -> None:
    assert values(SHORT, "training.batch_size=auto")["training.batch_size"] == "auto"


def test_a_time_budget_settles_the_epochs() -> None:
    found = values([100_000] * 10_000, "training.time_budget=5min")

    assert found["training.max_epochs"] == 60  # at most
    assert found["training.examples_per_epoch"] is None


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        (["training.batch_size=16"], 25),  # 40 steps an epoch
        (["training.batch_size=64"], 100),
        (["training.batch_size=16", "training.examples_per_epoch=160"], 100),
        (["training.batch_size=16", "training.max_epochs=20"], 20),
        (["training.batch_size=16", "training.max_epochs=5"], None),
        (["training.batch_size=1"], None),
        (["training.batch_size=16", "training.patience=3"], None),
        (["training.batch_size=auto"], None),
    ],
)
def test_without_features_training_waits_for_a_thousand_steps(
    settings: list[str], epochs: int | None
) -> None:
    found = patience(read_config(None, ["training.max_epochs=200", *settings]), {}, 640)

    assert (found["training.patience"].value if found else None) == epochs


@pytest.mark.parametrize(("features", "waits"), [("none", True), ("kmer:2", False)])
def test_the_patience_of_a_run_depends_on_its_features(
    features: str, waits: object, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    fasta, labels = tmp_path / "a.fa", tmp_path / "a.tsv"
    fasta.write_text("".join(f">r{i}\n{sequence(random, 0.5, 60)}\n" for i in range(20)))
    labels.write_text("record\tlabel\n" + "".join(f"r{i}\t{i % 2}\n" for i in range(20)))

    run((fasta, labels), tmp_path / "out", model__features=features, training__max_epochs=6)

    written = read_config(tmp_path / "out/config.toml")
    assert (written.training.patience > 5) == waits


def test_small_data_get_more_dropout_and_more_epochs() -> None:
    small, large = values([1200] * 200), values([1200] * 50_000)

    assert small["model.dropout"] == 0.2
    assert large["model.dropout"] == 0.1
    assert large["training.shift_bp"] == 0
    assert small["training.max_epochs"] == 60
    assert large["training.max_epochs"] < 30


def test_many_short_examples_are_regularised_more() -> None:
    found = values([101] * 5000)

    assert found["model.dropout"] == 0.2
    assert found["training.weight_decay"] == 0.1
    assert found["training.shift_bp"] == 3
    assert values([101] * 500)["training.shift_bp"] == 0


def test_an_epoch_of_large_data_is_a_sample() -> None:
    found = values([100_000] * 10_000, num_validation=2500)

    assert found["training.max_epochs"] == 8
    assert 100 < found["training.examples_per_epoch"] < 1000
    assert found["training.validation_examples"] == 500
    assert values(LONG)["training.examples_per_epoch"] is None


@pytest.mark.parametrize("lengths_bp", [LONG, SHORT, [1500] * 900, [60_000] * 2000])
def test_no_choice_takes_longer_than_planned(lengths_bp: list[int]) -> None:
    found = values(lengths_bp)

    num = found["training.examples_per_epoch"] or len(lengths_bp)
    token_bp = found["model.stem_pool"]
    seconds = cost(found["model.dim"], found["model.depth"], token_bp) * lengths_bp[0] * num
    limit = 240 if sum(lengths_bp) <= 50_000_000 else 400
    assert seconds * found["training.max_epochs"] <= limit


def test_fresh_examples_are_not_sampled() -> None:
    config = read_config(None, ["simulation.task=order", "simulation.length_bp=20000"])
    choices = choose(config, TrainingPart.of_simulation(config.simulation))

    assert "training.examples_per_epoch" not in choices
    assert choices["model.stem_pool"].value == 16


def test_each_choice_has_its_reason_in_the_file(tmp_path: Path) -> None:
    config = read_config(None)
    choices = choose(config, TrainingPart(LONG, 100))
    text = to_toml(settled(config, choices), {key: each.reason for key, each in choices.items()})

    lines = text.split("\n")
    at = lines.index("stem_pool = 16")
    assert lines[at - 1] == "# nine of ten training examples have at most 30,000 bp"
    (tmp_path / "config.toml").write_text(text)
    assert read_config(tmp_path / "config.toml") == settled(config, choices)


def test_many_short_examples_have_wide_kmers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, fasta, labels = np.random.default_rng(0), tmp_path / "a.fa", tmp_path / "a.tsv"
    gc = {"rich": 0.6, "poor": 0.4}
    names = [(f"r{i}", ("rich", "poor")[i % 2]) for i in range(60)]
    fasta.write_text("".join(f">{n}\n{sequence(random, gc[c], 200)}\n" for n, c in names))
    labels.write_text("record\tlabel\n" + "".join(f"{n}\t{c}\n" for n, c in names))

    for most, has_wide in ((40, True), (80, False)):
        monkeypatch.setattr(automatic, "MANY_SHORT", most)
        out = tmp_path / str(most)
        run((fasta, labels), out, model__features="auto", training__max_epochs=1)
        features = json.loads((out / "config.json").read_text())["features"]
        assert ("wide:6,8,10,12" in features) == has_wide
        assert "kmer:4" in features  # 2-mers are as good, and come after them

    monkeypatch.setattr(automatic, "MANY_SHORT", 40)
    monkeypatch.setattr(feature_regressions, "_MOST_WIDE_CLASSES", 1)
    monkeypatch.setattr(kmer_regression, "_LARGEST_FIT", 100)
    out = tmp_path / "many classes"
    run((fasta, labels), out, model__features="auto", training__max_epochs=1)
    assert json.loads((out / "config.json").read_text())["features"] == []
    assert "2 classes would take hours" in (out / "config.toml").read_text()


def test_the_same_data_have_the_same_settings_and_a_resumed_run_keeps_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    fasta, labels = tmp_path / "a.fa", tmp_path / "a.tsv"
    gc = {"rich": 0.6, "poor": 0.4}
    names = [(f"r{i}", ("rich", "poor")[i % 2]) for i in range(60)]
    fasta.write_text("".join(f">{n}\n{sequence(random, gc[c], 200)}\n" for n, c in names))
    labels.write_text("record\tlabel\n" + "".join(f"{n}\t{c}\n" for n, c in names))
    automatic = {"model__features": "auto", "training__max_epochs": 1}

    run((fasta, labels), tmp_path / "one", **automatic)
    run((fasta, labels), tmp_path / "two", **automatic)

    written = (tmp_path / "one/config.toml").read_text()
    assert written == (tmp_path / "two/config.toml").read_text()
    assert '"kmer:4"' in written
    assert "validation mcc" in written
    run((fasta, labels), tmp_path / "one", **automatic, resume=True)
    assert (tmp_path / "one/config.toml").read_text() == written
