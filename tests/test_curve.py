"""The quantile function between slice means: straight where it is smooth, with its atoms, gaps and tails."""

import numpy as np
import pytest

from icshift.curve import Curve, curve
from icshift.distribution import QUANTILES
from tests.recorded import distribution, of_zoo
from tests.zoo.distributions import FINITE, ZOO, draw

pytestmark = pytest.mark.usefixtures("each_kernel")


def curve_of(kept):
    return curve(kept.values, kept.sampled, kept.tails, kept.zero_share)


def share_below(found, unit, value):
    """The share of values up to a value, those at it included."""
    places = found.value[unit], found.share[unit]
    at = np.searchsorted(places[0], value, side="right")
    return places[1][at - 1] if at and places[0][at - 1] == value else np.interp(value, *places)


def mean_of(found, start, stop):
    """Means [units] of the quantile functions over a range of shares."""
    at = np.linspace(start, stop, 20_001)
    at = (at[1:] + at[:-1]) / 2
    return np.array([np.interp(at, *knots).mean() for knots in zip(found.share, found.value, strict=True)])


@pytest.mark.some(20)
@pytest.mark.parametrize("n", [1, 300, 513, 6000])
@pytest.mark.parametrize("name", ZOO)
def test_ascends_from_0_to_1(name, n):
    found = curve_of(of_zoo(name, n))
    assert np.isfinite(found.value).all()
    assert (np.diff(found.share, axis=1) >= -1e-15).all()
    assert (np.diff(found.value, axis=1) >= 0).all()
    np.testing.assert_allclose(found.share[:, [0, -1]], [[0, 1]] * 3, atol=1e-12)


def test_of_all_values_it_is_their_steps():
    found = curve_of(of_zoo("clipped", 300))
    at = (np.arange(300) + 0.5) / 300
    for unit, values in enumerate(np.sort(draw("clipped", 300))):
        np.testing.assert_array_equal(np.interp(at, found.share[unit], found.value[unit]), values)


def test_every_slice_keeps_its_mean():
    kept = of_zoo("normal", 6000)
    found = curve(kept.values, kept.sampled)
    for place in (0, 1, 40, QUANTILES - 1):
        means = mean_of(found, place / QUANTILES, (place + 1) / QUANTILES)
        np.testing.assert_allclose(means, kept.values[:, place], atol=1e-5)


def test_a_slice_beside_a_tail_keeps_its_mean():
    kept = of_zoo("student_t3", 60_000)
    found = curve_of(kept)
    for place in (0, QUANTILES - 1):
        means = mean_of(found, place / QUANTILES, (place + 1) / QUANTILES)
        np.testing.assert_allclose(means, kept.values[:, place], rtol=0.02)


@pytest.mark.some(14)
@pytest.mark.parametrize("n", [513, 6000, 60_000])
@pytest.mark.parametrize("name", FINITE)
def test_ends_are_the_very_values(name, n):
    found, values = curve_of(of_zoo(name, n)), np.sort(draw(name, n))
    places = np.array([0, 7, 15, n - 16, n - 1])
    for unit in range(3):
        at = np.interp((places + 0.5) / n, found.share[unit], found.value[unit])
        np.testing.assert_array_equal(at, values[unit, places])


@pytest.mark.parametrize("name", ["relu", "dropped"])
def test_zeros_have_their_share(name):
    kept, raw = of_zoo(name, 20_000), draw(name, 20_000)
    found = curve_of(kept)
    for unit in range(3):
        zero = found.value[unit] == 0
        share = np.ptp(found.share[unit, zero])
        assert share == pytest.approx((raw[unit] == 0).mean(), abs=0.002)
        assert share_below(found, unit, 0.0) == pytest.approx((raw[unit] <= 0).mean(), abs=0.006)


@pytest.mark.parametrize("zeros", [0.0, 0.2, 0.45, 0.9])
def test_whatever_share_zeros_have_shares_ascend(zeros):
    kept = of_zoo("dropped", 20_000)
    found = curve(kept.values, kept.sampled, kept.tails, np.full(3, zeros))
    assert (np.diff(found.share, axis=1) >= -1e-15).all()


def test_a_gap_lies_where_the_mean_says():
    atoms = np.repeat([[-1.0, 2.0]], [3700, 6300], axis=1)
    gap, below = curve_of(distribution(atoms)), curve_of(of_zoo("bimodal", 20_000))
    assert share_below(gap, 0, 0.0) == pytest.approx(0.37, abs=0.002)
    assert set(gap.value[0]) == {-1.0, 2.0}
    for unit, raw in enumerate(draw("bimodal", 20_000)):
        assert share_below(below, unit, 0.0) == pytest.approx((raw < 0).mean(), abs=0.004)


def test_a_few_far_values_are_no_tail_of_the_others():
    values = draw("normal", 20_000).copy()
    values[:, ::200] += 100
    found = curve_of(distribution(values))
    for unit in range(3):
        assert share_below(found, unit, 50.0) == pytest.approx(0.995, abs=0.0005)


def test_normal_tails_hold_no_gap():
    """Beside a tail values lie ever further apart: that is no gap."""
    values = np.random.default_rng(0).normal(size=(60, 60_000))
    found, ordered = curve_of(distribution(values)), np.sort(values, axis=1)
    at = np.array([0.0005, 0.001, 0.002, 0.004])
    for unit in range(60):
        shown = np.interp(at, found.share[unit], found.value[unit])
        np.testing.assert_allclose(shown, ordered[unit, (at * 60_000).astype(int)], atol=0.25)


def test_quantiles_are_on_the_line_between_knots():
    found = Curve(np.array([[0.0, 0.5, 0.5, 1.0]]), np.array([[0.0, 1.0, 3.0, 3.0]]))
    assert found.at([0.0, 0.25, 0.5, 0.75, 1.0]).tolist() == [[0.0, 0.5, 1.0, 3.0, 3.0]]


def test_no_values_are_no_curve():
    found = curve(np.empty((2, 0)), np.zeros(2, int))
    assert (found.value == 0).all()
    assert found.share[:, [0, -1]].tolist() == [[0, 1], [0, 1]]
