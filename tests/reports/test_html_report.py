"""The report: one file, whole, honest, and unimpressed by what names contain."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.errors import DataError
from rmt_genomics.reports import write_report
from rmt_genomics.reports.html_page import escape, number, table
from rmt_genomics.reports.run_results import Findings, read_findings
from rmt_genomics.reports.summary_sections import headline
from tests.reports.toys import NASTY, classifier_metrics, write_regression, write_run

VOID = {"meta", "link", "br", "hr", "img", "input"}
SECTIONS = ["Verdict", "Scores", "Classes", "Curves", "By length", "Does context matter?"]
SECTIONS += ["Calibration", "Data", "Leakage", "Training", "Provenance"]


class Strict(HTMLParser):
    """Reads a page; every tag must be closed in order, and every id be unique."""

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


def report_of(folder: Path) -> Strict:
    return Strict(write_report(folder).read_text(encoding="utf-8"))


def judged(**changes: object) -> Findings:
    return Findings(
        name="a",
        metrics=changes,
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
    assert [each.name for each in folder.iterdir() if each.name.startswith(".")] == []
    return path.read_text(encoding="utf-8")


def test_a_run_has_every_section_and_nothing_from_elsewhere(text: str) -> None:
    page = Strict(text)

    assert page.headings == SECTIONS
    assert {link.split(":")[0] for link in page.links if not link.startswith("#")} == {"data"}
    assert set(page.tags).isdisjoint({"script", "iframe", "object", "embed", "form", "base"})
    assert page.tags.count("svg") == 8
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert set(anchors) <= set(page.ids)


def test_the_policy_forbids_all_but_style_and_held_pictures(text: str) -> None:
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in text
    assert "://" not in text.replace("runs/first", "")


def test_names_are_text_never_markup(text: str) -> None:
    page = Strict(text)

    assert "b" not in page.tags
    assert NASTY in page.cells
    assert page.shown.count(NASTY) >= 8  # tables, notes, warnings, and in the pictures


@given(st.text())
def test_escaped_text_is_shown_as_it_was(text: str) -> None:
    page = Strict(f"<p>{escape(text)}</p>")

    readable = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)
    assert page.shown == readable
    assert page.tags == ["p"]


def test_numbers_are_plain_and_what_is_missing_is_a_dash(text: str) -> None:
    cells = Strict(text).cells

    assert "0.8123" in cells
    assert "143210" in cells
    assert "-" in cells
    assert not {"None", "nan", "", "143,210"} & set(cells)
    row = Strict(table(["a", "b"], [["x", None], ["y", float("nan")], ["z", 0.0]])).cells
    assert row == ["a", "b", "x", "-", "y", "-", "z", "0.0000"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_rounded_number_is_near(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, rel=5e-3, abs=5e-5)


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    folder = write_regression(tmp_path / "run")

    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("predictions.tsv", "Curves"),
        ("leakage.json", "Leakage"),
        ("metrics.jsonl", "Training"),
    ],
)
def test_a_section_whose_file_is_missing_is_left_out(tmp_path: Path, file: str, title: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / file).unlink()

    assert report_of(folder).headings == [each for each in SECTIONS if each != title]


def test_a_run_that_was_not_judged_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").unlink()

    page = report_of(folder)

    assert "has not been judged yet" in page.shown
    assert page.headings == ["Verdict", "Data", "Leakage", "Training", "Provenance"]


def test_a_folder_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has none of metrics\.json, .* Name the --out folder"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "words"), [("{", "is not readable as JSON"), ("3", "holds '3'")])
def test_a_damaged_file_is_named_and_the_old_report_stays(
    tmp_path: Path, text: str, words: str
) -> None:
    folder = write_regression(tmp_path / "run")
    before = write_report(folder).read_bytes()
    (folder / "leakage.json").write_text(text)

    with pytest.raises(DataError, match=rf"leakage\.json: {words}"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before


def test_a_regression_gets_its_own_words(tmp_path: Path) -> None:
    page = report_of(write_regression(tmp_path / "run"))

    assert page.headings == ["Verdict", "Scores", "Prediction and truth", "Data"]
    assert "predicted copies" in page.shown
    assert "is better than the best baseline, k-mer counts (k = 6) (0.4000)" in page.shown


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_what_evaluate_writes_can_be_reported(tmp_path: Path, task: str) -> None:
    from rmt_genomics.evaluation.evaluate import evaluate
    from tests.prediction.toys import saved_model, two_kinds

    fasta, labels = two_kinds(tmp_path, per_kind=4, splits="train test")
    evaluate(saved_model(tmp_path / "model", task=task), fasta, labels, tmp_path / "out")

    page = report_of(tmp_path / "out")

    assert {"Verdict", "Scores", "Classes", "Curves", "Data"} <= set(page.headings)


@pytest.mark.parametrize(
    ("low", "high", "words", "mood"),
    [
        (0.01, 0.2, "is better than", "good"),
        (-0.1, 0.2, "is not shown to beat", "unsure"),
        (-0.3, -0.1, "is worse than", "bad"),
        (0.0, 0.2, "is not shown to beat", "unsure"),
    ],
)
@pytest.mark.parametrize("metric", ["mcc", "rmse"])
def test_the_verdict_is_no_kinder_than_the_interval(
    low: float, high: float, words: str, mood: str, metric: str
) -> None:
    if metric == "rmse":  # lower is better
        low, high = -high, -low
    near = {"metric": metric, "difference": (low + high) / 2, "low": low, "high": high}
    found = judged(n=9, split="all", differences={"chunk_average": near})

    sentence, felt = headline(found)

    assert words in sentence
    assert sentence.startswith("On 9 examples, the model")
    assert felt == mood


def test_the_baseline_that_counts_is_the_one_that_comes_closest() -> None:
    far = {"metric": "mcc", "difference": 0.5, "low": 0.4, "high": 0.6}
    close = {"metric": "mcc", "difference": -0.1, "low": -0.2, "high": -0.01}

    sentence, _ = headline(judged(n=9, differences={"majority": far, "kmer_logistic": close}))

    assert "is worse than the best baseline, k-mer counts" in sentence


def test_without_a_baseline_the_verdict_says_that_nothing_is_known() -> None:
    metrics = classifier_metrics(("a", "b"), []) | {"differences": {}, "baselines": {}}

    assert "compared with no baseline" in headline(judged(**metrics))[0]


def test_the_answers_of_a_table_are_read_in_the_order_of_the_classes(tmp_path: Path) -> None:
    found = read_findings(write_run(tmp_path / "run", classes=("b", "a"), per_class=2))

    assert found.answers is not None
    truth, probabilities = found.answers
    assert truth.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
