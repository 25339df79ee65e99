"""A frozen network shows nothing that moved in 95 of 100 reports, whatever its data, or says that it cannot be told."""

from functools import cache

import pytest

from tests.calibration import streams
from tests.calibration.cases import DEPENDENT, FROZEN, Case
from tests.calibration.networks import NETWORKS
from tests.calibration.trials import Tally, at_most
from tests.covering import often

TRIALS = often(4, 10)
"""Trials of every case with every network."""

FEWEST_KNOWN = 0.85
"""Share of trials with steps that do not depend on each other in which something is said, at least."""


@cache
def tally(case, kind):
    found = Tally()
    for trial in range(TRIALS):
        found.add(case.trial(kind, trial))
    return found


def together(tallies):
    return Tally(*(sum(getattr(tally, name) for tally in tallies) for name in ("trials", "called", "unknown")))


@pytest.mark.some(5)
@pytest.mark.parametrize("case", [*FROZEN, *DEPENDENT], ids=lambda case: case.name)
def test_whatever_the_data(case):
    found = together([tally(case, kind) for kind in NETWORKS])
    assert found.called <= at_most(0.05, found.trials)
    if case in FROZEN:
        assert found.unknown <= (1 - FEWEST_KNOWN) * found.trials
    else:
        assert found.unknown > 0.5 * found.trials


@pytest.mark.parametrize("kind", NETWORKS)
def test_whatever_the_network(kind):
    found = together([tally(case, kind) for case in FROZEN])
    assert found.called <= at_most(0.05, found.trials)
    assert found.unknown <= (1 - FEWEST_KNOWN) * found.trials


def test_all_together():
    found = together([tally(case, kind) for case in FROZEN for kind in NETWORKS])
    assert found.trials >= 50 * TRIALS
    assert found.called <= at_most(0.05, found.trials)
    assert found.unknown <= 0.06 * found.trials


@pytest.mark.thorough
def test_nine_to_eleven_blocks_tell_most_dependence():
    """Windows of 33 to 44 steps have so few blocks: less is noticed than with 32 or 48 steps, but not nothing."""
    case = Case("AR(1) 0.9, 40 steps", streams.autoregressive, (40, 40))
    found = together([tally(case, kind) for kind in NETWORKS])
    assert found.unknown > 0.5 * found.trials
