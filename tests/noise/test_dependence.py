"""Dependence of steps: seen where it is, not seen where it is not, and not taken from what a straight line explains."""

import numpy as np
import pytest

from icshift.noise.dependence import FEWEST, LARGE, BlockProducts
from icshift.noise.exchange import differences
from tests.blocks import blocks_of, normal_blocks

UNITS = 30


def of_blocks(*pairs, steps=2.0):
    apart = [differences(a, b) for a, b in pairs]
    products = BlockProducts(len(apart[0].slices), steps)
    for each in apart:
        products.add(each)
    return products.dependence()


def of_means(means):
    """The dependence of windows whose steps' means [2, steps, units] are these, without any noise around them."""
    activations = np.asarray(means)[:, :, :, None] + np.linspace(-1, 1, 16)
    return of_blocks(*[[blocks_of(window.transpose(1, 0, 2), np.float64) for window in activations]])


def autoregression(random, rho, steps=64):
    series, state = [], random.normal(size=UNITS)
    for _ in range(2 * steps):
        state = rho * state + np.sqrt(1 - rho**2) * random.normal(size=UNITS)
        series.append(state)
    return np.array(series).reshape(2, steps, UNITS)


def test_steps_that_do_not_depend_on_each_other_show_none():
    found = [of_blocks((normal_blocks(32, UNITS, seed), normal_blocks(32, UNITS, seed + 100))) for seed in range(40)]
    assert abs(np.mean([each.first for each in found])) < 0.01
    assert abs(np.mean([each.second for each in found])) < 0.01
    assert sum(each.large for each in found) <= 3


@pytest.mark.parametrize("rho", [0.8, 0.9, 0.95])
def test_an_autoregression_is_seen(rho):
    found = [of_means(autoregression(np.random.default_rng(seed), rho)) for seed in range(10)]
    assert all(each.large for each in found)
    assert np.mean([each.first for each in found]) > 0.2
    assert np.mean([each.first - each.second for each in found]) > 0.1


def test_what_goes_to_and_fro_is_negative_and_not_large():
    """A whole window of it: what is in pairs of steps is in no difference of blocks."""
    random = np.random.default_rng(0)
    swing = np.resize([1.0, -1.0], 16)[:, None] * random.normal(size=UNITS)
    found = of_means([0.1 * random.normal(size=(16, UNITS)) + sign * swing for sign in (1, -1)])
    assert found.first < -0.5
    assert found.second > 0.5
    assert not found.large


def test_a_straight_line_is_no_dependence():
    """A network that learns faster at the start of a window than at its end."""
    random = np.random.default_rng(1)
    line = np.linspace(0, 50, 32)[:, None] * random.normal(size=UNITS)
    noises = random.normal(size=(2, 32, UNITS))
    plain, tilted = of_means(noises), of_means([noises[0], noises[1] + line])
    assert not tilted.large
    assert tilted.first == pytest.approx(plain.first, abs=0.2)  # Units with a steep line count less.


def test_what_both_windows_do_in_the_same_order_is_no_dependence():
    random = np.random.default_rng(2)
    pattern = np.sin(np.linspace(0, 6, 32))[:, None] * random.normal(size=UNITS) * 10
    noises = random.normal(size=(2, 32, UNITS))
    assert not of_means(noises + pattern).large
    assert of_means([noises[0] + pattern, noises[1]]).large


def test_every_unit_counts_the_same_whatever_its_scale_and_order():
    random = np.random.default_rng(3)
    a, b = random.normal(size=(2, UNITS, 32, 16))
    scale, order = 10.0 ** random.integers(-6, 6, UNITS)[:, None, None], random.permutation(UNITS)
    plain = of_blocks((blocks_of(a, np.float64), blocks_of(b, np.float64)))
    scaled = of_blocks((blocks_of(a * scale, np.float64), blocks_of(b * scale, np.float64)))
    moved = of_blocks((blocks_of(a[order], np.float64), blocks_of(b[order], np.float64)))
    for other in (scaled, moved):
        assert other.first == pytest.approx(plain.first, abs=1e-9)
        assert other.second == pytest.approx(plain.second, abs=1e-9)


def test_several_sites_are_taken_together():
    random = np.random.default_rng(5)
    values = random.normal(size=(2, 24, 32, 16))
    parts = [[blocks_of(window[first : first + 8]) for window in values] for first in (0, 8, 16)]
    whole = [blocks_of(window) for window in values]
    assert of_blocks(*parts).first == pytest.approx(of_blocks(whole).first, abs=1e-9)


@pytest.mark.parametrize("steps", [FEWEST - 1, 6])
def test_few_blocks_tell_nothing(steps):
    found = of_blocks((normal_blocks(steps, seed=1), normal_blocks(steps, seed=2)), steps=1.0)
    assert np.isnan([found.first, found.second]).all()
    assert not found.large
    assert found.steps == 1


def test_windows_that_do_not_differ_tell_nothing():
    same = normal_blocks(32)
    found = of_blocks((same, same))
    assert np.isnan(found.first)
    assert not found.large


def test_a_correlation_that_is_small_is_not_large_however_sure():
    """Of very many units, each of which does something of its own: what is sure need not matter."""
    random = np.random.default_rng(4)
    noises = random.normal(size=(2, 33, 3000))
    found = of_means(noises[:, 1:] + 0.04 * noises[:, :-1])
    assert 0 < found.first < LARGE
    assert not found.large
