"""Statistics over units against NumPy, and what is left out of them."""

import numpy as np
import pytest

from icshift.analysis.over_units import median, quantile
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
