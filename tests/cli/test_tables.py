import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from rmt_genomics.cli import main
from rmt_genomics.evaluation.tables import metrics_table

SCORES = {"accuracy": 0.98712, "balanced_accuracy": 0.5, "mcc": 0.0123, "macro_f1": None}
METRICS = {
    **{"task": "binary", "auroc": 1.0, "auprc": 0.75},
    **SCORES,
    "baselines": {
        "majority": {**SCORES, "auroc": 0.5, "auprc": 0.5},
        "stranded_kmer_logistic": {**SCORES, "auroc": 0.5, "auprc": 0.5, "k": 4},
        "chunk_average": {**SCORES, "auroc": 0.5, "auprc": 0.5},
    },
}


@pytest.mark.parametrize("width", [80, 120])
def test_metrics_are_aligned_within_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))

    lines = metrics_table(METRICS).splitlines()

    assert max(map(cell_len, lines)) <= width
    (model,) = (line for line in lines if line.startswith("model "))
    assert model.split() == ["model", "0.987", "0.500", "0.0123", "-", "1.00", "0.750"]
    (header,) = (line for line in lines if "AUROC" in line)
    assert header.index("AUROC") + 5 == model.index("1.00") + 4  # to the right
    assert any(line.startswith("stranded k-mer counts (k = 4)") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
        (["xyz"], "No such command 'xyz'. Try demo, inspect, split, plan, "),
        (["predict", "--proceses", "2"], "--processes"),
    ],
)
def test_a_mistyped_name_is_corrected(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 2
    assert words in result.stderr
