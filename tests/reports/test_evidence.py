"""Where the evidence lies: which examples are shown, in which pieces, and in which time."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmt_genomics.dna.alphabet import UNKNOWN
from rmt_genomics.errors import DataError
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.reports import evidence, write_evidence, write_report
from tests.evaluation.toys import make_eval_set
from tests.model.toys import toy
from tests.reports.test_html_report import report_of
from tests.reports.toys import write_run

PLENTY = 600.0


def toys(folder: Path, probabilities: list[list[float]], **changes: Any) -> EvaluationSet:
    """Examples of 40, 60, ... bp with labels in turn and the given predictions."""
    lengths = [40 + 20 * index for index in range(len(probabilities))]
    return replace(make_eval_set(folder, lengths, **changes), probabilities=np.array(probabilities))


def written(folder: Path, eval_set: EvaluationSet, seconds: float = PLENTY) -> dict[str, Any]:
    write_evidence(folder, eval_set, seconds=seconds)
    found: dict[str, Any] = json.loads((folder / "evidence.json").read_text())
    return found


def test_the_clearest_right_predictions_of_each_class_are_shown(tmp_path: Path) -> None:
    # true classes: at, gc, at, gc, ...; r2 and r5 are wrong, r0 and r4 are equally clear
    rows = [[0.9, 0.1], [0.3, 0.7], [0.01, 0.99], [0.2, 0.8], [0.9, 0.1], [0.99, 0.01], [0.8, 0.2]]

    found = written(tmp_path, toys(tmp_path, rows))

    shown = [(each["class"], each["record"], each["probability"]) for each in found["examples"]]
    assert shown == [("at", "r0", 0.9), ("at", "r4", 0.9), ("gc", "r3", 0.8), ("gc", "r1", 0.7)]
    assert found["notes"] == []


def test_effects_are_those_of_the_pieces_replaced_by_n(tmp_path: Path) -> None:
    eval_set = toys(tmp_path, [[0.9, 0.1], [0.2, 0.8]])
    model = eval_set.model

    example = written(tmp_path, eval_set)["examples"][1]

    (codes,) = eval_set.codes([1])
    edges = [*example["starts"], example["ends"][-1]]
    assert (edges[0], edges[-1], edges[1:]) == (0, 60, example["ends"])
    whole = logit_of(model, codes)
    for start, end, effect in zip(edges, edges[1:], example["effects"], strict=False):
        occluded = codes.copy()
        occluded[start:end] = UNKNOWN
        assert effect == pytest.approx(whole - logit_of(model, occluded), abs=1e-5)


def logit_of(model: Any, codes: np.ndarray) -> float:
    """The logit of the second class."""
    with torch.inference_mode():
        return float(model.eval()(torch.from_numpy(codes)[None], [len(codes)])[0, 1])


@pytest.mark.parametrize(
    ("segments", "most", "kind", "size"),
    [
        (5, 32, "5 segments", 6),
        (2, 8, "6 pieces of 2 bp", 2),  # segments of 6 bp are too few to show where
        (20, 8, "7 groups of segments", 18),
    ],
)
def test_pieces_are_segments_or_parts_of_few_segments(
    segments: int, most: int, kind: str, size: int
) -> None:
    pieces, found = evidence._pieces(toy(), 6 * segments, most)

    assert found == kind
    assert pieces[0] == (0, size)
    assert pieces[-1][1] == 6 * segments
    assert len(pieces) <= most


def test_a_class_without_a_right_prediction_is_named(tmp_path: Path) -> None:
    found = written(tmp_path, toys(tmp_path, [[0.9, 0.1], [0.7, 0.3]]))

    assert [each["class"] for each in found["examples"]] == ["at"]
    assert found["notes"] == ["No evaluated example of gc was predicted as gc."]


def test_what_would_take_too_long_is_left_out_and_named(tmp_path: Path) -> None:
    found = written(tmp_path, toys(tmp_path, [[0.9, 0.1], [0.2, 0.8]]), seconds=0.0)

    assert found["examples"] == []
    (note,) = found["notes"]
    assert note.startswith("Left out, to end within 5% of the time of the run: at, gc. ")


def test_a_shorter_example_is_taken_where_the_clearest_would_take_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eval_set = toys(tmp_path, [[0.6, 0.4], [0.1, 0.9], [0.99, 0.01]])  # of 40, 60 and 80 bp
    monkeypatch.setattr(evidence, "_seconds_per_bp", lambda *_: 1.0)

    # a quarter of the time is for each of four examples: five readings of 40 bp, not of 80 bp
    found = written(tmp_path, eval_set, seconds=4 * 5.2 * 40)

    shown = [(each["class"], each["record"]) for each in found["examples"]]
    assert shown == [("at", "r0"), ("gc", "r1")]


def test_of_several_labels_an_example_counts_for_each(tmp_path: Path) -> None:
    eval_set = toys(tmp_path, [[0.9, 0.8], [0.2, 0.9]], task="multilabel")
    eval_set = replace(eval_set, targets=np.array([[1.0, 1.0], [0.0, 1.0]]))

    found = written(tmp_path, eval_set)

    shown = [(each["class"], each["record"]) for each in found["examples"]]
    assert shown == [("at", "r0"), ("gc", "r1"), ("gc", "r0")]


def test_of_many_classes_the_most_common_are_shown(tmp_path: Path) -> None:
    names = tuple(f"c{index:02}" for index in range(12))
    rows = np.eye(12)[[*range(12), 11, 10]]
    eval_set = toys(tmp_path, rows.tolist(), classes=names, task="multiclass")
    truth = np.array([*range(12), 11, 10])
    eval_set = replace(eval_set, targets=truth)

    choices = list(evidence._choices(eval_set))
    notes = written(tmp_path, eval_set, seconds=0.0)["notes"]

    assert [each.class_index for each in choices] == [10, 11, *range(8)]
    assert choices[0].rows == [10, 13]
    assert notes[0] == "Shown are the 10 most common of 12 classes."


def test_a_regression_has_none_and_an_earlier_file_goes(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [40, 50], classes=("copies",), task="regression")
    (tmp_path / "evidence.json").write_text("{}")

    write_evidence(tmp_path, eval_set, seconds=PLENTY)

    assert not (tmp_path / "evidence.json").exists()


def test_the_report_shows_them_after_the_use_of_context(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rows = [[0.9, 0.1], [0.8, 0.2]]
    found = written(tmp_path, toys(tmp_path, rows))
    (run / "evidence.json").write_text((tmp_path / "evidence.json").read_text())

    page = report_of(run)

    place = page.headings.index("Where the evidence lies")
    assert page.headings[place - 1] == "Use of context"
    assert "at: r0, 40 bp, probability 0.900; " in page.shown
    assert found["notes"][0] in page.shown
    assert "through the memory" in page.shown  # this model has one


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"effects": [1.0]}, "has not one value for each piece, but must have"),
        ({"starts": [0, 5], "ends": [4, 9]}, "has pieces that do not follow each other"),
        ({"record": 3}, "examples.0.record is 3, but must be a valid string"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    example = {
        **{"record": "r", "class": "at", "probability": 0.9, "pieces": "2 segments"},
        **{"starts": [0, 4], "ends": [4, 9], "effects": [1.0, 2.0], "through_memory": [0.0, 0.0]},
    }
    run = write_run(tmp_path / "run")
    text = json.dumps({"examples": [example | changes], "notes": []})
    (run / "evidence.json").write_text(text)

    with pytest.raises(DataError, match=rf"evidence\.json: .*{words}"):
        write_report(run)
