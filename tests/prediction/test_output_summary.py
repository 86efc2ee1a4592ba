import pytest

from rmt_genomics.prediction.output_formats import OutputSummary

HEADER = "record\tlength\tlabel\tscore\tprob_a\tprob_b\tnote"


def summary(output: str, *lines: str) -> str:
    """The sentence on some lines, the header included."""
    counts = OutputSummary(output)
    for line in lines:
        counts.add(f"{line}\n")
    return counts.sentence()


@pytest.mark.parametrize(
    ("output", "lines", "sentence"),
    [
        (
            "tsv",
            [
                HEADER,
                "r\t4\ta\t0.9\t0.9\t0.1\t",
                "s\t4\tNA\tNA\tNA\tNA\tx; y",
                "t\t4\ta\t1\t1\t0\t",
            ],
            "3 rows: a 2, NA 1; 1 with a note.",
        ),
        ("tsv", [HEADER, "r\t4\ta;b\t0.9\t0.9\t0.9\t"], "1 row: a 1, b 1."),
        ("tsv", [HEADER, "r\t4\t\t\t0.1\t0.1\t"], "1 row: no label 1."),
        ("tsv", [HEADER], "0 rows."),
        (
            "tsv",
            ["record\tlength\tprediction\tnote", "r\t4\t0.5\t", "s\t4\tNA\tx", "t\t4\t-12.25\t"],
            "3 rows, predictions of -12.2 to 0.500; 1 with a note.",
        ),
        (
            "bed",
            ["track name=x", "r\t0\t4\ta\t900\t.", "r\t4\t8\t.\t0\t."],
            "2 rows: a 1, no label 1.",
        ),
        ("bedgraph", ["track type=bedGraph", "r\t0\t4\t0.5"], "1 row."),
    ],
)
def test_the_sentence_has_the_rows_by_label(output: str, lines: list[str], sentence: str) -> None:
    assert summary(output, *lines) == sentence


def test_of_many_labels_the_most_common_are_named() -> None:
    rows = [f"r\t4\tc{min(i, 11)}\t1\t1\t0\t" for i in range(13)]

    sentence = summary("tsv", HEADER, *rows)

    assert sentence.startswith("13 rows: c11 2, c0 1, ")
    assert sentence.endswith("c8 1, and 2 more labels.")
