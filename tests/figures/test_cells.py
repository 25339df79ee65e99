"""Cells of a grid: stripes lie within their cell, places are logarithms."""

import re

import numpy as np
import pytest

from icshift.analysis.metrics import METRICS
from icshift.figures.cells import places_of, stripes
from icshift.page.look import scale_of


@pytest.mark.parametrize(("wide", "high"), [(20.0, 11.0), (6.0, 17.0), (5.0, 5.0)])
def test_stripes_lie_within_their_cell(wide, high):
    ends = [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+),(-?[\d.]+)", stripes(wide, high))]
    assert len(ends) >= 2
    assert all(abs(x) <= wide / 2 + 0.1 and abs(y) <= high / 2 + 0.1 for x, y in ends)


def test_places_are_logarithms_and_nan_where_there_is_none():
    drift, floor = np.array([[0.4, 0.0, np.nan, 0.1]]), np.array([[0.1, 0.1, 0.1, 0.0]])
    of_floor = scale_of(METRICS["w1_sd"], drift, floor)
    np.testing.assert_array_equal(places_of(of_floor, drift, floor), [[2.0, np.nan, np.nan, np.nan]])
    bare = scale_of(METRICS["w1_sd"], drift, np.full_like(floor, np.nan))
    np.testing.assert_allclose(places_of(bare, drift, floor)[0, 3], -1.0)
