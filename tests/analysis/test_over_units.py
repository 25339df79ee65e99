"""Statistics over units against NumPy, and what is left out of them."""

import numpy as np
import pytest

from icshift.analysis.over_units import median, quantile, rms
from tests.zoo.distributions import FINITE, draw


@pytest.mark.some(16)
@pytest.mark.parametrize("n", [1, 2, 9, 64])
@pytest.mark.parametrize("name", FINITE)
def test_those_of_numpy(name, n):
    values = draw(name, n, units=1)[0]
    assert median(values) == pytest.approx(np.median(values), rel=1e-15)
    for probability in (0, 0.15, 0.9, 1):
        assert quantile(values, probability) == np.quantile(values, probability)


def test_units_whose_value_is_not_known_are_left_out():
    values = np.array([np.nan, 3.0, np.inf, 1.0, -np.inf, 2.0])
    assert median(values) == 2
    assert quantile(values, 1.0) == 3


@pytest.mark.parametrize("values", [[], [np.nan, np.inf]])
def test_nan_of_nothing(values):
    assert np.isnan(median(np.array(values)))
    assert np.isnan(quantile(np.array(values), 0.9))


@pytest.mark.parametrize("scale", [1.0, 2.0**600, 2.0**-600])
def test_a_root_mean_square_of_any_size(scale):
    draws = scale * np.array([[3.0, 0.0], [-4.0, 0.0]])
    with np.errstate(all="raise"):
        np.testing.assert_allclose(rms(draws), [scale * np.sqrt(12.5), 0.0], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 11, 1000, 1001])
def test_the_middle_is_that_of_numpy(count, dtype):
    values = (np.random.default_rng(count).normal(size=count) * 1e3).astype(dtype)
    np.testing.assert_allclose(median(values), np.median(values.astype(float)), rtol=1e-12)
    assert median(values) == quantile(values, 0.5)
    broken = np.append(values, [np.nan, np.inf, -np.inf]).astype(dtype)
    assert median(broken) == median(values)
    np.testing.assert_array_equal(broken[:count], values)  # What was given stays in its order.
