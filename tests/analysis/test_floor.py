"""The noise floor is what noise alone shows."""

import itertools
from functools import lru_cache

import numpy as np
import pytest

from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS
from tests.recorded import distribution
from tests.zoo.distributions import draw

W1 = METRICS["w1_sd"]
HEAVY = ("w2", "w2_scale", "w2_shape", "log_sd_ratio", "psi", "js", "ks")
"""Measures whose noise hangs on few values or shows the grain of the slices that are kept."""


@lru_cache
def windows(name, n, count=3, units=200):
    """Windows of the same distribution, so that all drift between them is noise."""
    return [distribution(draw(name, n, units, seed=20 + seed), steps=20) for seed in range(count)]


def pairs(found):
    return list(itertools.pairwise(found))


def rms(arrays):
    return np.sqrt(np.mean(np.square(arrays)))


@pytest.mark.some(5)
@pytest.mark.parametrize("n", [400, 2000, 10_000])
@pytest.mark.parametrize("name", ["normal", "off_centre", "relu", "lognormal", "student_t3"])
def test_median_floor_is_the_median_null_distance(name, n):
    found = pairs(windows(name, n))
    noise = np.median([floor(W1, a, b) for a, b in found])
    truth = np.median([W1.function(a, b) for a, b in found])
    np.testing.assert_allclose(noise, truth, rtol=0.15)


@pytest.mark.some(4)
@pytest.mark.covering(1)
@pytest.mark.parametrize("name", [name for name, one in METRICS.items() if not one.by_example and name != "zero_share"])
@pytest.mark.parametrize("animal", ["normal", "relu", "saturated", "bimodal"])
def test_floor_of_every_metric_is_what_noise_shows_on_average(animal, name):
    found = pairs(windows(animal, 2000))
    noise = rms([floor(METRICS[name], a, b) for a, b in found])
    truth = rms([METRICS[name].function(a, b) for a, b in found])
    np.testing.assert_allclose(noise, truth, rtol=0.6 if name in HEAVY else 0.2)


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


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_floor_of_fewer_than_six_steps_is_unknown(steps):
    few, many = distribution(draw("normal", 300), steps=steps), distribution(draw("normal", 300, seed=1), steps=20)
    for a, b in ((few, few), (few, many), (many, few)):
        assert np.isnan(floor(W1, a, b)).all()
    assert np.isfinite(floor(W1, many, many)).all()


def test_what_moved_is_not_in_the_floor():
    a, b = windows("normal", 2000, 2)
    shifted = distribution(draw("normal", 2000, 200, seed=21) + 3, steps=20)
    np.testing.assert_allclose(floor(METRICS["w1"], a, shifted), floor(METRICS["w1"], a, b), rtol=1e-3)


def test_floor_is_unknown_for_a_unit_without_values():
    a, b = (distribution(draw("one_unit_diverged", 300, seed=seed)) for seed in range(2))
    assert np.isnan(floor(W1, a, b)).tolist() == [True, False, False]


@pytest.mark.parametrize("name", [name for name, one in METRICS.items() if not one.by_example])
def test_constants_have_no_noise_and_swings_between_blocks_are_noise(name):
    still = distribution(np.ones((3, 64)), steps=16, dtype=np.float64)
    assert (floor(METRICS[name], still, still) == 0).all()
    swinging = distribution(np.tile(np.repeat([1.0, 2.0], 8), (3, 4)), steps=8, dtype=np.float64)
    other = distribution(np.tile(np.repeat([2.0, 1.0, 1.0, 2.0], 8), (3, 2)), steps=8, dtype=np.float64)
    assert not (floor(METRICS[name], swinging, other) < 0).any()
    assert (floor(METRICS["w1"], swinging, other) > 0.1).all()
