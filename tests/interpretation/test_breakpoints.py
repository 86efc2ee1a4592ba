"""Breakpoints: where both parts of a record look most like a class of sequences from one source."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rmt_genomics.dna.alphabet import Codes, decode
from rmt_genomics.errors import ConfigError
from rmt_genomics.interpretation import breakpoints, find_breakpoints
from rmt_genomics.interpretation.breakpoints import breakpoints_of
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from tests.cli.toys import run, succeed
from tests.interpretation.toys import random_codes, toy
from tests.prediction.toys import write_fasta


def purity(model: RMTClassifier, parts: Sequence[Codes], *_: Any) -> np.ndarray:
    """A model that is sure of parts of one base."""
    del model
    return np.array([np.log(np.bincount(part).max() / len(part)) for part in parts])


def test_one_breakpoint_is_where_the_bases_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakpoints, "_log_probabilities", purity)

    found = find_breakpoints(toy(), "A" * 12 + "C" * 30, "a")

    assert (found.positions, found.score) == ((12,), 0.0)
    assert found.whole == pytest.approx(np.log(30 / 42))


def test_two_breakpoints_enclose_an_insertion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakpoints, "_log_probabilities", purity)

    found = find_breakpoints(toy(), "A" * 12 + "C" * 18 + "A" * 24, "a", 2)

    assert (found.positions, found.score) == ((12, 30), 0.0)
    finer = find_breakpoints(toy(), "A" * 12 + "C" * 20 + "A" * 24, "a", 2, piece_bp=4)
    assert finer.positions == (12, 32)
    both_sides = find_breakpoints(toy(), "A" * 6 + "C" * 6 + "G" * 6 + "A" * 12, "a", 2)
    assert both_sides.positions == (6, 12)  # of the right side alone it would be (12, 18)


@pytest.mark.parametrize("number", [1, 2])
def test_it_is_the_best_place_of_all_predictions(number: int) -> None:
    model, letters = toy(pooling="mean"), decode(random_codes(45))
    borders = range(6, 45, 6)

    found = find_breakpoints(model, letters, "b", number)

    def score(place: tuple[int, ...]) -> float:
        start, *ends = place
        if ends:
            parts = [letters[start : ends[0]], letters[:start] + letters[ends[0] :]]
        else:
            parts = [letters[:start], letters[start:]]
        return float(np.log(model.predict_proba(parts)[:, 1]).sum())

    scores = {place: score(place) for place in combinations(borders, number)}
    assert found.positions == max(scores, key=lambda place: scores[place])
    assert found.score == pytest.approx(max(scores.values()))
    assert found.whole == pytest.approx(np.log(model.predict_proba([letters])[0, 1]))


@pytest.mark.parametrize("letters", ["ACGT", "N" * 30])
def test_a_record_of_one_segment_or_without_bases_has_none(letters: str) -> None:
    found = find_breakpoints(toy(), letters, "a")

    assert found.positions == ()
    assert np.isnan(found.score)
    assert np.isnan(found.whole) == (letters[0] == "N")


def test_a_long_record_has_fewer_borders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakpoints, "MOST_BORDERS", {1: 3, 2: 3})
    monkeypatch.setattr(breakpoints, "_log_probabilities", purity)

    found = find_breakpoints(toy(), "A" * 6 + "C" * 54, "a")

    assert found.positions == (6,)  # the first and the last border are among them


def test_what_cannot_be_asked_is_refused() -> None:
    model = toy()
    with pytest.raises(ConfigError, match="class 'x' is unknown"):
        find_breakpoints(model, "ACGT", "x")
    with pytest.raises(ConfigError, match="number of breakpoints is 3, but must be 1 or 2"):
        find_breakpoints(model, "ACGT", "a", 3)
    with pytest.raises(ConfigError, match="piece_bp is 0, but must be at least 1"):
        find_breakpoints(model, "ACGT", "a", piece_bp=0)
    with pytest.raises(ConfigError, match="399 borders, so 79,401 places for 2 breakpoints, but"):
        find_breakpoints(model, "ACGT" * 100, "a", 2, piece_bp=1)
    number = toy(classes=("rate",), task="regression")
    with pytest.raises(ConfigError, match="predicts a number, but breakpoints need"):
        find_breakpoints(number, "ACGT", "rate")


def test_explain_writes_those_of_all_records(tmp_path: Path) -> None:
    model = tmp_path / "model"
    toy(pooling="mean").float().save_pretrained(model)
    letters = {name: decode(random_codes(45, seed=n)) for n, name in enumerate(("one", "two"))}
    fasta = write_fasta(tmp_path / "x.fa", {**letters, "short": "ACG"})
    words = ["explain", model, fasta, "--class", "b", "--method", "occlusion", "--device", "cpu"]

    succeed(*words, "--breakpoints", "2", "--out", tmp_path / "out")

    header, *rows = (tmp_path / "out" / "breakpoints.tsv").read_text().splitlines()
    assert header == "record\tlength\tclass\tbreakpoints\tscore\twhole"
    loaded = RMTClassifier.from_pretrained(model)
    for row, (name, each) in zip(rows, letters.items(), strict=False):
        found = find_breakpoints(loaded, each, "b", 2)
        values = row.split("\t")
        assert values[:4] == [name, "45", "b", ",".join(map(str, found.positions))]
        assert float(values[4]) == pytest.approx(found.score, rel=1e-4)
    assert rows[2].split("\t")[3:5] == ["", "nan"]
    succeed(*words, "--out", tmp_path / "out", "--overwrite")
    assert not (tmp_path / "out" / "breakpoints.tsv").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--breakpoints", "1"), "--breakpoints needs --class"),
        (("--breakpoints", "1", "--class", "b", "--interval", "one:0-9"), "of whole records"),
    ],
)
def test_explain_refuses_them_without_what_they_need(
    tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    (tmp_path / "x.fa").write_text(">one\nACGT\n")

    result = run("explain", tmp_path, tmp_path / "x.fa", "--out", tmp_path / "out", *words)

    assert result.exit_code == 2
    assert problem in " ".join(result.stderr.split())


SEGMENT, TRAIN_LENGTH, LENGTH = 256, 2048, 4096


def mosaics(
    random: np.random.Generator, number: int, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences of random Markov chains; half of them go over to another chain at a breakpoint."""
    chains = random.dirichlet([0.25] * 4, size=(2, number, 4)).cumsum(axis=3)
    is_join = random.integers(0, 2, number).astype(bool)
    at = random.integers(length // 8, length - length // 8, number)
    codes, rows = np.empty((number, length), np.uint8), np.arange(number)
    base = np.zeros(number, int)
    for position, draws in enumerate(random.random((length, number))):
        chain = chains[(is_join & (at <= position)).astype(int), rows, base]
        base = np.minimum((draws[:, None] > chain).sum(axis=1), 3)
        codes[:, position] = base
    return codes, is_join, at


def trained() -> RMTClassifier:
    """A model that has learned, in seconds, whether a sequence is of one chain."""
    torch.manual_seed(0)
    model = RMTClassifier(
        ClassifierConfig(
            classes=("intact", "join"), task="binary", dim=32, depth=1, heads=2, pooling="mean",
            segment_length=32, stem_pool=8, stem_width=5, num_memory_tokens=4,
            strand_head="symmetric",
        )
    )  # fmt: skip
    steps, random = 200, np.random.default_rng(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(steps):
        codes, is_join, _ = mosaics(random, 32, TRAIN_LENGTH)
        optimiser.param_groups[0]["lr"] = 4e-3 * min(1, (step + 1) / 30) * (1 - step / steps)
        logits = model(torch.from_numpy(codes), [TRAIN_LENGTH] * 32)
        loss = F.cross_entropy(logits, torch.from_numpy(is_join).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.mark.slow
def test_breakpoints_of_mosaics_are_found_within_one_segment() -> None:
    """Four of five, in sequences twice as long as those of training; by chance one of five."""
    model = trained()
    assert model.config.segment_bp == SEGMENT
    codes, is_join, at = mosaics(np.random.default_rng(9), 80, LENGTH)

    distances = [
        abs(breakpoints_of(model, codes[row], "intact").positions[0] - at[row])
        for row in np.flatnonzero(is_join)
    ]

    assert len(distances) > 30
    assert np.mean(np.array(distances) <= SEGMENT) >= 0.8
