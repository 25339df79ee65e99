"""The line and the card of a distribution hold its numbers, of any distribution there is."""

import re

import numpy as np
import pytest

from icshift.card import number
from icshift.distribution import empty
from icshift.distribution_card import DRAWN
from tests.cards import Card
from tests.recorded import distribution, of_zoo
from tests.zoo.distributions import ZOO


@pytest.mark.some(12)
@pytest.mark.parametrize("n", [20, 3000])
@pytest.mark.parametrize("name", ZOO)
def test_any_distribution_shows_itself(name, n):
    of = of_zoo(name, n)
    assert "\n" not in repr(of)
    assert repr(of).startswith("<Distribution of 3 units: n ")
    assert Card(of._repr_html_()).facts["W1 error of what is kept"] == f"at most {number(of.w1_error.max())}"


def test_its_numbers_are_those_of_the_distribution():
    values = np.random.default_rng(0).normal(2, 3, (4, 50))
    values[1, :5] = 0
    values[2, 0] = np.inf
    of = distribution(values)
    assert repr(of) == (
        f"<Distribution of 4 units: n 50, mean {number(np.median(of.mean))}, sd {number(np.median(of.std))} "
        "(medians over units)>"
    )
    shown = Card(of._repr_html_())
    assert shown.facts["activations a unit"] == "50 (median over units)"
    assert shown.facts["not finite"] == "1 in all"
    assert shown.facts["lowest, highest"] == f"{number(of.min.min())}, {number(of.max.max())} (of all units)"
    assert shown.facts["mean, sd"].startswith(f"{number(np.median(of.mean))}, {number(np.median(of.std))} ")
    counts = [float(told.rpartition(": ")[2]) for told in shown.told]
    assert sum(counts) == np.isfinite(of.values).sum()
    assert float(re.match(r"(\S+) to", shown.told[0])[1]) == pytest.approx(of.values.min(), rel=0.01)


def test_nothing_is_shown_as_nothing():
    assert repr(empty(2)) == "<Distribution of 2 units: n 0, mean –, sd – (medians over units)>"
    shown = Card(empty(2)._repr_html_())
    assert shown.facts["lowest, highest"] == "–, – (of all units)"
    assert not shown.marks
    assert Card(empty(0)._repr_html_()).facts["activations a unit"] == "– (median over units)"
    assert repr(empty(1)).startswith("<Distribution of 1 unit:")


def test_of_many_units_some_are_drawn_and_it_says_so():
    many = distribution(np.random.default_rng(0).normal(size=(1000, 8)))
    shown = Card(many._repr_html_())
    assert f"kept values of {DRAWN} of 1,000 units" in shown.text
    assert sum(float(told.rpartition(": ")[2]) for told in shown.told) == 8 * DRAWN
