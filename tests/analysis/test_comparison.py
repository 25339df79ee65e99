"""A site in one window beside another: its floor is that of sampling or, by running averages, their lag."""

import numpy as np

from icshift.analysis.comparison import Comparison, floor_of
from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS
from icshift.runs.format import Window
from tests.recorded import of_zoo, probe, site
from tests.zoo.distributions import draw

WINDOW = Window(2, "2", 10, 19, closed=True)
W1 = METRICS["w1"]


def compared(before, after, lags=()):
    return Comparison(site("a"), "train", WINDOW, "1", before, after, lags)


def test_the_floor_of_a_phase_with_blocks_is_that_of_sampling():
    before, after = of_zoo("normal", 600), of_zoo("normal", 600, seed=1)
    comparison = compared(before, after)
    assert not comparison.noiseless
    np.testing.assert_array_equal(floor_of(W1, comparison), floor(W1, before, after))


def test_the_floor_by_running_averages_is_the_larger_lag_and_not_known_where_one_lacks():
    own, other = probe(draw("normal", 300)), probe(draw("normal", 300) + 0.5)
    far = probe(draw("normal", 300) + 2.0)
    found = floor_of(W1, compared(own, own, ((own, other), (own, far))))
    np.testing.assert_allclose(found, W1.function(own, far))
    assert np.isnan(floor_of(W1, compared(own, own, ((own, other), None)))).all()
    assert compared(own, own).noiseless
    assert not compared(own, own, (None,)).noiseless
