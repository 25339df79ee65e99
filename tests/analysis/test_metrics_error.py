"""What sketching adds to a metric: the bound always holds, the typical error in nine units of ten."""

import numpy as np
import pytest
from scipy import stats

from icshift.analysis.metrics import METRICS
from tests.recorded import distribution
from tests.zoo.distributions import draw

ORACLES = {
    "w1": stats.wasserstein_distance,
    "ks": lambda x, y: stats.ks_2samp(x, y, method="asymp").statistic,
    "energy": stats.energy_distance,
}
UNITS, SIZES = 20, (600, 6000)


def sparse(n, seed):
    """A rectifier that is silent for 14 values of 15."""
    return np.maximum(draw("normal", n, units=UNITS, seed=seed) - 1.5, 0)


def three_values(n, seed):
    values = draw("normal", n, units=UNITS, seed=seed)
    return np.where(values < -0.2, -0.9, np.where(values < 0.8, 0.1, 1.1)).astype(np.float32).astype(float)


def of_animal(name):
    return lambda n, seed: draw(name, n, units=UNITS, seed=seed)


ANIMALS = {name: of_animal(name) for name in ("normal", "relu", "lognormal", "student_t3", "bimodal", "dropped")}
ANIMALS |= {"sparse": sparse, "three_values": three_values}


def errors_of(animal):
    """For every metric the errors and bounds of all units, in pairs that did not move or grew."""
    found = {name: ([], []) for name in ORACLES}
    for n in SIZES:
        first, second = ANIMALS[animal](n, 0), ANIMALS[animal](n, 1)
        a = distribution(first, steps=40)
        for after in (second, 1.2 * second):
            moved = after.astype(np.float32).astype(float)
            b = distribution(moved, steps=40)
            for name, (errors, bounds) in found.items():
                exact = [ORACLES[name](x, y) for x, y in zip(first, moved, strict=True)]
                errors.append(np.abs(METRICS[name].function(a, b) - exact))
                bounds.append(METRICS[name].error(a, b))
    return {name: (np.concatenate(errors), np.concatenate(bounds)) for name, (errors, bounds) in found.items()}


@pytest.mark.some(3)
@pytest.mark.parametrize("animal", ANIMALS)
def test_errors_are_below_the_bound_and_nine_of_ten_below_the_typical_one(animal):
    for name, (errors, bounds) in errors_of(animal).items():
        assert (errors <= bounds + 1e-6).all(), name
        beyond = np.mean(errors > METRICS[name].typical * bounds)
        assert beyond <= 0.1 + 2 * np.sqrt(0.09 / len(errors)), f"{name}: {beyond:.0%}"


def test_the_typical_error_of_a_unit_is_no_overstatement_by_far():
    """Of what is hardest for it, a tenth of the units come near."""
    errors, bounds = errors_of("three_values")["w1"]
    assert np.quantile(errors / bounds, 0.95) > METRICS["w1"].typical / 2


def test_metrics_with_a_bound_by_sketching_are_those_examined():
    sketched = {name for name, one in METRICS.items() if one.error is not None and not one.by_example}
    assert {name for name in sketched if METRICS[name].typical < 1} == {*ORACLES, "w1_sd"}
    assert METRICS["w1_sd"].typical == METRICS["w1"].typical
