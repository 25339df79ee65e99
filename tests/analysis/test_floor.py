"""The noise floor is what noise alone shows; what is called moved has moved."""

import itertools
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from icshift.analysis.floor import FALSE_DISCOVERIES, discoveries, floor, p_values, pooled_null, standardised_null
from icshift.analysis.metrics import METRICS
from icshift.distribution import empty
from tests.recorded import distribution
from tests.zoo.distributions import draw

W1 = METRICS["w1_sd"]
HEAVY = ("w2", "w2_scale", "w2_shape", "log_sd_ratio", "psi", "js")
"""Measures whose noise does not shrink exactly like a power of n, or shows the grain of 64 slices."""


def null_of(*distributions):
    return np.concatenate([standardised_null(W1, one) for one in distributions])


@lru_cache
def windows(name, n, count=3, units=200):
    """Windows of the same distribution, so that all drift between them is noise."""
    return [distribution(draw(name, n, units, seed=20 + seed), steps=20) for seed in range(count)]


def pairs(found):
    return list(itertools.pairwise(found))


def rms(arrays):
    return np.sqrt(np.mean(np.square(arrays)))


@pytest.mark.parametrize("n", [400, 2000, 10_000])
@pytest.mark.parametrize("name", ["normal", "off_centre", "relu", "lognormal", "student_t3"])
def test_median_floor_is_the_median_null_distance(name, n):
    found = pairs(windows(name, n))
    noise = np.median([floor(W1, a, b) for a, b in found])
    truth = np.median([W1.function(a, b) for a, b in found])
    np.testing.assert_allclose(noise, truth, rtol=0.15)


@pytest.mark.parametrize("name", [name for name, one in METRICS.items() if not one.by_example and name != "zero_share"])
@pytest.mark.parametrize("animal", ["normal", "relu", "saturated", "bimodal"])
def test_floor_of_every_metric_is_what_noise_shows_on_average(animal, name):
    found = pairs(windows(animal, 2000))
    noise = rms([floor(METRICS[name], a, b) for a, b in found])
    truth = rms([METRICS[name].function(a, b) for a, b in found])
    np.testing.assert_allclose(noise, truth, rtol=0.3 if name in HEAVY else 0.15)


def test_floor_of_zero_share():
    found = pairs(windows("relu", 2000))
    noise = rms([floor(METRICS["zero_share"], a, b) for a, b in found])
    truth = rms([METRICS["zero_share"].function(a, b) for a, b in found])
    np.testing.assert_allclose(noise, truth, rtol=0.15)


@pytest.mark.parametrize("sizes", [(400, 8000), (8000, 400)])
def test_floor_of_windows_of_different_size(sizes):
    a, b = windows("normal", sizes[0], 1)[0], distribution(draw("normal", sizes[1], 200, seed=77), steps=20)
    np.testing.assert_allclose(np.median(floor(W1, a, b)), np.median(W1.function(a, b)), rtol=0.2)


def test_floor_counts_steps_where_values_of_a_step_belong_together():
    random = np.random.default_rng(8)
    found = [
        distribution(
            np.repeat(random.normal(size=(200, 40)), 50, axis=1) + 0.3 * random.normal(size=(200, 2000)), steps=40
        )
        for _ in range(3)
    ]
    noise = np.median([floor(W1, a, b) for a, b in pairs(found)])
    truth = np.median([W1.function(a, b) for a, b in pairs(found)])
    np.testing.assert_allclose(noise, truth, rtol=0.2)
    assert noise > 3 * 1.288 * np.sqrt(2 / 2000)


def test_probes_have_no_floor():
    a, b = (distribution(draw("normal", 300, seed=seed), blocks=False) for seed in range(2))
    assert floor(W1, a, b).tolist() == [0, 0, 0]
    assert null_of(a, b).size == 0


def test_floor_of_a_single_step_is_unknown():
    one, two = distribution(draw("normal", 300), steps=1), distribution(draw("normal", 300, seed=1), steps=2)
    assert np.isnan(floor(W1, one, one)).all()
    assert np.isnan(floor(W1, one, one)).all()
    noise_of_two = floor(W1, two, two) * np.sqrt((1 / 300 + 1 / 300) / (2 / 300))
    np.testing.assert_allclose(floor(W1, one, two), noise_of_two)
    assert np.isfinite(floor(W1, two, two)).all()
    assert null_of(one, empty(3)).size == 0
    assert null_of(one, two).size == 3


def test_floor_is_unknown_for_a_unit_without_values():
    a, b = (distribution(draw("one_unit_diverged", 300, seed=seed)) for seed in range(2))
    assert np.isnan(floor(W1, a, b)).tolist() == [True, False, False]


def test_no_null_no_probability():
    a, b = windows("normal", 400)[:2]
    assert np.isnan(p_values(W1, W1.function(a, b), a, b, np.empty(0))).all()
    assert np.isnan(p_values(W1, W1.function(a, b), a, b, np.full(9, 0.3))).all()


def moved(a, b, *others):
    return discoveries(p_values(W1, W1.function(a, b), a, b, null_of(a, b, *others)))


@pytest.mark.parametrize("n", [320, 2000, 5000])
@pytest.mark.parametrize("name", ["normal", "relu", "lognormal", "student_t3", "bimodal"])
def test_nothing_moved_where_nothing_changed(name, n):
    a, b, c = windows(name, n, units=100)
    assert moved(a, b, c).mean() <= 0.05
    assert moved(b, c, a).mean() <= 0.05


def test_probabilities_of_noise_are_uniform_in_the_tail():
    below = []
    for name in ("normal", "relu", "bimodal", "saturated"):
        a, b, c = windows(name, 2000)
        null = null_of(a, b, c)
        below += [p_values(W1, W1.function(x, y), x, y, null) < 0.05 for x, y in ((a, b), (b, c), (a, c))]
    assert 0.02 < np.mean(below) < 0.08


def test_one_unit_in_a_hundred_is_found():
    before, after = draw("normal", 5000, 100), draw("normal", 5000, 100, seed=1).copy()
    after[17] += 0.2
    a, b = distribution(before, steps=50), distribution(after, steps=50)
    found = moved(a, b)
    assert found[17]
    assert found.sum() <= 1 + 5


def test_larger_values_are_less_probable():
    a, b = windows("normal", 2000)[:2]
    null = null_of(a, b)
    values = np.linspace(0, 0.2, a.units)
    p = p_values(W1, values, a, b, null)
    assert (np.diff(p) <= 0).all()
    assert p[0] == 1
    assert p[-1] < 1e-4


@pytest.mark.parametrize("seed", range(20))
def test_discoveries_are_those_of_benjamini_and_hochberg(seed):
    random = np.random.default_rng(seed)
    p = random.random(60)
    p[: seed % 7] *= 10.0 ** random.integers(-6, 0, seed % 7)
    p[random.random(60) < 0.1] = np.round(p[0], 3)
    np.testing.assert_array_equal(discoveries(p), false_discovery_control(p) <= FALSE_DISCOVERIES)


def test_units_without_probability_are_never_discovered_and_do_not_count():
    random = np.random.default_rng(3)
    p = np.concatenate([random.random(30), [0.001, 0.0015, 0.004]])
    padded = np.full(99, np.nan)
    padded[::3] = p
    found = discoveries(padded)
    np.testing.assert_array_equal(found[::3], false_discovery_control(p) <= FALSE_DISCOVERIES)
    assert found.sum() == found[::3].sum() > 0


@pytest.mark.parametrize("p", [[], [np.nan, np.nan], [0.9]])
def test_no_discoveries(p):
    assert not discoveries(np.array(p)).any()


def test_the_null_is_of_the_five_nearest_windows():
    """Each window's null holds its own number, so that it can be told which were taken."""
    nulls = {index: np.full(20, float(index)) for index in range(1, 13)}
    pooled = pooled_null(np.zeros(3), nulls, 7)
    assert sorted(set(pooled)) == [0, 5, 6, 7, 8, 9]
    assert len(pooled) == 3 + 5 * 20
    assert sorted(set(pooled_null(np.zeros(3), nulls, 1))) == [0, 1, 2, 3, 4, 5]


def test_more_windows_are_taken_until_the_null_has_20_values():
    nulls = {index: np.full(2, float(index)) for index in range(1, 13)}
    pooled = pooled_null(np.zeros(3), nulls, 12)
    assert len(pooled) == 21
    assert sorted(set(pooled)) == [0, *range(4, 13)]
    assert len(pooled_null(np.zeros(3), {1: np.ones(2)}, 1)) == 5


@pytest.mark.parametrize("name", [name for name, one in METRICS.items() if not one.by_example])
@pytest.mark.parametrize(
    "values",
    [np.random.default_rng(0).normal(size=(3, 2)), np.tile([1.0, 2.0], (3, 40))],
    ids=["one value each", "constants that differ"],
)
def test_halves_without_a_spread_tell_no_noise(values, name):
    a, b = (distribution(one, steps=len(one[0]), dtype=np.float64) for one in (values, values[:, ::-1]))
    assert np.isnan(floor(METRICS[name], a, b)).all()
    assert not len(standardised_null(METRICS[name], a))


def test_a_window_with_a_floor_speaks_for_one_without():
    few, many = distribution(draw("normal", 2, 3, 1), steps=2), distribution(draw("normal", 400, 3, 2))
    assert np.isfinite(floor(W1, few, many)).all()
    assert (floor(W1, few, many) < 2).all()
