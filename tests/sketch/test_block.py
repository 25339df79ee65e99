"""Quantiles of some of a block's values; the rest of what a block shows is in test_kernel.py, for every kernel."""

import numpy as np
import pytest

from icshift.runs.format import STEP_QUANTILES
from icshift.sketch.block import step_quantiles
from tests.zoo.distributions import FINITE, draw, scale


@pytest.mark.parametrize("name", FINITE)
def test_counted_quantiles_are_those_of_the_first_ones(name):
    values = np.sort(draw(name, 90).reshape(3, 3, 30), axis=2)
    finite = np.array([[30, 1, 0], [2, 7, 29], [30, 30, 30]])
    found = step_quantiles(values, finite)
    for unit, step in np.ndindex(3, 3):
        n = finite[unit, step]
        expected = np.quantile(values[unit, step, :n], STEP_QUANTILES) if n else np.full(len(STEP_QUANTILES), np.nan)
        np.testing.assert_allclose(found[:, unit, step], expected, rtol=1e-12, atol=1e-12 * scale(values))
