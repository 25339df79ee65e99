"""Every distance against SciPy or a slow direct formula, and the laws that all of them obey."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from icshift.analysis.distances import JS_BINS, PSI_BINS, STD_FLOOR, effective_std, near_constant, std_floor
from icshift.analysis.metrics import METRICS
from icshift.distribution import EXACT, empty
from tests import laws
from tests.recorded import distribution, of_zoo
from tests.zoo.distributions import FINITE, ZOO, draw, scale

pytestmark = pytest.mark.usefixtures("each_kernel")

SIZES = (300, 200)
SYMMETRIC = ("w1_sd", "w1", "w2", "w2_location", "w2_scale", "w2_shape", "ks", "js", "energy")
TIED = ("relu", "constant", "all_zero", "saturated", "clipped", "dropped")
"""Animals of which whole bins are one tie."""

ANTISYMMETRIC = ("mean_shift_sd", "log_sd_ratio", "zero_share")
DISTANCES = (*SYMMETRIC, "psi")
OF_SAMPLES = [name for name, one in METRICS.items() if not one.by_example]
"""Those that compare the same examples are examined in `test_by_example.py`."""


def pooled_floored_sd(first, second):
    pooled = np.sqrt((first.std(1) ** 2 + second.std(1) ** 2) / 2)
    return np.maximum(pooled, max(0.05 * np.median(pooled), 1e-12))


def slow_w2_squared(first, second):
    """Exact breakpoints of both quantile functions, merged."""
    x, y = np.sort(first), np.sort(second)
    ends = sorted({Fraction(i + 1, len(x)) for i in range(len(x))} | {Fraction(j + 1, len(y)) for j in range(len(y))})
    total, start = 0.0, Fraction(0)
    for end in ends:
        middle = (start + end) / 2
        total += float(end - start) * (x[int(middle * len(x))] - y[int(middle * len(y))]) ** 2
        start = end
    return total


def slow_shares(values, edges):
    """Shares of values in (-inf, e1], (e1, e2], ..., (e_last, inf)."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[sum(value > edge for edge in edges)] += 1
    return np.array(counts) / len(values)


def slow_edges(values, bins):
    return [np.quantile(values, i / bins, method="inverted_cdf") for i in range(1, bins)]


def slow_js(first, second):
    edges = slow_edges(np.concatenate([first, second]), 20)
    return jensenshannon(slow_shares(first, edges), slow_shares(second, edges), base=2)


def slow_psi(first, second):
    edges = slow_edges(first, 10)
    shares = zip(slow_shares(first, edges), slow_shares(second, edges), strict=True)
    occupied = [pair for pair in shares if pair[0] > 0 or pair[1] > 0]
    total = 0.0
    for before, after in occupied:
        p = (before * len(first) + 0.5) / (len(first) + 0.5 * len(occupied))
        q = (after * len(second) + 0.5) / (len(second) + 0.5 * len(occupied))
        total += (p - q) * np.log(p / q)
    return total


def unit_wise(function):
    return lambda first, second: np.array([function(x, y) for x, y in zip(first, second, strict=True)])


ORACLES = {
    "w1": unit_wise(stats.wasserstein_distance),
    "w1_sd": lambda x, y: unit_wise(stats.wasserstein_distance)(x, y) / pooled_floored_sd(x, y),
    "w2": unit_wise(lambda x, y: np.sqrt(slow_w2_squared(x, y))),
    "w2_location": lambda x, y: np.abs(x.mean(1) - y.mean(1)),
    "w2_scale": lambda x, y: np.abs(x.std(1) - y.std(1)),
    "w2_shape": unit_wise(
        lambda x, y: np.sqrt(max(slow_w2_squared(x - x.mean(), y - y.mean()) - (x.std() - y.std()) ** 2, 0))
    ),
    "ks": unit_wise(lambda x, y: stats.ks_2samp(x, y, method="asymp").statistic),
    "energy": unit_wise(stats.energy_distance),
    "js": unit_wise(slow_js),
    "psi": unit_wise(slow_psi),
    "mean_shift_sd": lambda x, y: (y.mean(1) - x.mean(1)) / pooled_floored_sd(x, y),
    "log_sd_ratio": lambda x, y: np.log(np.maximum(y.std(1), floor_of(x, y)) / np.maximum(x.std(1), floor_of(x, y))),
    "zero_share": lambda x, y: (y == 0).mean(1) - (x == 0).mean(1),
}
ROUNDING = {"w2_shape": 1e-7, "js": 1e-7, "mean_shift_sd": 1e-6, "log_sd_ratio": 1e-6}
"""Roots of differences, where 1e-15 below the root is 3e-8 above it; and moments of float32 values."""


def floor_of(first, second):
    return max(0.05 * np.median(np.sqrt((first.std(1) ** 2 + second.std(1) ** 2) / 2)), 1e-12)


def test_every_metric_has_an_oracle():
    assert set(ORACLES) == set(OF_SAMPLES) == {*DISTANCES, *ANTISYMMETRIC}
    assert (JS_BINS, PSI_BINS, STD_FLOOR) == (20, 10, 0.05)


STEPS = (0, 1, 5, 8)


def four_after(animal):
    """Four animals after one, itself (drawn anew) among them."""
    place = FINITE.index(animal)
    return [FINITE[(place + step) % len(FINITE)] for step in STEPS]


MIXED = [(before, after) for before in FINITE for after in four_after(before)]
"""Every animal before and after four ones."""


@pytest.mark.some(60)
@pytest.mark.covering(2)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("before", FINITE)
@pytest.mark.parametrize("name", [name for name in OF_SAMPLES if name != "psi"])
def test_oracle(name, before, step):
    agrees_with_oracle(name, before, four_after(before)[STEPS.index(step)])


@pytest.mark.some(12)
@pytest.mark.parametrize(("before", "after"), [pair for pair in MIXED if pair[0] not in TIED])
def test_oracle_of_psi(before, after):
    agrees_with_oracle("psi", before, after)


@pytest.mark.some(8)
@pytest.mark.parametrize(("before", "after"), [pair for pair in MIXED if pair[0] in TIED])
def test_psi_has_no_bins_between_equal_quantiles(before, after):
    agrees_with_oracle("psi", before, after)


def agrees_with_oracle(name, before, after):
    first, second = draw(before, SIZES[0]), draw(after, SIZES[1], seed=1)
    found = METRICS[name].function(of_zoo(before, SIZES[0]), of_zoo(after, SIZES[1], seed=1))
    expected = ORACLES[name](first, second)
    powers = {"activation": 1, "sqrt(activation)": 0.5}
    size = max(scale(first), scale(second)) ** powers.get(METRICS[name].unit, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=ROUNDING.get(name, 1e-9) * size)


@pytest.mark.some(60)
@pytest.mark.covering(2)
@pytest.mark.parametrize("n", [1, 300, 6000])
@pytest.mark.parametrize("animal", ZOO)
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_zero_from_itself(name, animal, n):
    laws.zero_from_itself(METRICS[name], of_zoo(animal, n))


PAIRS = (
    ("normal", 300, "lognormal", 200),
    ("relu", 300, "relu", 6000),
    ("off_centre", 1, "student_t3", 6000),
    ("with_nan", 300, "with_inf", 200),
    ("constant", 7, "one_unit_diverged", 6000),
)


@pytest.mark.some(15)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric(name, pair):
    laws.symmetric(METRICS[name], of_zoo(*pair[:2]), of_zoo(*pair[2:], seed=1))


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("name", ANTISYMMETRIC)
def test_antisymmetric(name, pair):
    laws.symmetric(METRICS[name], of_zoo(*pair[:2]), of_zoo(*pair[2:], seed=1), sign=-1)


@pytest.mark.some(24)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_unit_by_unit(name, pair):
    laws.unit_by_unit(METRICS[name], of_zoo(*pair[:2]), of_zoo(*pair[2:], seed=1))


@pytest.mark.some(16)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("name", DISTANCES)
def test_never_negative(name, pair):
    found = METRICS[name].function(of_zoo(*pair[:2]), of_zoo(*pair[2:], seed=1))
    assert (found[np.isfinite(found)] >= 0).all()


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_undefined_where_there_are_no_values(name):
    diverged, normal = of_zoo("one_unit_diverged", 300), of_zoo("normal", 200)
    for found in (METRICS[name].function(diverged, normal), METRICS[name].function(normal, diverged)):
        assert np.isnan(found).tolist() == [True, False, False]
    assert np.isnan(METRICS[name].function(empty(3), normal)).all()
    assert np.isnan(METRICS[name].function(empty(3), empty(3))).all()


@pytest.mark.some(18)
@pytest.mark.parametrize("pair", MIXED, ids=str)
def test_w2_squared_is_location_scale_and_shape(pair):
    a, b = of_zoo(pair[0], 300), of_zoo(pair[1], 6000, seed=1)
    parts = [METRICS[name].function(a, b) ** 2 for name in ("w2_location", "w2_scale", "w2_shape")]
    np.testing.assert_allclose(METRICS["w2"].function(a, b) ** 2, sum(parts), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shift", [0.25, -8.0, 1024.0])
@pytest.mark.parametrize("animal", ["normal", "relu", "student_t3", "bimodal"])
def test_shift_costs_its_length(animal, shift):
    values = np.round(draw(animal, 500) * 1024) / 1024
    a, b = distribution(values), distribution(values + shift)
    for name in ("w1", "w2", "w2_location"):
        np.testing.assert_allclose(METRICS[name].function(a, b), abs(shift), rtol=1e-12)
    for name in ("w2_scale", "w2_shape"):
        np.testing.assert_allclose(METRICS[name].function(a, b), 0, atol=1e-6 * abs(shift))


@pytest.mark.parametrize("n", [EXACT, 50_000])
@pytest.mark.parametrize(("mean", "sd"), [(0, 2.0), (0, 0.5), (3, 1.5)])
def test_closed_forms_of_normals(mean, sd, n):
    standard = stats.norm.ppf((np.arange(n) + 0.5) / n)[None]
    a, b = distribution(standard), distribution(mean + sd * standard)
    np.testing.assert_allclose(METRICS["w2"].function(a, b), np.hypot(mean, sd - 1), rtol=0.01)
    if not mean:
        np.testing.assert_allclose(METRICS["w1"].function(a, b), abs(sd - 1) * np.sqrt(2 / np.pi), rtol=0.01)
        np.testing.assert_allclose(METRICS["log_sd_ratio"].function(a, b), np.log(sd), rtol=0.01)
    assert (METRICS["w2_shape"].function(a, b) < 0.02).all()


def test_point_masses():
    a, b = distribution(np.full((1, 7), 2.0)), distribution(np.full((1, 900), -3.0))
    for name in ("w1", "w2", "w2_location"):
        assert METRICS[name].function(a, b).tolist() == [5.0]
    assert METRICS["ks"].function(a, b).tolist() == [1.0]
    assert METRICS["js"].function(a, b).tolist() == [1.0]


@pytest.mark.some(13)
@pytest.mark.parametrize("name", OF_SAMPLES)
@pytest.mark.parametrize("sizes", [(300, 200), (300, 6000), (6000, 9000)])
def test_all_zeros_are_the_same_as_all_zeros(name, sizes):
    found = METRICS[name].function(of_zoo("all_zero", sizes[0]), of_zoo("all_zero", sizes[1]))
    assert (found == 0).all()


def test_ties_of_relu_are_one_step():
    a, b = of_zoo("relu", 2000, units=20), of_zoo("relu", 2000, units=20, seed=1)
    assert METRICS["ks"].function(a, b).max() < 0.06


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_between_other_values_are_one_step(dtype):
    shares = np.repeat([[-0.9, 0.1, 1.1]], 2000, axis=1), np.repeat([[-0.9, 0.1, 1.1]], 3000, axis=1)
    a, b = (distribution(values, dtype=dtype) for values in shares)
    assert METRICS["ks"].function(a, b)[0] <= METRICS["ks"].error(a, b)[0]
    assert METRICS["js"].function(a, b)[0] < 0.05


def test_psi_of_no_shift_is_its_sampling_noise():
    a, b = of_zoo("normal", 500, units=400), of_zoo("normal", 500, units=400, seed=1)
    expected = (PSI_BINS - 1) * (1 / 500 + 1 / 500)
    np.testing.assert_allclose(METRICS["psi"].function(a, b).mean(), expected, rtol=0.1)


def test_psi_of_a_unit_shift_is_one():
    a, b = of_zoo("normal", 20_000, units=20), distribution(draw("normal", 20_000, units=20, seed=1) + 1)
    np.testing.assert_allclose(METRICS["psi"].function(a, b).mean(), 1.0, rtol=0.1)


@pytest.mark.some(6)
@pytest.mark.parametrize("name", [name for name in OF_SAMPLES if METRICS[name].error is not None])
@pytest.mark.parametrize(("before", "after"), [("normal", "shifted"), ("lognormal", "student_t3"), ("relu", "clipped")])
def test_stated_error_bounds_the_error(name, before, after):
    first, second = draw(before, 9000, units=8), draw(after, 20_000, units=8, seed=1)
    a, b = of_zoo(before, 9000, units=8), of_zoo(after, 20_000, units=8, seed=1)
    off = np.abs(METRICS[name].function(a, b) - ORACLES[name](first, second))
    assert (off <= METRICS[name].error(a, b) + 1e-5).all()


@pytest.mark.some(5)
@pytest.mark.parametrize("name", [name for name in OF_SAMPLES if name != "w2"])
def test_noise_shrinks_with_the_stated_power(name):
    animal = "relu" if name == "zero_share" else "normal"
    medians = []
    for n in (128, 512):
        a, b = of_zoo(animal, n, units=1500), of_zoo(animal, n, units=1500, seed=1)
        medians.append(np.median(np.abs(METRICS[name].function(a, b))))
    np.testing.assert_allclose(medians[0] / medians[1], 2.0 ** METRICS[name].noise, rtol=0.15)


@pytest.mark.parametrize("n", [512, 2048])
def test_null_constant_of_w1_is_1_288(n):
    a, b = of_zoo("normal", n, units=2500), of_zoo("normal", n, units=2500, seed=1)
    found = METRICS["w1_sd"].function(a, b).mean() / np.sqrt(2 / n)
    np.testing.assert_allclose(found, 1.288, rtol=0.02 if n <= EXACT else 0.06)


def test_error_of_w1_is_as_large_as_stated_where_every_slice_crosses():
    steps, within = np.repeat(np.arange(128.0), 8), np.tile(np.linspace(-0.35, 0.35, 8), 128)
    a, b = distribution(steps[None]), distribution((steps + within)[None])
    off = np.mean(np.abs(within)) - METRICS["w1"].function(a, b)
    assert 0.1 < off <= METRICS["w1"].error(a, b)[0] < 2 * off


def test_collapsed_unit_does_not_run_off():
    before = np.concatenate([draw("normal", 300, units=9), 1e-9 * draw("normal", 300, units=1)])
    a, b = distribution(before), distribution(before + 0.1)
    found = METRICS["w1_sd"].function(a, b)
    assert found[-1] < 0.1 / (0.9 * STD_FLOOR)
    assert near_constant(a, b).tolist() == [False] * 9 + [True]
    np.testing.assert_allclose(effective_std(a, b)[-1], std_floor(a, b))


def test_constant_units_are_near_constant_and_of_finite_drift():
    a, b = of_zoo("constant", 300), of_zoo("all_zero", 300)
    assert near_constant(a, b).all()
    assert np.isfinite(METRICS["w1_sd"].function(a, b)).all()
    assert std_floor(a, b) > 0


def test_unit_without_values_does_not_spoil_the_floor_of_others():
    diverged, normal = of_zoo("one_unit_diverged", 300), of_zoo("normal", 300)
    np.testing.assert_allclose(std_floor(diverged, normal), STD_FLOOR, rtol=0.2)
    assert near_constant(diverged, normal).tolist() == [True, False, False]


def test_unit_that_runs_off_beyond_squares_of_float32_has_drift():
    before = draw("normal", 300, units=5)
    after = before.copy()
    after[2] *= 1e25
    a, b = distribution(before), distribution(after)
    assert METRICS["w1_sd"].function(a, b)[2] > 0.5
    np.testing.assert_allclose(METRICS["log_sd_ratio"].function(a, b)[2], np.log(1e25), rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3])
@pytest.mark.parametrize("dead", [0, 2, 8])
def test_dead_units_do_not_make_others_run_off(dead, value):
    """Of ten units some are constant but for rounding: they set no scale, and are near-constant themselves."""
    before, after = (draw("normal", 320, 10, seed=seed) + seed for seed in (0, 1))
    for values in (before, after):
        values[:dead] = value + 1e-8 * value * values[:dead]
    before[9] = 0.0  # a unit that comes to life by little
    after[9] *= 1e-3
    a, b = distribution(before), distribution(after)
    drift, still = METRICS["w1_sd"].function(a, b), METRICS["w1_sd"].near_constant(a, b)
    assert still.tolist() == [True] * dead + [False] * (9 - dead) + [True]
    assert (drift[~still] < 30).all()
