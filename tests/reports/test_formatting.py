"""Numbers of the report and the model card: three digits, one form everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.reports.formatting import Cell, Estimate, Table, estimate, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.987, "0.987"),
        (0.0123, "0.0123"),
        (12.3, "12.3"),
        (1234, "1,234"),
        (1234.4, "1,234"),
        (1.0, "1.00"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (0.9996, "1.00"),
        (99.94, "99.9"),
        (99.96, "100"),
        (-0.12345, "-0.123"),
        (1.234e-7, "1.23e-07"),
        (1.2e300, "1.2e+300"),
        (float("nan"), "-"),
        (float("-inf"), "-"),
        (None, "-"),
        ("", "-"),
        (False, "no"),
        (Estimate(0.912, 0.8712, 0.9441), "0.912 (0.871 to 0.944)"),
    ],
)
def test_a_number_has_three_significant_digits(value: Cell, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e307, 1e307))
def test_a_rounded_number_is_close(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=5.1e-3, abs=1e-300)


@given(st.integers())
def test_an_integer_keeps_all_digits(value: int) -> None:
    assert int(number(value).replace(",", "")) == value


def test_a_metric_has_an_interval_where_one_is_stored() -> None:
    metrics = {"mcc": 0.5, "auroc": None, "intervals": {"mcc": [0.4, 0.6], "auroc": [0.1, 0.2]}}

    assert estimate(metrics, "mcc") == Estimate(0.5, 0.4, 0.6)
    assert estimate(metrics, "auroc") is None
    assert estimate({"mcc": 0.5}, "mcc") == 0.5


def test_a_column_with_a_text_is_not_a_column_of_numbers() -> None:
    table = Table(["name", "n", "mixed"], [["a", 1, 2.0], ["b", None, "x"]])

    assert list(table.columns) == [("name", False), ("n", True), ("mixed", False)]
