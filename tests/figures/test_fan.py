"""Fans: the percentiles that are drawn are those of the series."""

import re

import numpy as np
import pytest

from icshift.analysis.atlas import Series
from icshift.figures.fan import PERCENTILES, Panel, fan
from icshift.page.model import WindowOnPage
from tests.figures.reading import DARK, LIGHT, drawn, said, texts

WINDOWS = tuple(WindowOnPage(at, str(at), 10 * at, 10 * at + 9) for at in range(3))


def panel(title="fc1", row=0, steps=30, onset=None, values=None):
    quantiles = np.sort(np.random.default_rng(len(title)).normal(size=(steps, 5)), axis=1)
    quantiles = quantiles if values is None else values
    return Panel(title, "unit 3", row, Series(np.arange(steps), quantiles), WINDOWS, onset)


def of_percentile(labels, title, percentile):
    label = next(one for one in labels if one.startswith(f"{title}, percentile {percentile} by"))
    return [float(value) for _, value in re.findall(r"(\d+) (-?[\d.e+-]+)(?:;|$)", label.partition(": ")[2])]


def test_percentiles_are_those_of_the_series():
    one, other = panel("plain: fc1"), panel("normed: norm1")
    labels = said(fan([one, other], "about", LIGHT))
    for each in (one, other):
        for at in (1, 2, 3):
            found = of_percentile(labels, each.title, PERCENTILES[at])
            assert found == pytest.approx(each.series.quantiles[:, at].tolist(), rel=1e-6)


def test_panels_of_a_row_share_an_axis_and_rows_do_not():
    wide = panel("b", values=np.linspace(-900, 900, 150).reshape(30, 5))
    svg = [
        drawn(fan(panels, "about", LIGHT)).decode() for panels in ([panel("a"), wide], [panel("a"), panel("c", row=1)])
    ]
    assert [len(re.findall("500", one)) > 2 for one in svg] == [True, False]


def test_onset_is_a_line_and_explained():
    chart = fan([panel(onset=12)], "about", LIGHT)
    assert "fc1: its site left the band of its past at step 12" in said(chart)
    assert "Vertical line" in texts(chart)
    assert "Vertical line" not in texts(fan([panel()], "about", LIGHT))


@pytest.mark.some(1)
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_short_series_are_drawn(steps):
    assert drawn(fan([panel(steps=steps)], "about", DARK)).startswith(b"<svg")


def test_what_is_not_finite_is_left_out():
    values = np.tile([1.0, 2.0, 3.0, 4.0, 5.0], (30, 1))
    values[3] = np.nan
    assert len(of_percentile(said(fan([panel(values=values)], "about", LIGHT)), "fc1", 50)) == 29
    assert drawn(fan([panel(values=np.full((30, 5), np.nan))], "about", LIGHT)).startswith(b"<svg")
