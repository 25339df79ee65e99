"""What did move is found: the power that a report has, on layers of 40 units."""

from functools import cache

import numpy as np
import pytest

from tests.calibration.dense import SHIFTS

TRIALS = 20

SITES = {
    "5 of 40 units by 0.3 sd": 0.95,
    "all 40 units by 0.1 sd": 0.7,
    "all by 0.2 sd, two sources in turns": 0.95,
    "all by 0.2 sd, two sources in turns, 17 steps": 0.95,
    "3 of 12 sites by 0.1 sd, 16 steps": 0.9,
    "3 of 12 sites by 0.2 sd, 6 steps": 0.85,
}
"""Share of the sites that moved which is found, at least."""

UNITS = {
    "5 of 40 units by 0.3 sd": 0.93,
    "all 40 units by 0.1 sd": 0.25,
    "all by 0.2 sd, two sources in turns": 0.9,
    "all by 0.2 sd, two sources in turns, 17 steps": 0.4,
}
"""Share of the units that moved which is found, at least."""


@cache
def shares(shift):
    """Shares [trials] of the shifted sites found, of the shifted units found, and of wrong ones among those found."""
    return np.array([shift.trial(trial) for trial in range(TRIALS)]).T


@pytest.mark.some(3)
@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_sites_that_moved_are_found(shift):
    assert shares(shift)[0].mean() >= SITES[shift.name]


@pytest.mark.parametrize("shift", [shift for shift in SHIFTS if shift.name in UNITS], ids=lambda shift: shift.name)
def test_units_that_moved_are_found(shift):
    assert shares(shift)[1].mean() >= UNITS[shift.name]


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_of_the_units_found_few_are_wrong(shift):
    wrong = shares(shift)[2]
    assert wrong.mean() <= 0.05 + 2.33 * wrong.std() / np.sqrt(TRIALS)
