"""One sd serves all windows of a metric in sd."""

import itertools

import numpy as np
import pytest

from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS
from icshift.analysis.yardstick import with_one_sd
from tests.recorded import distribution
from tests.zoo.distributions import draw


@pytest.fixture(scope="module")
def windows():
    """A spread that collapses by a factor of a hundred."""
    return [distribution(draw("normal", 320, seed=seed) * scale, steps=16) for seed, scale in enumerate((1, 0.1, 0.01))]


@pytest.mark.parametrize("name", ["w1_sd", "mean_shift_sd"])
def test_drift_and_its_floor_are_in_the_same_sd_everywhere(windows, name):
    metric = METRICS[name]
    one = with_one_sd(metric, windows)
    sd = np.sqrt(np.mean([window.std**2 for window in windows], axis=0))
    raw = {"w1_sd": METRICS["w1"].function, "mean_shift_sd": lambda a, b: b.mean - a.mean}[name]
    for a, b in itertools.pairwise(windows):
        np.testing.assert_allclose(one.function(a, b), raw(a, b) / sd, rtol=1e-6)
        ratio = one.function(a, b) / metric.function(a, b)
        np.testing.assert_allclose(floor(one, a, b) / floor(metric, a, b), ratio, rtol=1e-6)


def test_metrics_in_other_units_stay_as_they_are(windows):
    assert with_one_sd(METRICS["w1"], windows) is METRICS["w1"]
