"""Training on fresh simulated examples: made anew in each epoch, and the same when resumed."""

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.cli.train import _evaluate
from rmt_genomics.datasets import LengthBuckets
from rmt_genomics.datasets.labels import read_split
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning
from rmt_genomics.evaluation import evaluate_run
from rmt_genomics.model.pretrained import read_config as read_model_config
from rmt_genomics.reports.run_results import read_run_results
from rmt_genomics.training import TrainingResult, train
from rmt_genomics.training.config import CurriculumSettings
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.data_module import prepare_data
from rmt_genomics.training.fresh_data import FreshDataset, open_simulated
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.planning import plan
from tests.prediction.toys import write_fasta, write_table
from tests.training.test_distributed import assert_same_run, no_launcher, one_thread, train_in_two
from tests.training.toys import settings, weights_of, write_data

__all__ = ["one_thread"]
CHANGES: dict[str, Any] = {
    "simulation__task": "mosaic",
    "simulation__length_bp": 40,
    "simulation__examples_per_epoch": 12,
    "simulation__validation_examples": 6,
}


@pytest.fixture
def genomes(tmp_path: Path) -> Path:
    """Twelve records whose GC fractions are between 0.1 and 0.9."""
    records = {}
    for number in range(12):
        gc, random = 0.1 + 0.8 * number / 11, np.random.default_rng(number)
        letters = random.choice(list("GCAT"), 200, p=[gc / 2, gc / 2, (1 - gc) / 2, (1 - gc) / 2])
        records[f"r{number}"] = "".join(letters)
    return write_fasta(tmp_path / "genomes.fa", records)


def run(genomes: Path, out: Path, **options: Any) -> TrainingResult:
    changes = {name: options.pop(name) for name in list(options) if "__" in name}
    config = settings(**{**CHANGES, **changes})
    return train(genomes, None, out, config, device="cpu", **options)


def dataset(genomes: Path, curriculum: Curriculum | None = None, **options: Any) -> FreshDataset:
    is_training = options.pop("is_training", True)
    store = open_simulated(genomes, settings(**{**CHANGES, **options}), seed=0)
    examples = store.split().train if is_training else store.split().validation
    return FreshDataset(
        store,
        examples,
        np.zeros(len(examples), dtype=np.int64),
        curriculum=curriculum or Curriculum(),
        seed=0,
        is_training=is_training,
    )


def codes_of(examples: FreshDataset) -> list[bytes]:
    return [examples[index].codes.numpy().tobytes() for index in range(len(examples))]


def test_each_epoch_has_examples_of_its_own(genomes: Path) -> None:
    examples = dataset(genomes)
    first = codes_of(examples)

    examples.begin_epoch(1)
    second = codes_of(examples)
    examples.begin_epoch(0)

    assert not set(first) & set(second)
    assert codes_of(examples) == first


def test_validation_examples_stay_the_same(genomes: Path) -> None:
    examples = dataset(genomes, is_training=False)
    first = codes_of(examples)

    examples.begin_epoch(1)

    assert codes_of(examples) == first
    assert first == [
        examples.store.codes(example.interval).tobytes() for example in examples.examples
    ]


def test_training_is_easy_at_first_and_validation_never_is(
    genomes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float]] = []
    easy = {"simulation__gc_difference": 0.4, "training__max_epochs": 4}
    for is_training in (True, False):
        examples = dataset(genomes, is_training=is_training, **easy)
        fresh = examples.store.fresh
        plain = fresh.codes

        def codes(part: str, *key: int, gc_difference: float, plain: Any = plain) -> Any:
            seen.append((part, gc_difference))
            return plain(part, *key, gc_difference=gc_difference)

        monkeypatch.setattr(fresh, "codes", codes)
        for epoch in range(3):
            examples.begin_epoch(epoch)
            examples[0]

    assert seen == [("train", 0.4), ("train", 0.2), ("train", 0.0), *[("validation", 0.0)] * 3]


def test_examples_are_made_in_the_length_of_the_stage(genomes: Path) -> None:
    curriculum = Curriculum(CurriculumSettings(segments=(1, 2), mix=0.0), (16, 32))
    examples = dataset(genomes, curriculum)

    assert examples.lengths == [16] * 12
    fresh = examples.store.fresh
    assert codes_of(examples)[3] == fresh.codes("train", 0, 3, 16).tobytes()
    whole = fresh.codes("train", 0, 3, 40).tobytes()
    assert codes_of(examples)[3] not in (whole[:16], whole[24:], whole[12:28])  # no part of it
    curriculum.advance(0)
    examples.begin_epoch(0)
    assert examples.lengths == [32] * 12


def test_batches_of_several_lengths_are_nearly_uniform(genomes: Path) -> None:
    examples = dataset(
        genomes, simulation__length_bp="[20, 80]", simulation__examples_per_epoch=900
    )

    batches = LengthBuckets(examples.lengths, 10, shuffle=True, seed=0)

    lengths = [[examples.lengths[index] for index in batch] for batch in batches]
    read_bp = sum(len(batch) * max(batch) for batch in lengths)
    assert len(set(examples.lengths)) == 9
    assert sum(len(set(batch)) > 1 for batch in lengths) < 45  # of 90
    assert read_bp < 1.04 * sum(examples.lengths)


@pytest.mark.slow
def test_a_run_needs_no_labels_and_says_what_it_was_trained_on(
    genomes: Path, tmp_path: Path
) -> None:
    rows = [f"r{number} g{number // 2}" for number in range(12)]
    groups = write_table(tmp_path / "groups.tsv", "record group", *rows)
    out = tmp_path / "run"

    result = run(
        genomes,
        out,
        simulation__groups=str(groups),
        simulation__length_bp="[20, 40]",
        training__max_epochs=1,
    )
    _evaluate(out, genomes, "cpu", result, time.monotonic())

    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["split"], metrics["n"]) == ("test", 6)
    assert {"kmer_logistic", "majority"} <= metrics["baselines"].keys()
    assert any("those of the first epoch, at full difficulty" in each for each in metrics["notes"])
    sources = read_split(out / "split.tsv")
    assert {example.interval.record for example in sources} == {f"r{n}" for n in range(12)}
    assert all(
        example.group == f"g{int(example.name[1:].split(':')[0]) // 2}" for example in sources
    )
    assert {example.split for example in sources} == {"train", "validation", "test"}
    assert len({(example.group, example.split) for example in sources}) == 6
    assert {example.labels for example in sources} == {()}
    model = read_model_config(out / "config.json")
    assert (model.min_train_bp, model.max_train_bp) == (20, 40)
    card = (out / "README.md").read_text()
    assert (
        "Simulated examples of 20 to 40 bp, made anew in each epoch of 12 source records: " in card
    )
    assert "trained and tested on sequences of 20 to 40 bp" in card
    report = (out / "report.html").read_text()
    assert "the source records, of which examples were made anew in each epoch" in report
    assert "source records in train" in report
    assert read_run_results(out).is_simulated
    with pytest.raises(DataError, match=r"split\.tsv: has the source records of simulated"):
        evaluate_run(out, genomes, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mosaic", "order"])
def test_a_resumed_run_has_the_same_weights(
    genomes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    options = {"simulation__task": task, "simulation__length_bp": "[40, 80]"}
    options["curriculum__segments"] = "[2, 4]"
    options["curriculum__advance_at"] = 0.0  # the second epoch begins the second stage
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(genomes, whole, training__max_epochs=4, **options)
    step = ClassifierModule.training_step

    def interrupted(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (2, 1):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(genomes, stopped, training__max_epochs=4, **options)
    run(genomes, stopped, training__max_epochs=4, resume=True, **options)

    one, other = weights_of(whole), weights_of(stopped)
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.slow
@no_launcher
def test_two_processes_train_on_the_same_examples(genomes: Path, tmp_path: Path) -> None:
    options = {**CHANGES, "training__batch_size": 5, "training__max_epochs": 3}
    run(genomes, tmp_path / "one", **options)

    train_in_two((genomes, None), tmp_path / "two", **options)  # type: ignore[arg-type]

    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_near_duplicates_among_the_source_records_are_reported(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    letters = ["".join(random.choice(list("ACGT"), 300)) for _ in range(12)]
    genomes = write_fasta(tmp_path / "g.fa", {f"r{n}": letters[n % 2 and n] for n in range(12)})

    with pytest.warns(
        RMTGenomicsWarning,
        match=r"near-duplicates of source records in another part .* into one group of simulation",
    ):
        data = prepare_data(genomes, None, settings(**CHANGES), seed=0)

    assert data.audit.of_sources
    with pytest.raises(DataError, match="the split leaks, but --strict refuses such splits"):
        prepare_data(genomes, None, settings(**CHANGES), seed=0, strict=True)


def test_a_plan_knows_the_lengths_of_simulated_examples(genomes: Path) -> None:
    result = plan(genomes, settings(**CHANGES, model__dim=8), device="cpu")

    assert result.train_bp == [40] * 12
    assert result.validation_bp == [40] * 6


def test_labels_and_simulated_examples_exclude_each_other(genomes: Path, tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path)

    for function in (
        lambda: train(fasta, labels, tmp_path / "x", settings(**CHANGES), device="cpu"),
        lambda: plan(fasta, settings(**CHANGES), labels=labels, device="cpu"),
    ):
        with pytest.raises(
            ConfigError, match=r"--labels is given, but simulation\.task is 'mosaic'"
        ):
            function()
    with pytest.raises(DataError, match=r"or set simulation\.task to train on simulated examples"):
        train(genomes, None, tmp_path / "x", settings(), device="cpu")
    assert not (tmp_path / "x").exists()


def test_genomes_that_cannot_be_used_leave_no_run(genomes: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"simulation__length_bp": 201}, "the longest record has 200 bp, but sequences of 201 bp"),
        ({"simulation__gc_difference": 0.95}, "a GC difference of 0.95 is asked for between"),
        ({"simulation__groups": "nowhere.tsv"}, "nowhere.tsv"),
        (
            {"simulation__task": "order", "simulation__length_bp": 20},
            "simulation.length_bp: a leng",
        ),
    ):
        with pytest.raises((DataError, ConfigError), match=re.escape(words)):
            run(genomes, tmp_path / "run", **changes)
        assert not (tmp_path / "run").exists()


def test_settings_of_names_and_of_the_audit_are_for_the_genomes(genomes: Path) -> None:
    text = genomes.read_text()
    genomes.write_text(text + text.replace(">r1\n", ">r1\nA").replace(">", ">r"))
    with genomes.open("a") as file:
        file.write(">r1 again\n" + "ACGT" * 50 + "\n")
    changes = {**CHANGES, "data__duplicate_names": "number", "data__identity": 1.0}

    with pytest.warns(RMTGenomicsWarning):
        store = open_simulated(genomes, settings(**changes), seed=0)
    with pytest.raises(DataError, match="r1"):
        open_simulated(genomes, settings(**CHANGES), seed=0)

    assert "r1_2" in store.fresh.sources.group_of


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"simulation__task": "count"}, "simulation.task is 'count', but must be"),
        ({"simulation__length_bp": "[80, 40]"}, "simulation.length_bp is [80, 40], but must be"),
        ({"simulation__length_bp": "[40, 80, 90]"}, "simulation.length_bp is [40, 80, 90], but"),
        ({"simulation__length_bp": 0}, "simulation.length_bp is 0, but must be a whole number"),
        (
            {"simulation__task": "order", "simulation__gc_difference": 0.1},
            "simulation.gc_difference is 0.1, but has no effect: the task order does not join two",
        ),
        ({"simulation__gc_difference": 1.0}, "simulation.gc_difference is 1.0, but must be"),
        (
            {"data__validation_fraction": 0.1},
            "data.validation_fraction is 0.1, but has no effect on the examples of simulation.task",
        ),
        ({"data__task": "classification"}, "data.task is 'classification', but has no effect"),
        (
            {"curriculum__segments": "[1, 2]", "curriculum__shorten": "prefix"},
            "curriculum.shorten is 'prefix', but has no effect on the examples of simulation.",
        ),
        (
            {"simulation__task": '""'},
            "simulation.length_bp is 40, but has no effect: simulation.task is empty. Set it too",
        ),
    ],
)
def test_settings_without_effect_or_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        settings(**{**CHANGES, **changes})
