"""How places are chosen, and steps joined, without losing what is rare."""

import numpy as np
import pytest

from icshift.analysis.atlas import half_and_half, joined, spread


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40, 1000])
@pytest.mark.parametrize("wanted", [1, 2, 8, 32])
def test_half_are_the_first_and_half_at_even_ranks(count, wanted):
    places = half_and_half(count, wanted).tolist()
    assert len(places) == len(set(places)) == min(count, wanted)
    assert places == sorted(places)
    assert places[: min(count, (wanted + 1) // 2)] == list(range(min(count, (wanted + 1) // 2)))
    assert count <= wanted or wanted <= 2 or places[-1] == count - 1


def test_spread_has_both_ends():
    assert spread(100, 5) == [0, 25, 50, 74, 99]
    assert spread(3, 5) == [0, 1, 2]
    assert spread(0, 5) == []


def test_a_spike_stays_when_steps_are_joined():
    quantiles = np.tile([-2.0, -1, 0, 1, 2], (5000, 1))
    quantiles[1234, 4], quantiles[777, 0] = 90, -80
    found = joined(range(5000), quantiles, 400)
    assert found.quantiles.shape == (400, 5)
    assert found.quantiles.max() == 90
    assert found.quantiles.min() == -80
    assert (np.median(found.quantiles, 0) == [-2, -1, 0, 1, 2]).all()
    assert found.number[0] == 0
    assert (np.diff(found.number) > 0).all()


def test_few_steps_stay_as_they_are_and_unknown_ones_unknown():
    quantiles = np.array([[1.0, 2, 3, 4, 5], [np.nan] * 5])
    found = joined([10, 20], quantiles, 400)
    np.testing.assert_array_equal(found.quantiles, quantiles)
    assert found.number.tolist() == [10, 20]
    assert len(joined([], np.zeros((0, 5)), 400).number) == 0
