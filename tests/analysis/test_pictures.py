"""Pictures of units: how places are chosen, and that densities are histograms."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis import pictures as module
from icshift.analysis.pictures import BINS, LEVELS, RIDGES, half_and_half, no_pictures, pictures, spread
from icshift.distribution import empty
from tests.covering import often
from tests.recorded import distribution, of_zoo
from tests.zoo.distributions import ZOO, draw


@pytest.mark.some(8)
@pytest.mark.parametrize("count", [0, 1, 2, 7, 40, 1000])
@pytest.mark.parametrize("wanted", [1, 2, 8, 32])
def test_half_are_the_first_and_half_at_even_ranks(count, wanted):
    places = half_and_half(count, wanted).tolist()
    assert len(places) == len(set(places)) == min(count, wanted)
    assert places == sorted(places)
    assert places[: min(count, (wanted + 1) // 2)] == list(range(min(count, (wanted + 1) // 2)))
    assert count <= wanted or wanted <= 2 or places[-1] == count - 1


def test_spread_has_both_ends():
    assert spread(100, 5) == [0, 25, 50, 74, 99]
    assert spread(3, 5) == [0, 1, 2]
    assert spread(0, 5) == []


def directly(values):
    """Heights of one unit's values [windows, values], and the ends of its bins, by NumPy's histogram."""
    low, high = np.nanmin(values[:, 1]), np.nanmax(values[:, -2])
    high = high if high > low else low + max(abs(low), 1.0) * 1e-3
    inside = [np.clip(row[np.isfinite(row)], low, high) for row in values]
    counts = np.array([np.histogram(row, BINS, (low, high))[0] for row in inside], float)
    return np.rint(LEVELS * counts / max(counts.max(), 1.0)), (low, high)


@pytest.mark.some(8)
@pytest.mark.parametrize("n", [3, 300, 900])
@pytest.mark.parametrize("name", ZOO)
def test_densities_are_histograms_of_the_quantiles(name, n):
    """Of every unit over bins of its own, whatever its values are: also those that lie on the edge of a bin."""
    recorded = [of_zoo(name, n, units=5, seed=seed) for seed in range(4)]
    fans, found = pictures(recorded, np.arange(5))
    drawn = np.stack([one.quantile((np.arange(256) + 0.5) / 256) for one in recorded], axis=1)
    for unit, values in enumerate(drawn):
        if not np.isfinite(values).any():
            assert not found.heights[unit].any()
            continue
        heights, edges = directly(values)
        np.testing.assert_array_equal(found.heights[unit], heights)
        assert tuple(found.edges[unit]) == edges
    assert fans.quantiles.shape == (5, 4, 5)


def test_rounding_does_not_move_values_beside_their_bin():
    """Whole numbers of bins: every value is an edge, or next to one."""
    random = np.random.default_rng(0)
    for _ in range(often(20, 500)):
        low, step = random.normal(size=2) * 10.0 ** random.integers(-6, 7, 2)
        edges = np.linspace(low, low + BINS * abs(step), BINS + 1)
        beside = np.sort(np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)]))
        values = beside[None, None]
        heights, ends = directly(values[0])
        found = module._densities(np.zeros(1, np.int64), np.zeros(1, np.int64), values)
        np.testing.assert_array_equal(found.heights[0], heights)
        assert tuple(found.edges[0]) == ends


def test_units_are_drawn_in_the_order_that_is_asked_for():
    recorded = [distribution(draw("normal", 600, 40, seed) * np.arange(1, 41)[:, None]) for seed in range(3)]
    order = np.random.default_rng(0).permutation(40)
    fans, densities = pictures(recorded, order)
    np.testing.assert_array_equal(fans.places, densities.places)
    for place, quantiles in zip(fans.places, fans.quantiles, strict=True):
        expected = [one.quantile([0.05, 0.15, 0.5, 0.85, 0.95])[order[place]] for one in recorded]
        np.testing.assert_array_equal(quantiles, expected)


def test_windows_that_are_kept_differently_are_drawn_as_each_alone():
    """Short and long ones, of an older version without tails, in float64; with a unit that gave nothing."""
    random, silent = np.random.default_rng(0), np.full((3, 900), np.nan)
    silent[:2] = random.normal(size=(2, 900))
    recorded = [of_zoo("relu", n, seed=n) for n in (40, 900, 2000, 513, 512)]
    recorded += [distribution(silent), replace(of_zoo("relu", 900, seed=9), tails=None)]
    recorded += [distribution(random.normal(size=(3, 700)), dtype=np.float64), empty(3)]
    order = np.array([2, 0, 1])
    fans, found = pictures(recorded * 4, order)
    expected = np.stack([one.quantile([0.05, 0.15, 0.5, 0.85, 0.95])[order] for one in recorded], axis=1)
    np.testing.assert_array_equal(fans.quantiles, np.tile(expected, (1, 4, 1)))
    assert len(found.windows) == RIDGES


def test_windows_without_the_site_are_left_out_and_of_many_some_are_ridges():
    here = of_zoo("normal", 30, units=2)
    fans, densities = pictures([None, *[here] * 60, None], np.arange(2))
    assert np.isnan(fans.quantiles[:, [0, -1]]).all()
    assert np.isfinite(fans.quantiles[:, 1:-1]).all()
    assert len(densities.windows) == RIDGES
    assert densities.windows[[0, -1]].tolist() == [1, 60]
    none = no_pictures(3)
    assert none[0].quantiles.shape == (0, 3, 5)
    assert none[1].heights.shape == (0, 0, BINS)
