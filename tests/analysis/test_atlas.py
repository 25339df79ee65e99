"""How steps are joined without losing what is rare."""

from statistics import median

import numpy as np
import pytest

from icshift.analysis.atlas import joined


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


@pytest.mark.some(8)
@pytest.mark.parametrize("count", [1, 7, 8, 9, 20, 23])
@pytest.mark.parametrize("known", [0.0, 0.3, 0.8, 1.0])
def test_a_stretch_is_the_outermost_of_its_known_steps_about_their_median(count, known):
    random = np.random.default_rng(count)
    quantiles = np.sort(random.normal(size=(count, 5)), axis=1)
    quantiles[random.random(count) >= known, random.integers(5)] = np.inf
    found = joined(range(100, 100 + count), quantiles, 8)
    parts = np.array_split(np.arange(count), min(8, count))
    assert found.number.tolist() == [100 + part[0] for part in parts]
    for row, part in zip(found.quantiles.tolist(), parts, strict=True):
        by_percentile = [*zip(*(step for step in quantiles[part].tolist() if np.inf not in step), strict=True)]
        ways = (min, min, median, max, max)
        expected = (
            [way(values) for way, values in zip(ways, by_percentile, strict=True)] if by_percentile else [np.nan] * 5
        )
        np.testing.assert_array_equal(row, expected)
