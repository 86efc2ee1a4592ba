"""An evaluation set keeps examples, targets and predictions together."""

import logging
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.evaluation import evaluation_set
from tests.evaluation.toys import make_eval_set


@pytest.mark.parametrize(("long_bp", "level"), [(61, logging.DEBUG), (59, logging.INFO)])
def test_only_long_evaluations_log_their_stages_at_info(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    long_bp: int,
    level: int,
) -> None:
    monkeypatch.setattr(evaluation_set, "_LONG_BP", long_bp)
    caplog.set_level(logging.DEBUG, "rmt_genomics")

    make_eval_set(tmp_path, [20] * 3)

    message = "evaluating: predictions of the model (3 examples, 0.0 Mb)"
    assert caplog.record_tuples == [("rmt_genomics.evaluation.evaluation_set", level, message)]


def test_a_subset_keeps_the_order_of_its_indices(tmp_path: Path) -> None:
    eval_set = make_eval_set(tmp_path, [20, 21, 22])

    subset = eval_set.subset(np.array([2, 0]))

    assert [example.name for example in subset.examples] == ["r2", "r0"]
    assert subset.probabilities.tolist() == eval_set.probabilities[[2, 0]].tolist()
    assert subset.targets.tolist() == eval_set.targets[[2, 0]].tolist()
