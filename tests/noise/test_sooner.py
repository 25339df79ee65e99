"""Whether anything moved: a few of many sites are asked first, and at most 5 % of windows say so by chance."""

import numpy as np
import pytest
from scipy.stats import binom

from icshift.noise.movement import FALSE_ALARMS, called
from icshift.noise.sooner import FEW, FIRST, MANY, can_tell, few_of
from tests.blocks import normal_blocks
from tests.covering import often


@pytest.mark.parametrize("units", [[64] * 400, [1000] * 100, [4096] * 300, [50, 8000] * 20, [1] * 99 + [10**6]])
def test_a_few_sites_are_all_over_the_model_and_far_less_than_all(units):
    few = few_of(units)
    assert few == sorted(few)
    assert few[0] == 0
    assert len(np.unique(np.diff(few))) == 1
    assert 4 <= len(few) <= len(units) / 2
    assert few[-1] + few[1] >= len(units)


@pytest.mark.parametrize("units", [[], [10], [MANY // 8 - 1] * 8, [MANY] * 7], ids=str)
def test_few_units_or_sites_are_asked_at_once(units):
    assert few_of(units) == []


@pytest.mark.parametrize(("steps", "known"), [(32, True), (16, True), (14, False), (5, False)])
def test_with_few_blocks_a_few_sites_cannot_tell_at_their_level(steps, known):
    windows = {"a": (normal_blocks(steps, seed=1), normal_blocks(steps, seed=2)), "probe": (None, None)}
    assert can_tell(windows, FIRST * FALSE_ALARMS) == known
    shifted = {"a": (normal_blocks(steps, seed=1), normal_blocks(steps, seed=2, shift=9.0))}
    assert called(shifted, FIRST * FALSE_ALARMS) == (("a",) if known else ())


@pytest.mark.parametrize("steps", [16, 32])
def test_of_windows_in_which_nothing_moved_at_most_5_in_100_say_so(steps):
    trials, alarms = often(40, 3000), 0
    for trial in range(trials):
        windows = {
            place: tuple(normal_blocks(steps, 2, 1000 * trial + 2 * place + after, examples=2) for after in (0, 1))
            for place in range(8)
        }
        first = {place: windows[place] for place in few_of([FEW] * 8)}
        assert can_tell(first, FIRST * FALSE_ALARMS)
        alarms += bool(called(first, FIRST * FALSE_ALARMS) or called(windows, (1 - FIRST) * FALSE_ALARMS))
    assert alarms <= binom.ppf(0.999, trials, FALSE_ALARMS)
