"""How numbers are written, and what tables have in common."""

import math

import pandas as pd
import pytest

from icshift.reports.report import Report
from icshift.reports.tables import Facts, counted, number, records, share, times, trend_scale
from tests.reports.shown import shown


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0376, "0.038"), (12.3456, "12.346"), (123.4, "123"), (0.0001234, "0.000123"), (-2.5, "-2.500"), (0.0, "0")],
)
def test_numbers(value, written):
    assert number(value) == written


@pytest.mark.parametrize("write", [number, share, times])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_known_is_a_dash(write, value):
    assert write(value) == "–"


def test_shares_multiples_and_counts():
    assert [share(value) for value in (0.0, 0.126, 1.0)] == ["0%", "13%", "100%"]
    assert [times(value) for value in (0.94, 99.94, 1234.5)] == ["0.9", "99.9", "1234"]
    assert [counted(value, "example") for value in (0, 1, 1400)] == ["0 examples", "1 example", "1,400 examples"]


def test_facts_keep_names_with_brackets():
    assert shown(Report(body=(Facts([("run", "a[0]"), ("", "b")]),))) == ["run  a[0]", "     b   "]


def test_the_scale_of_trends_is_told_where_there_are_any():
    assert trend_scale(0.5, "layer") == ["trend: one scale for all layers, a full bar is 0.500."]
    assert trend_scale(math.nan, "layer") == []


def test_records_have_the_columns_as_names():
    assert records(pd.DataFrame({"a": [1, 2], 3: ["x", "y"]})) == [{"a": 1, "3": "x"}, {"a": 2, "3": "y"}]
