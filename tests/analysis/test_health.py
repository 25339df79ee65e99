"""Units in trouble, at the very edge of each definition."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis.health import health
from icshift.distribution import empty
from tests.recorded import distribution, site
from tests.zoo.distributions import draw


def of(values, *, feeds=(), kind="Linear"):
    return health(replace(site("fc", len(values), feeds=feeds), type=kind), distribution(np.asarray(values)))


@pytest.mark.parametrize(("flat", "saturated"), [(18, 0), (19, 1), (20, 1)])
@pytest.mark.parametrize(("name", "limit"), [("Sigmoid", 4.357), ("Tanh", 2.179), ("Hardsigmoid", 3.0)])
def test_a_unit_is_saturated_from_95_percent_on(name, limit, flat, saturated):
    """Sample of them at either end; what lies on the limit is not flat."""
    values = np.full(20, np.float32(limit) * 0.999)
    values[:flat] = limit * 1.01
    values[: flat // 2] *= -1
    assert of([values], feeds=(name,)).saturated == saturated


def test_of_several_functions_the_first_to_be_flat_counts():
    values = [np.full(20, 3.0), np.full(20, 5.0), np.full(20, 1.0)]
    assert of(values, feeds=("Sigmoid",)).saturated == 1
    assert of(values, feeds=("Sigmoid", "Tanh")).saturated == 2


@pytest.mark.parametrize(("largest", "dead"), [(-1e-6, 1), (0.0, 1), (1e-6, 0)])
def test_a_unit_is_dead_where_nothing_is_above_0(largest, dead):
    values = [[-2.0, largest, -1.0], [-1.0, 1.0, 0.0]]
    assert of(values, feeds=("ReLU",)).dead == of(values, kind="ReLU6").dead == dead


def test_what_cannot_be_known_is_none():
    found = of(draw("normal", 50))
    assert (found.dead, found.saturated) == (None, None)
    assert of(draw("normal", 50), feeds=("GELU",)).dead is None


@pytest.mark.parametrize(("spread", "constant"), [(0.049, 1), (0.05, 1), (0.051, 0)])
def test_a_unit_is_near_constant_up_to_5_percent_of_the_median_spread(spread, constant):
    values = np.tile([-1.0, 1.0], (5, 8))
    whole = distribution(values)
    whole = replace(whole, std=np.array([1.0, 1.0, 1.0, 1.0, spread]))
    assert health(site("fc", 5), whole).near_constant == constant


def test_units_with_a_nonfinite_activation_are_counted_once():
    values = draw("normal", 50, units=4).copy()
    values[0, 3:7], values[2, 0] = np.nan, -np.inf
    found = of(values)
    assert (found.units, found.nonfinite) == (4, 2)


def test_a_site_without_values_has_no_unit_in_trouble():
    found = health(site("fc", 3, feeds=("ReLU", "Tanh")), empty(3))
    assert (found.dead, found.saturated, found.near_constant, found.nonfinite) == (0, 0, 0, 0)
