"""Units as a figure: their order, percentiles and densities are those of the page and of the run."""

import re
from dataclasses import replace

import numpy as np
import pytest

from icshift.errors import SelectionError
from icshift.figures.units import grid_of, units
from icshift.page import look
from tests.figures.reading import DARK, LIGHT, drawn, labels, number, texts


@pytest.fixture(scope="module")
def fc1(normed):
    run, page = normed
    return run, replace(page, sites=page.sites[:1])


@pytest.fixture(scope="module")
def first(fc1):
    return drawn(units(*fc1, None, LIGHT)).decode()


def test_units_tell_what_the_page_says_of_them(fc1, first):
    _, page = fc1
    site, found = page.sites[0], labels(first)
    for row, unit in enumerate(site.units.ids):
        for at, window in enumerate(page.windows):
            here = [label for label in found if label.startswith(f"unit {unit}, window {window.name}: ")]
            code = int(site.units.codes[row, at])
            if code >= look.LOWEST:
                place = page.scale.low + (code - 10) / 245 * (page.scale.high - page.scale.low)
                assert number(here[0], "about") == pytest.approx(2.0**place)
                assert number(here[0], "at most") == pytest.approx(site.units.worst[row], rel=1e-6)


def test_percentiles_and_densities_are_those_of_the_unit_that_went_farthest(fc1, first):
    run, page = fc1
    site = page.sites[0]
    unit, found = site.units.ids[0], labels(first)
    for at, window in enumerate(page.windows):
        told = next(label for label in found if label.startswith(f"unit {unit}, window {window.name}: percentile"))
        recorded = run.distribution("train", site.name, window.index).quantile([0.05, 0.15, 0.5, 0.85, 0.95])[unit]
        assert [number(told, f"percentile {p}") for p in (5, 15, 50, 85, 95)] == pytest.approx(recorded, rel=1e-6)
        ridge = next(label for label in found if label.startswith(f"unit {unit}, window {window.name}: density"))
        assert [int(height) for height in ridge.rpartition(": ")[2].split()] == site.densities.heights[0, at].tolist()


def test_a_unit_that_is_asked_for_is_drawn_whatever_its_rank(fc1):
    run, page = fc1
    last = int(page.sites[0].units.ids[-1])
    found = labels(drawn(units(run, page, str(last), LIGHT)).decode())
    assert sum(label.startswith(f"unit {last}, ") and "percentile" in label for label in found) == len(page.windows)


def test_what_was_chosen_is_said(normed, fc1):
    words = texts(units(*normed, None, LIGHT))
    assert "site chosen: its unit went farthest of all" in words
    assert re.search(r"unit \d+ chosen: it went farthest; --unit names another", words)
    assert "chosen" not in texts(units(*fc1, "2", LIGHT))


@pytest.mark.parametrize("unit", ["8", "-1", "x", "²"])
def test_a_unit_that_is_not_there_is_refused_with_those_that_are(fc1, unit):
    with pytest.raises(SelectionError, match=rf"no unit {unit} in site fc1: it has units 0 to 7"):
        units(*fc1, unit, LIGHT)


def test_no_unit_and_no_site(fc1):
    run, page = fc1
    site = page.sites[0]
    no = replace(site.units, ids=np.zeros(0, int), worst=np.zeros(0), codes=np.zeros((0, 4), np.uint8))
    none = replace(site, units=no)
    assert "No unit of the site was recorded." in texts(units(run, replace(page, sites=(none,)), None, DARK))
    with pytest.raises(SelectionError, match="no site"):
        units(run, replace(page, sites=()), None, LIGHT)


def test_many_units_share_rows_which_show_the_farthest(fc1):
    _, page = fc1
    site = page.sites[0]
    codes = np.random.default_rng(0).integers(10, 256, (400, 4)).astype(np.uint8)
    many = replace(site.units, ids=np.arange(400), worst=np.ones(400), codes=codes)
    grid = grid_of(page, replace(site, of=400, units=many))
    np.testing.assert_array_equal(grid.codes, codes.reshape(100, 4, 4).max(1))
    assert grid.says(1, 0).startswith("units 4, 5, 6, 7, window")
