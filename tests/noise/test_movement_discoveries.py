"""Which units are called moved is what Benjamini and Hochberg's procedure says."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from icshift.noise.movement import FALSE_ALARMS, discoveries


@pytest.mark.some(6)
@pytest.mark.parametrize("seed", range(20))
def test_discoveries_are_those_of_benjamini_and_hochberg(seed):
    random = np.random.default_rng(seed)
    p = random.random(60)
    p[: seed % 7] *= 10.0 ** random.integers(-6, 0, seed % 7)
    p[random.random(60) < 0.1] = np.round(p[0], 3)
    np.testing.assert_array_equal(discoveries(p), false_discovery_control(p) <= FALSE_ALARMS)


def test_units_without_probability_are_never_discovered_and_do_not_count():
    random = np.random.default_rng(3)
    p = np.concatenate([random.random(30), [0.001, 0.0015, 0.004]])
    padded = np.full(99, np.nan)
    padded[::3] = p
    found = discoveries(padded)
    np.testing.assert_array_equal(found[::3], false_discovery_control(p) <= FALSE_ALARMS)
    assert found.sum() == found[::3].sum() > 0


@pytest.mark.parametrize("p", [[], [np.nan, np.nan], [0.9]])
def test_no_discoveries(p):
    assert not discoveries(np.array(p)).any()
