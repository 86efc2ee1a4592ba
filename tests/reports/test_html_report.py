"""The report: one self-contained file, correct for any names of classes and records."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.errors import DataError
from rmt_genomics.evaluation.summary import summary_of
from rmt_genomics.reports import write_report
from rmt_genomics.reports.html_report import environment
from rmt_genomics.reports.run_results import RunResults, read_run_results
from tests.reports.toys import (
    NASTY,
    difference,
    write_regression,
    write_run,
)

VOID = {"meta", "link", "br", "hr", "img", "input"}
SECTIONS = ["Summary", "Performance", "Classes", "Curves", "By length", "Use of context"]
SECTIONS += ["Where the evidence lies", "Calibration", "Data", "Leakage", "Training", "Provenance"]


class StrictParser(HTMLParser):
    """Parse a page; every tag must be closed in order, and every id must be unique."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.headings: list[str] = []
        self.shown = ""
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            assert not key.startswith("on"), f"{tag} has {key}"
            if key == "id":
                self.ids.append(value or "")
            elif key in ("href", "src"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        elif tag == "h2":
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        elif self.open[-1:] == ["h2"]:
            self.headings[-1] += data


def report_of(folder: Path) -> StrictParser:
    return StrictParser(write_report(folder).read_text(encoding="utf-8"))


def evaluated(**metrics: object) -> RunResults:
    return RunResults(
        name="a",
        metrics=metrics,
        leakage={},
        split=(),
        predictions=(),
        epochs=(),
        config="",
        environment={},
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report on a run with every file."""
    folder = write_run(tmp_path_factory.mktemp("report") / "run")
    path = write_report(folder)
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []
    return path.read_text(encoding="utf-8")


def test_a_run_has_every_section_and_nothing_from_elsewhere(text: str) -> None:
    page = StrictParser(text)

    assert page.headings == SECTIONS
    assert {link.split(":")[0] for link in page.links if not link.startswith("#")} == {"data"}
    assert set(page.tags).isdisjoint({"script", "iframe", "object", "embed", "form", "base"})
    assert page.tags.count("svg") == 10
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert set(anchors) <= set(page.ids)


def test_the_content_policy_allows_only_inline_style_and_images(text: str) -> None:
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in text
    assert "://" not in text.replace("runs/first", "")


def test_names_are_text_never_markup(text: str) -> None:
    page = StrictParser(text)

    assert "b" not in page.tags
    assert NASTY in page.cells
    assert page.shown.count(NASTY) >= 8  # tables, notes, warnings, and in the pictures


@given(st.text())
def test_escaped_text_is_shown_unchanged(text: str) -> None:
    page = StrictParser(environment().from_string("<p>{{ text }}</p>").render(text=text or "-"))

    readable = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)
    assert page.shown == (readable or "-")
    assert page.tags == ["p"]


def test_numbers_have_three_digits_and_missing_values_are_a_dash(text: str) -> None:
    cells = StrictParser(text).cells

    assert "0.812" in cells
    assert "143,210" in cells
    assert "-" in cells
    assert not {"None", "nan", "", "143210", "0.8123", "0.8123456"} & set(cells)


def test_metrics_are_shown_with_their_intervals(text: str) -> None:
    page = StrictParser(text)

    assert "0.800(0.691 to 0.887)" in page.cells
    assert "0.900(0.812 to 0.960)" in page.cells
    assert "the model has MCC 0.800 (0.691 to 0.887)." in page.shown
    assert "In brackets: 95% confidence intervals." in page.shown


@pytest.mark.parametrize("intervals", [None, {}, {"mcc": None}, {"mcc": [None, None]}])
def test_without_an_interval_a_metric_is_shown_alone(tmp_path: Path, intervals: object) -> None:
    folder = write_run(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["intervals"]
    if intervals is not None:
        metrics["intervals"] = intervals
    (folder / "metrics.json").write_text(json.dumps(metrics))

    page = report_of(folder)

    assert "the model has MCC 0.800. " in page.shown
    assert "In brackets" not in page.shown
    assert "0.800" in page.cells


LABELS = ["a|b", "---", "# x", "{{7*7}}", "{% raw %}", "<script>alert(1)</script>", '"', ": "]
LABELS += ["&lt;", "a\x01b", "]]>", "<!--", "</style>"]


def test_any_label_is_shown_as_text(tmp_path: Path) -> None:
    page = report_of(write_run(tmp_path / "run", classes=tuple(LABELS)))

    assert set(page.tags).isdisjoint({"script", "hr"})
    assert page.tags.count("style") == 1
    rows = set(page.cells)
    assert {label.replace("\x01", "\ufffd") for label in LABELS} <= rows
    assert "49" not in page.shown


def test_a_name_with_a_line_break_is_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["per_class"][0]["class"] = "two\nlines"
    (folder / "metrics.json").write_text(json.dumps(metrics))

    assert "two\nlines" in report_of(folder).cells


def test_a_misspelt_name_in_a_template_is_an_error() -> None:
    template = environment().from_string("{{ part.tabel }}")

    with pytest.raises(jinja2.UndefinedError, match="tabel"):
        template.render(part={"table": 1})


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    folder = write_regression(tmp_path / "run")

    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("predictions.tsv", "Curves"),
        ("leakage.json", "Leakage"),
        ("evidence.json", "Where the evidence lies"),
        ("metrics.jsonl", "Training"),
    ],
)
def test_a_section_whose_file_is_missing_is_left_out(tmp_path: Path, file: str, title: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / file).unlink()

    assert report_of(folder).headings == [section for section in SECTIONS if section != title]


def test_a_run_that_was_not_evaluated_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").unlink()

    page = report_of(folder)

    assert "has not been evaluated yet" in page.shown
    assert page.headings == ["Summary", "Data", "Leakage", "Training", "Provenance"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has none of metrics\.json, .* Name the --out folder"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is not valid JSON"), ("3", "the file is 3, but must be a valid object")],
)
def test_a_damaged_file_is_named_and_the_old_report_stays(
    tmp_path: Path, text: str, words: str
) -> None:
    folder = write_regression(tmp_path / "run")
    before = write_report(folder).read_bytes()
    (folder / "leakage.json").write_text(text)

    with pytest.raises(DataError, match=rf"leakage\.json: {words}"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    ("write", "column"), [(write_run, "prob_mobile"), (write_regression, "prediction")]
)
def test_a_column_of_the_predictions_that_is_missing_is_named(
    tmp_path: Path, write: Callable[[Path], Path], column: str
) -> None:
    folder = write(tmp_path / "run")
    table = folder / "predictions.tsv"
    table.write_text(table.read_text().replace(column, "other", 1))

    with pytest.raises(DataError, match=rf"predictions\.tsv:2: has no column {column}, but must"):
        write_report(folder)


def test_a_regression_has_its_own_sections(tmp_path: Path) -> None:
    page = report_of(write_regression(tmp_path / "run"))

    assert page.headings == ["Summary", "Performance", "Predicted and true values", "Data"]
    assert "predicted copies" in page.shown
    assert (
        "On 60 examples of the test part, the model has Pearson r 0.940 (0.901 to 0.964)."
        in page.shown
    )
    assert "The model is ahead of the baseline by 0.540 Pearson r" in page.shown
    assert "k-mer counts (k = 6)" in page.shown


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_the_output_of_evaluate_can_be_reported(tmp_path: Path, task: str) -> None:
    from rmt_genomics.evaluation.evaluate import evaluate
    from tests.prediction.toys import saved_model, two_kinds

    fasta, labels = two_kinds(tmp_path, per_kind=4, splits="train test")
    evaluate(saved_model(tmp_path / "model", task=task), fasta, labels, tmp_path / "out")

    page = report_of(tmp_path / "out")

    assert {"Summary", "Performance", "Classes", "Curves", "Data"} <= set(page.headings)


@pytest.mark.parametrize(
    ("low", "high", "rating"), [(0.01, 0.2, "good"), (-0.1, 0.2, "unsure"), (-0.3, -0.1, "bad")]
)
def test_the_summary_is_green_only_ahead_of_the_best_independent_baseline(
    tmp_path: Path, low: float, high: float, rating: str
) -> None:
    folder = write_run(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["differences"]["kmer_logistic"] = difference("mcc", (low + high) / 2, low, high)
    (folder / "metrics.json").write_text(json.dumps(metrics))

    text = write_report(folder).read_text()

    assert f'<p class="summary {rating}">{summary_of(metrics)["sentence"]}</p>' in text


def test_length_bins_of_few_examples_are_hidden(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    first, second = metrics["length_bins"]
    metrics["length_bins"] = [{**first, "n": 9, "low_bp": 777}, {**second, "low_bp": 888}]
    (folder / "metrics.json").write_text(json.dumps(metrics))

    page = report_of(folder)

    assert "888" in page.cells
    assert "777" not in page.cells
    assert "Not shown: 1 bin of fewer than 10 examples." in page.shown


def test_probabilities_are_read_in_the_order_of_the_classes(tmp_path: Path) -> None:
    results = read_run_results(write_run(tmp_path / "run", classes=("b", "a"), per_class=2))

    assert results.probabilities is not None
    truth, probabilities = results.probabilities
    assert truth.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
