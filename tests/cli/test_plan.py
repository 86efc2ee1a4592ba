"""``rmt-genomics plan``: a table on stdout, advice on stderr."""

from pathlib import Path

import pytest

from rmt_genomics.training import planning
from tests.cli.toys import fail, run, succeed
from tests.training.toys import TINY, write_data

SETTINGS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


def test_a_table_goes_to_stdout_and_advice_to_stderr(tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path)

    result = succeed("plan", fasta, "--labels", labels, "--device", "cpu", *SETTINGS)

    header, *rows = (line.split("\t") for line in result.stdout.splitlines())
    assert header == ["key", "value", "unit"]
    assert all(len(row) == 3 for row in rows)
    assert ["examples", "16", "examples"] in rows
    assert {"train_peak_memory", "epoch_time", "predict_speed"} < {row[0] for row in rows}
    assert "Training needs about" in result.stderr
    assert not list(tmp_path.rglob("*.ckpt"))


def test_wrong_settings_are_reported(tmp_path: Path) -> None:
    fasta, _ = write_data(tmp_path)

    assert "training.batch_size is 'most', but must be a whole number of at least 1 or 'auto'" in (
        fail("plan", fasta, "--set", "training.batch_size=most")
    )


def test_a_label_pattern_without_labels_is_refused(tmp_path: Path) -> None:
    result = run("plan", tmp_path / "x.fasta", "--label-pattern", "(.)")

    assert result.exit_code == 2
    assert "--label-pattern needs --labels header" in result.stderr


def test_proposals_name_all_that_their_time_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_MOST_OF_TIME", 100)  # times are measured, and may be any
    records = "".join(f">r{index}\n{'ACGGT' * 400}\n" for index in range(12))
    (tmp_path / "a.fa").write_text(records)

    lines = succeed("plan", tmp_path / "a.fa").stdout.splitlines()

    values = dict(line.split("\t")[:2] for line in lines)
    assert values["model.stem_pool"] == "4"
    epochs = f"--set training.max_epochs={values['training.max_epochs']}"
    assert values["proposal_quick"] == f"--set model.stem_pool=16 {epochs}"
    assert values["proposal_default"] == f"--set model.stem_pool=4 {epochs}"
    assert values["proposal_fine"] == f"--set model.stem_pool=1 {epochs}"
    assert values["proposal_fine_resolution"] == "1"
