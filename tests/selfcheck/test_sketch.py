"""The check on the sketch fails beyond a bound and where all errors are to one side."""

from dataclasses import replace

import numpy as np

from icshift.selfcheck import sketch
from icshift.selfcheck.sketch import Sketched

NAN = float("nan")
SOUND = Sketched(np.full((4, 2, 7), 0.2), np.full((4, 2), 0.5), np.array([1e-4, -1e-4, 2e-4, -1e-4]))


def test_sketch():
    assert sketch.judge(SOUND, SOUND).passed
    for wrong in (
        replace(SOUND, ranks=np.full((4, 2, 7), 1.1)),
        replace(SOUND, distance=np.array([[0.5, 1.01]])),
        replace(SOUND, distance=np.full((4, 2), NAN)),
        replace(SOUND, mean_error=SOUND.mean_error + 1e-3),
        replace(SOUND, mean_error=np.full(4, NAN)),
    ):
        assert not sketch.judge(wrong, SOUND).passed
        assert not sketch.judge(SOUND, wrong).passed


def test_rounding_that_is_always_the_same_is_no_bias():
    assert replace(SOUND, mean_error=np.full(4, 1e-8)).unbiased
    assert not replace(SOUND, mean_error=np.full(4, 1e-3)).unbiased
