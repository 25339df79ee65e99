"""Theory is that of simulated samples, and the check fails where floor or drift are not it."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.selfcheck import floor, formulas
from icshift.selfcheck.floor import Noise

SOUND = Noise(0.9, 0.98, 1.0)


def test_theory_is_that_of_samples():
    random = np.random.default_rng(0)
    a, b = (np.sort(random.normal(size=(4000, 400)), axis=1) for _ in range(2))
    w1 = np.abs(a - b).mean(1)
    assert np.sqrt(np.mean(w1**2)) / np.sqrt(2 / 400) == pytest.approx(floor.root_mean_square(), rel=0.03)
    assert floor.root_mean_square() > formulas.NULL


def test_floor():
    assert floor.judge(SOUND).passed
    for wrong in (0.18, 0.78, 1.2, 90.0, float("nan")):
        assert not floor.judge(replace(SOUND, floor=wrong)).passed
    for wrong in (0.9, 1.1, float("nan")):
        assert not floor.judge(replace(SOUND, measured=wrong)).passed
