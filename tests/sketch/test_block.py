"""What is read off a block of steps, against NumPy step by step."""

import numpy as np
import pytest

from icshift.runs.format import STEP_QUANTILES
from icshift.sketch.block import measure, sort, step_quantiles
from icshift.sketch.workspace import Workspace
from tests.zoo.distributions import BROKEN, FINITE, ZOO, draw, scale


def block(name, steps, n, dtype):
    """Values [units, steps, n] and a float64 copy of them."""
    values = draw(name, steps * n).reshape(3, steps, n).astype(dtype)
    return values, values.astype(float)


def each_step(raw):
    for unit, steps in enumerate(raw):
        for step, values in enumerate(steps):
            yield unit, step, values[np.isfinite(values)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("steps", "n"), [(1, 1), (5, 2), (4, 33), (2, 600)])
@pytest.mark.parametrize("name", ZOO)
def test_order_is_that_of_every_step(name, steps, n, dtype):
    values, raw = block(name, steps, n, dtype)
    order = sort(values, Workspace())
    assert order.clean == np.isfinite(raw).all()
    for unit, step, finite in each_step(raw):
        assert order.finite[unit, step] == len(finite)
        assert order.zeros[unit, step] == (finite == 0).sum()
        found = order.quantiles[:, unit, step]
        if not len(finite):
            assert np.isnan(found).all()
            continue
        assert (order.min[unit, step], order.max[unit, step]) == (finite.min(), finite.max())
        atol = 4 * np.finfo(dtype).eps * scale(finite)
        np.testing.assert_allclose(found, np.quantile(finite, STEP_QUANTILES), rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["normal", *BROKEN])
def test_extremes_are_in_float64(name):
    order = sort(block(name, 4, 33, np.float32)[0], Workspace())
    assert (order.min.dtype, order.max.dtype) == (np.float64, np.float64)


@pytest.mark.parametrize("name", ZOO)
def test_values_are_sorted_with_nonfinite_ones_last(name):
    values, raw = block(name, 4, 33, np.float32)
    sort(values, Workspace())
    np.testing.assert_array_equal(values, np.sort(np.where(np.isfinite(raw), raw, np.inf), axis=2))


@pytest.mark.parametrize("name", FINITE)
def test_counted_quantiles_are_those_of_the_first_ones(name):
    values = np.sort(draw(name, 90).reshape(3, 3, 30), axis=2)
    finite = np.array([[30, 1, 0], [2, 7, 29], [30, 30, 30]])
    found = step_quantiles(values, finite)
    for unit, step in np.ndindex(3, 3):
        n = finite[unit, step]
        expected = np.quantile(values[unit, step, :n], STEP_QUANTILES) if n else np.full(len(STEP_QUANTILES), np.nan)
        np.testing.assert_allclose(found[:, unit, step], expected, rtol=1e-12, atol=1e-12 * scale(values))


@pytest.mark.parametrize(("dtype", "relative"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize(("steps", "n"), [(1, 1), (5, 2), (4, 33), (2, 600)])
@pytest.mark.parametrize("name", ZOO)
def test_moments_are_those_of_every_step(name, steps, n, dtype, relative):
    values, raw = block(name, steps, n, dtype)
    found = measure(values, sort(values, Workspace()))
    for unit, step, finite in each_step(raw):
        assert found.count[step, unit] == len(finite)
        assert found.nonfinite[step, unit] == n - len(finite)
        if not len(finite):
            assert (found.mean[step, unit], found.squares[step, unit]) == (0, 0)
            assert (found.min[step, unit], found.max[step, unit]) == (np.inf, -np.inf)
            continue
        mean, spread = finite.mean(), finite.std()
        assert abs(found.mean[step, unit] - mean) <= relative * spread + 1e-15 * abs(mean)
        assert abs(np.sqrt(max(found.squares[step, unit], 0) / len(finite)) - spread) <= relative * spread
        assert (found.min[step, unit], found.max[step, unit]) == (finite.min(), finite.max())


def test_moments_far_off_centre_in_float64():
    values = 1e6 + 1e-3 * draw("normal", 800).reshape(3, 4, 200)
    raw = values.copy()
    found = measure(values, sort(values, Workspace()))
    np.testing.assert_allclose(found.mean.T - 1e6, (raw - 1e6).mean(2), rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(found.squares.T / 200), raw.std(2), rtol=1e-6)
