"""Distances of large windows, of which slice means and tails are kept, against those of all their values."""

from dataclasses import replace
from functools import lru_cache, reduce

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from icshift.analysis.metrics import METRICS
from icshift.distribution import Distribution
from tests.recorded import distribution
from tests.zoo.distributions import draw

pytestmark = pytest.mark.usefixtures("each_kernel")

N, UNITS = 20_000, 16
FAMILY = ("w2", "w2_location", "w2_scale", "w2_shape", "energy")


def oracle(name, first, second):
    return np.array([ORACLES[name](x, y) for x, y in zip(first, second, strict=True)])


def slow_js(first, second):
    together = np.sort(np.concatenate([first, second]))
    edges = together[np.arange(1, 20) * len(together) // 20 - 1]
    shares = [
        np.diff([0, *np.searchsorted(np.sort(values), edges, side="right") / len(values), 1])
        for values in (first, second)
    ]
    return jensenshannon(*shares, base=2)


ORACLES = {
    "w1": stats.wasserstein_distance,
    "w2": lambda x, y: np.sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2)),
    "energy": stats.energy_distance,
    "js": slow_js,
}


def heavy(name, seed):
    random = np.random.default_rng(seed)
    values = {
        "cauchy": lambda: random.standard_cauchy((UNITS, N)),
        "lognormal3": lambda: random.lognormal(sigma=3, size=(UNITS, N)),
    }[name]()
    return values.astype(np.float32).astype(float)


@lru_cache
def drawn(name, seed):
    return heavy(name, seed) if name in ("cauchy", "lognormal3") else draw(name, N, units=UNITS, seed=seed)


@lru_cache
def kept(name, seed, parts=1):
    """The distribution of the values, merged of so many parts."""
    split = np.array_split(drawn(name, seed), parts, axis=1)
    return reduce(Distribution.merge, [distribution(part, steps=40) for part in split])


def changed(name, parts=1):
    """Two samples, the second wider by a fifth and shifted by as much as the 16th percentile is off the median."""
    first, second = drawn(name, 0), drawn(name, 1)
    shift = np.median(first) - np.quantile(first, 0.16) or 0.1
    second = (1.2 * second + 0.3 * shift).astype(np.float32).astype(float)
    return (
        first,
        second,
        kept(name, 0, parts),
        reduce(Distribution.merge, [distribution(part, steps=40) for part in np.array_split(second, parts, axis=1)]),
    )


SMOOTH = ("normal", "relu", "lognormal", "student_t3", "saturated", "dropped", "clipped")
HEAVY = ("cauchy", "lognormal3")


@pytest.mark.some(5)
@pytest.mark.parametrize(
    ("name", "parts"),
    [(name, 1) for name in (*SMOOTH, "bimodal", *HEAVY, "constant")]
    + [(name, 4) for name in ("relu", "student_t3", "bimodal", "cauchy")],
)
def test_w2_and_energy_of_a_change_are_near_those_of_all_values(name, parts):
    first, second, a, b = changed(name, parts)
    for metric in ("w2", "energy"):
        rtol = 0.05 if name in SMOOTH else 0.08 if name == "bimodal" else 0.15
        np.testing.assert_allclose(METRICS[metric].function(a, b), oracle(metric, first, second), rtol=rtol)


def rms(found):
    """Over units: of one alone what is almost 0 is known less well, and how well hangs on which values were kept."""
    return np.sqrt(np.mean(found**2))


@pytest.mark.some(3)
@pytest.mark.parametrize("name", [*SMOOTH, *HEAVY])
def test_w2_and_energy_of_no_change_are_those_of_the_sample(name):
    for metric in ("w2", "energy"):
        found = METRICS[metric].function(kept(name, 0), kept(name, 1))
        exact = oracle(metric, drawn(name, 0), drawn(name, 1))
        assert rms(found - exact) < (0.3 if name in HEAVY else 0.08) * rms(exact), metric


@pytest.mark.parametrize("name", [*SMOOTH, "bimodal", *HEAVY, "constant"])
def test_js_of_no_change_is_that_of_the_sample(name):
    """Ties at 0 are known exactly, others to a fraction of a slice, which a small bin beside them shows."""
    found = METRICS["js"].function(kept(name, 0), kept(name, 1))
    off = found - oracle("js", drawn(name, 0), drawn(name, 1))
    assert rms(off) < (0.01 if name in ("clipped", "dropped", "saturated") else 0.006)


@pytest.mark.parametrize("name", ["normal", "student_t3"])
def test_js_tells_a_shift_of_a_twentieth_of_an_sd_from_none(name):
    first, second = drawn(name, 0), drawn(name, 1)
    second = (second + 0.05 * second.std()).astype(np.float32).astype(float)
    shifted = METRICS["js"].function(kept(name, 0), distribution(second, steps=40))
    np.testing.assert_allclose(shifted, oracle("js", first, second), atol=0.005)
    assert np.median(shifted) > 1.2 * np.median(METRICS["js"].function(kept(name, 0), kept(name, 1)))


def test_a_few_far_values_count():
    first, second = (values.copy() for values in (drawn("normal", 0), drawn("normal", 1)))
    first[:, ::200] += 100
    second[:, ::100] += 100
    for metric in ("w2", "energy"):
        found = METRICS[metric].function(distribution(first), distribution(second))
        np.testing.assert_allclose(found, oracle(metric, first, second), rtol=0.08)


def test_windows_of_unlike_sizes_are_compared_by_their_shares():
    first, second = drawn("student_t3", 0), drawn("student_t3", 1)[:, :400]
    for metric in ("w2", "energy"):
        exact = [
            stats.energy_distance(x, y)
            if metric == "energy"
            else np.sqrt(np.mean((np.sort(x) - np.repeat(np.sort(y), N // 400)) ** 2))
            for x, y in zip(first, second, strict=True)
        ]
        found = METRICS[metric].function(kept("student_t3", 0), distribution(second))
        np.testing.assert_allclose(found, exact, rtol=0.05)


# Tails that are not known


@pytest.mark.parametrize("name", FAMILY)
def test_what_unknown_tails_decide_is_not_known(name):
    heavy_tails, light = (replace(kept(one, 0), tails=None) for one in ("cauchy", "normal"))
    for other in (heavy_tails, kept("normal", 1)):
        assert np.isnan(METRICS[name].function(heavy_tails, other)).all()
        assert np.isnan(METRICS[name].function(other, heavy_tails)).all()
    assert np.isfinite(METRICS[name].function(light, kept("normal", 1))).all()
    assert np.isfinite(METRICS[name].function(kept("cauchy", 0), kept("normal", 1))).all()


def test_of_light_tails_that_are_not_known_little_is_lost():
    first, second, a, b = changed("normal")
    found = METRICS["w2"].function(replace(a, tails=None), replace(b, tails=None))
    np.testing.assert_allclose(found, oracle("w2", first, second), rtol=0.02)


def test_units_beside_one_with_unknown_tails_keep_theirs():
    values = drawn("cauchy", 0).copy()
    values[0, ::50] = np.nan
    found = METRICS["w2"].function(distribution(values), kept("cauchy", 1))
    assert np.isnan(found).tolist() == [True] + [False] * (UNITS - 1)


@pytest.mark.parametrize("name", ["w1", "w2", "w2_location", "w2_scale", "w2_shape"])
@pytest.mark.parametrize("power", [600, -600])
@pytest.mark.parametrize("n", [300, 3000])
def test_squares_of_very_large_and_very_small_values_are_of_no_account(name, power, n):
    """Of 1e180 and 1e-180 the squares fit no float; nothing is said of that on the user's screen."""
    first, second = (draw(kind, n, 3, seed=1).astype(float) for kind in ("normal", "shifted"))
    usual, scaled = (
        [distribution(np.ldexp(values, by), dtype=np.float64) for values in (first, second)] for by in (0, power)
    )
    function = METRICS[name].function
    with np.errstate(all="raise", under="ignore"):
        found = function(*scaled)
    np.testing.assert_allclose(np.ldexp(found, -power), function(*usual), rtol=1e-12)
