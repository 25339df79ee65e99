"""Units in trouble, at the very edge of each definition."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis.health import health, typical_std
from icshift.distribution import empty
from tests.recorded import distribution, site
from tests.zoo.distributions import draw


def of(values, *, kind="Linear", **readers):
    return health(replace(site("fc", len(values), **readers), type=kind), distribution(np.asarray(values)))


@pytest.mark.parametrize(("flat", "saturated"), [(18, 0), (19, 1), (20, 1)])
@pytest.mark.parametrize(("name", "limit"), [("Sigmoid", 4.357), ("Tanh", 2.179), ("Hardsigmoid", 3.0)])
def test_a_unit_is_saturated_from_95_percent_on(name, limit, flat, saturated):
    """Half of them at either end; what lies on the limit is not flat."""
    values = np.full(20, np.float32(limit) * 0.999)
    values[:flat] = limit * 1.01
    values[: flat // 2] *= -1
    assert of([values], feeds=(name,)).saturated == saturated


def test_of_several_functions_the_last_to_be_flat_counts():
    values = [np.full(20, 3.0), np.full(20, 5.0), np.full(20, 1.0)]
    assert of(values, feeds=("Tanh",)).saturated == 2
    assert of(values, feeds=("Sigmoid", "Tanh")).saturated == 1


@pytest.mark.parametrize(
    "readers",
    [
        {"feeds": ("ReLU", "GELU")},
        {"feeds": ("ReLU", "Sigmoid")},
        {"feeds": ("ReLU",), "others": ("add",)},
        {"feeds": ("Sigmoid",), "others": ("mul",)},
        {"others": ("(output)",)},
        {"feeds": ("GELU",), "unseen": "compiled"},
    ],
    ids=str,
)
def test_where_something_else_reads_it_neither_applies_and_that_is_known(readers):
    """A residual sum passes on what a ReLU holds back, and x * sigmoid(x) is not flat where sigmoid is."""
    found = of(np.full((3, 20), -9.0), **readers)
    assert (found.dead, found.saturated, found.unknown) == (None, None, "")


@pytest.mark.parametrize("feeds", [(), ("MyActivation",)])
def test_what_nobody_saw_is_unknown(feeds):
    found = of(np.full((3, 20), -9.0), feeds=feeds, unseen="it is compiled")
    assert (found.dead, found.saturated, found.unknown) == (None, None, "it is compiled")
    assert of(np.full((3, 20), -9.0), feeds=("ReLU",), unseen="it is compiled").dead == 3
    assert of(np.full((3, 20), 0.0), kind="ReLU", unseen="it is compiled").unknown == ""


@pytest.mark.parametrize(("largest", "dead"), [(-1e-6, 1), (0.0, 1), (1e-6, 0)])
def test_a_unit_is_dead_where_nothing_is_above_0(largest, dead):
    values = [[-2.0, largest, -1.0], [-1.0, 1.0, 0.0]]
    assert of(values, feeds=("ReLU",)).dead == of(values, kind="ReLU6").dead == dead


def test_what_does_not_apply_is_none():
    found = of(draw("normal", 50))
    assert (found.dead, found.saturated, found.unknown) == (None, None, "")
    assert of(draw("normal", 50), feeds=("GELU",)).dead is None


@pytest.mark.parametrize(("spread", "constant"), [(0.049, 1), (0.05, 1), (0.051, 0)])
def test_a_unit_is_near_constant_up_to_5_percent_of_the_median_spread(spread, constant):
    values = np.tile([-1.0, 1.0], (5, 8))
    whole = distribution(values)
    whole = replace(whole, std=np.array([1.0, 1.0, 1.0, 1.0, spread]))
    assert health(site("fc", 5), whole).near_constant == constant


def test_a_site_that_collapses_as_a_whole_is_constant():
    """Its units are as alike as before: only their earlier spread, or their mean, shows it."""
    before = distribution(draw("normal", 400, units=4))
    collapsed = replace(before, std=before.std * 0.04)
    usual = typical_std(before)
    assert health(site("fc", 4), before).near_constant == health(site("fc", 4), collapsed).near_constant == 0
    assert health(site("fc", 4), collapsed, usual).near_constant == 4
    assert health(site("fc", 4), replace(before, std=before.std * 0.06), usual).near_constant == 0
    assert health(site("fc", 4), before, typical_std(collapsed)).near_constant == 0


@pytest.mark.parametrize(("spread", "constant"), [(0.0, 3), (6e-7, 3), (3e-6, 3), (4e-6, 0)])
def test_what_float32_cannot_tell_apart_is_constant(spread, constant):
    whole = distribution(np.full((3, 16), -0.3))
    whole = replace(whole, std=np.full(3, spread))
    assert health(site("fc", 3), whole).near_constant == constant


def test_units_with_a_nonfinite_activation_are_counted_once():
    values = draw("normal", 50, units=4).copy()
    values[0, 3:7], values[2, 0] = np.nan, -np.inf
    found = of(values)
    assert (found.units, found.nonfinite) == (4, 2)


def test_a_site_without_values_has_no_unit_in_trouble():
    found = health(site("fc", 3, feeds=("ReLU",)), empty(3))
    assert (found.dead, found.near_constant, found.nonfinite) == (0, 0, 0)
    assert health(site("fc", 3, feeds=("Tanh",)), empty(3)).saturated == typical_std(empty(3)) == 0
