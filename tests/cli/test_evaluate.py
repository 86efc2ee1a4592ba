"""``evaluate``: metrics on stdout, files and plots in a folder, messages on stderr."""

import json
from pathlib import Path

import pytest

from tests.cli.toys import fail, succeed
from tests.prediction.toys import saved_model, two_kinds

FILES = ["confusion.png", "confusion.svg", "confusion.tsv", "metrics.json"]
FILES += ["precision_recall.png", "precision_recall.svg", "predictions.tsv", "report.html"]
FILES += ["roc.png", "roc.svg", "context.png", "context.svg", "evidence.json"]
FILES.sort()


def evaluate_toys(folder: Path, splits: str) -> tuple[list[object], Path]:
    fasta, labels = two_kinds(folder, splits=splits)
    model, out = saved_model(folder / "model"), folder / "out"
    return ["evaluate", model, fasta, "--labels", labels, "--out", out], out


def test_files_plots_and_the_main_metrics(tmp_path: Path) -> None:
    arguments, out = evaluate_toys(tmp_path, "train test")

    result = succeed(*arguments)

    metrics = json.loads((out / "metrics.json").read_text())
    lines = result.stdout.splitlines()
    baseline = metrics["baselines"]["kmer_logistic"]
    assert sorted(path.name for path in out.iterdir()) == FILES
    names = ["majority", "kmer_logistic", "stranded_kmer_logistic", "composition_logistic"]
    names.append("chunk_average")
    assert lines[0] == "\t".join(["metric", "model", *names])
    shown = [metrics["accuracy"], *(metrics["baselines"][name]["accuracy"] for name in names)]
    assert lines[1] == "\t".join(["accuracy", *(f"{each:.4f}" for each in shown)])
    assert shown[2] == baseline["accuracy"] == 1.0
    message, *sentences = result.stderr.splitlines()
    assert message.startswith("Evaluated the test rows of")
    assert "6 examples" in message
    summary = metrics["summary"]["sentence"]
    differences = [metrics["differences"][name]["sentence"] for name in names]
    others = [sentence for sentence in differences if sentence not in summary]
    assert sentences[: 1 + len(others)] == [summary, *others]
    low, high = metrics["intervals"]["accuracy"]
    start = f"95% intervals of the model: accuracy {low:.3f} to {high:.3f}, balanced accuracy "
    assert sentences[-1].startswith(start)
    of_class = metrics["per_class"][0]["intervals"]
    assert list(of_class) == ["precision", "recall", "f1", "auroc", "auprc"]


def test_all_rows_and_a_missing_baseline_are_both_reported(tmp_path: Path) -> None:
    arguments, _ = evaluate_toys(tmp_path, "")

    result = succeed(*arguments)

    warning, message, *_ = result.stderr.splitlines()
    assert warning.startswith("Warning: ")
    assert warning.endswith("The k-mer baselines are left out.")
    assert "Evaluated all rows (none is marked as test)" in message
    assert result.stdout.splitlines()[0] == "metric\tmodel\tchunk_average"


def test_a_folder_in_use_is_kept_without_overwrite(tmp_path: Path) -> None:
    arguments, out = evaluate_toys(tmp_path, "train test")
    out.mkdir()
    (out / "metrics.json").write_text("old")

    assert "the folder is not empty" in fail(*arguments)
    refused = fail(*arguments, "--overwrite")  # it may be of another program
    assert "metrics.json: would be replaced, but no metrics.json of rmt-genomics is" in refused
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("metrics.json", "old")]
    (out / "metrics.json").unlink()
    for _ in range(2):
        succeed(*arguments, "--overwrite")
    assert sorted(path.name for path in out.iterdir()) == FILES


@pytest.mark.parametrize("missing", ["--labels", "--out"])
def test_labels_and_out_must_be_given(tmp_path: Path, missing: str) -> None:
    from tests.cli.toys import run

    arguments, _ = evaluate_toys(tmp_path, "test")
    index = arguments.index(missing)

    result = run(*arguments[:index], *arguments[index + 2 :])

    assert result.exit_code == 2
    assert f"Missing option '{missing}'" in result.stderr
