"""The model card: correct, readable by the hub, and never replaced after it was edited."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from rmt_genomics import RMTClassifier
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.reports import write_model_card
from tests.prediction.toys import saved_model
from tests.reports.toys import NASTY, THREE, difference, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A model folder with all that its training left; the card is that of ``save_pretrained``."""
    saved_model(tmp_path / "run", classes=THREE, task="multiclass")
    return write_run(tmp_path / "run")


def card_of(folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return write_model_card(folder).read_text(encoding="utf-8")


def test_the_default_card_of_a_saved_model_is_replaced(run: Path) -> None:
    assert "PytorchModelHubMixin" in (run / "README.md").read_text()

    text = card_of(run)

    assert "PytorchModelHubMixin" not in text
    assert text.count("The model is ahead of the baseline by 0.100 MCC") == 1
    assert text.count("The model is ahead of the baseline by 0.200 MCC") == 1
    assert "| predictor | accuracy | balanced accuracy | MCC | " in text
    assert "| model | 0.900 | 0.900 | 0.800 (0.691 to 0.887) | 0.900 | " in text
    assert "86 labelled examples of" in text
    assert "11.1% of test are near-duplicates" in text
    assert 'preset = "tiny"' in text
    assert 'RMTClassifier.from_pretrained("' in text
    assert "rmt-genomics predict" in text


def test_the_hub_can_read_its_front_matter(run: Path) -> None:
    text = card_of(run)
    card = ModelCard(text)

    assert card.data.library_name == "rmt-genomics"
    assert "multiclass" in (card.data.tags or [])
    assert "matthews_correlation" in (card.data.metrics or [])
    assert card.data.license is None
    assert "\n# license: yours to choose before you publish this model\n---\n" in text


def test_a_control_has_a_card_of_its_own(run: Path) -> None:
    control = saved_model(run / "control", classes=THREE, task="multiclass", memory_reset="segment")
    card_of(run)
    assert "It was not compared with the model" in (control / "README.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["baselines"]["memory_reset_trained"] = metrics["baselines"]["majority"] | {"mcc": 0.42}
    metrics["differences"]["memory_reset_trained"] = difference("mcc", 0.38, 0.2, 0.5)
    (run / "metrics.json").write_text(json.dumps(metrics))

    card_of(run)

    text = (control / "README.md").read_text()
    assert "PytorchModelHubMixin" not in text
    assert (
        "the same network as the model `run` in the folder above (`../`), trained without" in text
    )
    assert "| the model | 0.900 | 0.900 | 0.800 (" in text
    assert "| trained without memory | " in text
    assert " | 0.420 | " in text
    assert metrics["differences"]["memory_reset_trained"]["sentence"] in text
    assert ModelCard(text).data.library_name == "rmt-genomics"
    alone = saved_model(run.parent / "control", memory_reset="segment")
    assert "predicts one of two classes" in card_of(alone)


def test_names_are_shown_unchanged(run: Path) -> None:
    text = card_of(run)

    assert f"`{NASTY}`" in text
    assert "Of the class \\<b\\>&\"'\\</b\\> there are few examples." in text


def test_a_model_alone_gets_a_card_too(tmp_path: Path) -> None:
    text = card_of(saved_model(tmp_path / "model"))

    assert "predicts one of two classes: `at`, `gc`" in text
    assert "## Results" not in text
    assert "## Data" not in text


def test_a_generated_card_is_updated(run: Path) -> None:
    card_of(run)
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"mcc": 0.1234}))

    assert "| model | 0.900 | 0.900 | 0.123 (0.691 to 0.887) |" in card_of(run)
    assert card_of(run) == card_of(run)


@pytest.mark.parametrize("edit", ["More words.\n", "\nMIT licence.", "# Mine alone"])
def test_a_card_that_was_edited_is_kept(run: Path, edit: str) -> None:
    mine = edit if edit.startswith("#") else edit + card_of(run)
    (run / "README.md").write_text(mine)

    with pytest.warns(RMTGenomicsWarning, match=r"README\.md: was edited, so it is kept"):
        write_model_card(run)

    assert (run / "README.md").read_text() == mine


def test_a_saved_model_keeps_the_card_and_can_be_loaded(run: Path) -> None:
    text = card_of(run)

    RMTClassifier.from_pretrained(run).save_pretrained(run)

    assert (run / "README.md").read_text() == text
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no config\.json, but a model card describes a model"):
        write_model_card(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "head `concat`.\n"),
        ({"features": ("kmer:2",)}, "`concat`, which also reads the frequencies of 2-mers.\n"),
        (
            {"features": ("kmer:2", "stranded-kmer:3", "protein:1"), "orf_codons": 7},
            "the frequencies of 2-mers, of 3-mers of each strand and of 1-mers of amino acids (in "
            "ten classes) in open reading frames of at least 7 codons.\n",
        ),
        (
            {"features": ("wide:2-3",)},
            "; a linear model on k-mers of 2, 3 bases is added to its logits.",
        ),
    ],
)
def test_the_card_names_the_features_besides_the_memory(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    saved_model(tmp_path / "run", classes=THREE, task="multiclass", **changes)

    assert words in card_of(write_run(tmp_path / "run"))


HOSTILE = ("a|b", "---", "# x", "{{7*7}}", "<script>alert(1)</script>", '"', ": ", "1. x", "`a`")


def test_hostile_names_are_text_in_the_card_and_its_yaml_head_parses(tmp_path: Path) -> None:
    folder = tmp_path / "--- {{7*7}} # <b>"
    saved_model(folder, classes=HOSTILE, task="multiclass")
    write_run(folder, classes=HOSTILE)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics |= {"notes": [*HOSTILE, "two\nlines"], "task": "x\n---\n# y: {"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "leakage.json").write_text(json.dumps({"warnings": list(HOSTILE)}))
    (folder / "config.toml").write_text('a = "```"\n```\n# not a heading\n')

    text = card_of(folder)

    assert "x\n---\n# y: {" in (ModelCard(text).data.tags or [])
    tokens = MarkdownIt().parse(text[text.index("\n---\n\n# ") + 4 :])
    html = [token.content for token in tokens if token.type == "html_block"]
    assert [comment[:22] for comment in html] == ["<!-- rmt-genomics wrote"[:22]]
    inline = [token.children or [] for token in tokens if token.type == "inline"]
    shown = ["".join(child.content for child in children) for children in inline]
    assert shown[0] == folder.name
    assert {*map(str.strip, HOSTILE), "two lines"} <= set(shown)
    children = [child for children in inline for child in children]
    codes = [child.content for child in children if child.type == "code_inline"]
    assert [*map(str.strip, HOSTILE)] == codes[: len(HOSTILE)]
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.tag[:1] == "h"]
    assert "not a heading" not in headings
    fences = [token.content for token in tokens if token.type == "fence"]
    assert fences[0] == 'a = "```"\n```\n# not a heading\n'


def test_metrics_without_intervals_are_shown_alone(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["intervals"]
    (run / "metrics.json").write_text(json.dumps(metrics))

    text = card_of(run)

    assert "| model | 0.900 | 0.900 | 0.800 | 0.900 |" in text
    assert "In brackets" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stem_pool": 1}, "segments of 6 bp (6 tokens of 1 base), "),
        (
            {"stem_pool": 4},
            "segments of 24 bp (24 tokens of 1 base, of which the stem merges 4 at a time), ",
        ),
        (
            {"tokenizer_kind": "kmer", "k": 4, "stride": 2},
            "segments of 14 bp (6 tokens of 4 bases, one every 2 bases), ",
        ),
    ],
)
def test_the_card_says_how_much_dna_a_segment_covers(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    saved_model(tmp_path / "model", **changes)

    assert words in card_of(tmp_path / "model")
