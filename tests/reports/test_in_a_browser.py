"""The report in a real browser: no requests, no console messages, nothing wider than the page."""

from pathlib import Path

import pytest

from rmt_genomics.reports import write_report
from tests.reports.browser import Page
from tests.reports.toys import write_regression, write_run

PHONE, DESKTOP = 360, 1200
OVERFLOWING = """
[...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll *") &&
  e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).length
"""


@pytest.fixture(scope="module", params=["run", "many classes", "regression"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    if request.param == "regression":
        return write_report(write_regression(folder))
    many = tuple(f"Class_with_a_rather_long_name_{number}" for number in range(22))
    return write_report(write_run(folder, **({} if request.param == "run" else {"classes": many})))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_it_fits_the_window_without_requests_or_messages(
    browser: Page, report: Path, width: int, scheme: str, tmp_path: Path
) -> None:
    browser.open(report, width=width, scheme=scheme)

    assert browser.value_of("document.documentElement.scrollWidth") <= width
    assert browser.value_of(OVERFLOWING) == 0
    background = browser.value_of("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert browser.requests() == [report.resolve().as_uri()]
    assert browser.console_messages() == []
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_text_in_figures_is_readable_on_a_phone(browser: Page, report: Path) -> None:
    browser.open(report, width=PHONE)

    sizes = browser.value_of(
        "[...document.querySelectorAll('svg.plot')].map(s => {"
        "const t = [...s.querySelectorAll('text')].filter(t => t.textContent.trim());"
        "return Math.min(...t.map(e => parseFloat(getComputedStyle(e).fontSize)))"
        " * s.getBoundingClientRect().width / s.viewBox.baseVal.width})"
    )

    assert sizes
    assert min(sizes) >= 7


def test_a_faulty_page_is_detected(browser: Page, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<meta name=viewport content='width=device-width'><main><p style='width:900px'>x</p>"
        "</main><img src='gone.png'><script>console.error('no')</script>"
    )
    browser.open(page, width=PHONE)

    assert browser.value_of(OVERFLOWING) == 1
    assert browser.value_of("document.documentElement.scrollWidth") > PHONE
    assert len(browser.requests()) == 2
    assert len(browser.console_messages()) >= 2
