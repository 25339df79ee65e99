"""Sites that are read together are what each is alone."""

import numpy as np
import pytest

from icshift.sketch.ended import Ended, distribution_of, distributions
from tests import laws
from tests.recorded import accumulator, observe
from tests.zoo.distributions import draw

pytestmark = pytest.mark.usefixtures("either_kernel")


def recorded(name, steps, units=3, parts=False):
    """An accumulator that has taken in so many steps of 60 values, in two parts if that is asked for."""
    one = accumulator(units)
    values = draw(name, 60 * steps, units=units)
    for number, step in enumerate(np.split(values, steps, axis=1)):
        if parts and number == steps // 2:
            one.next_part()
        observe(one, step)
        one.tick(number)
    return one


def test_sites_read_together_are_what_each_is_alone():
    """Of one kind and another, of several lengths, many and few units, broken ones between them."""
    given = [
        *(("normal", steps, units, False) for steps in (1, 40, 40, 200) for units in (1, 3, 30)),
        *[("normal", steps, 1, False) for steps in (1, 7, 100, 7, 100)],
        ("relu", 200, 300, False),
        ("with_nan", 40, 3, False),
        *((name, 40, 100, False) for name in ("normal", "relu", "constant", "normal")),
        ("normal", 40, 3, True),
        ("normal", 40, 3, False),
    ]
    together = distributions([recorded(*one).ended() for one in given])
    alone = [distributions([recorded(*one).ended()])[0] for one in given]
    for found, expected in zip(together, alone, strict=True):
        laws.assert_identical(found, expected)


def test_nothing_that_is_read_changes_as_recording_goes_on():
    one, other = recorded("normal", 40), recorded("relu", 40)
    ended = [one.ended(), other.ended()]
    found, expected = distributions(ended), distributions(ended)
    for number in range(40, 60):
        observe(one, draw("normal", 60))
        one.tick(number)
    distribution_of(one.ended())
    for site, before in zip(found, expected, strict=True):
        laws.assert_identical(site, before)


def test_examples_go_with_their_site():
    examples = np.arange(6.0).reshape(3, 2)
    summaries = [recorded("normal", 4).ended().summary for _ in range(3)]
    found = distributions([Ended(one, examples if place == 1 else None) for place, one in enumerate(summaries)])
    assert [one.examples is examples for one in found] == [False, True, False]


def test_of_no_site_there_is_none():
    assert distributions([]) == []
