"""Sparklines and ribbons."""

import math

from icshift.reports.text_charts import ribbons, sparklines


def test_bars_of_all_rows_have_one_scale_from_0_to_the_largest():
    assert sparklines([[0, 0.5, 1], [2]], 9) == (["▁▃▅", "█"], 2)
    assert sparklines([[0, math.nan, 2, math.inf], []], 9) == (["▁ █ ", ""], 2)
    assert sparklines([[0, 0]], 9) == (["▁▁"], 0)
    assert sparklines([[-100, 2]], 9) == (["▁█"], 2)


def test_of_rows_without_values_there_is_no_scale():
    bars, top = sparklines([[math.nan], []], 9)
    assert bars == [" ", ""]
    assert math.isnan(top)


def test_longer_series_are_averaged_before_they_are_scaled():
    assert sparklines([[0, 0, 4, 4, 7, 9]], 3) == sparklines([[0, 4, 8]], 3)


def test_ribbons_have_the_median_in_them_and_steps_below():
    lines = ribbons([5, 6, 7], [0, 0, 0], [1, 1, 1], [2, 2, 2], width=20, height=5).plain.splitlines()
    assert [line[-3:] for line in lines[:5]] == ["░░░", "░░░", "━━━", "░░░", "░░░"]
    assert lines[-1].strip() == "5step7"


def test_ribbons_of_nothing_finite_say_so():
    nothing = [math.nan] * 3
    assert ribbons([1, 2, 3], nothing, nothing, nothing, width=20, height=5).plain == "no finite values"
