"""Levels of a sketch: sorted when full, digested when the window ends."""

import numpy as np
import pytest

from icshift.distribution import EXACT, QUANTILES
from icshift.sketch.level import GOING_UP, GROUP, K, Level, digest, points, sort_level
from icshift.tails import TAIL
from tests.zoo.distributions import BROKEN, FINITE, ZOO, draw, scale

pytestmark = pytest.mark.usefixtures("either_kernel")


def full(kernel, name, dtype, units=11):
    values = draw(name, K, units=units).astype(dtype)
    level = kernel(dtype).values(units, K)
    level[:] = values
    return level, values


def middles(inner):
    """Means of neighbours [units, groups, GROUP], no further out than the middle two."""
    return np.clip(inner.mean(2), inner[:, :, 1], inner[:, :, 2])


@pytest.mark.some(16)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FINITE)
def test_of_a_full_level_ends_stay_and_a_quarter_goes_up_with_a_bound_of_the_cost(name, dtype, either_kernel):
    level, values = full(either_kernel, name, dtype)
    up = either_kernel(dtype).values(len(values), GOING_UP)
    moved = either_kernel(dtype).compact(level, up)
    expected = np.sort(values, axis=1)
    ends = np.concatenate([expected[:, :TAIL], expected[:, K - TAIL :]], axis=1)
    np.testing.assert_array_equal(level[:, : 2 * TAIL], ends)
    inner = expected[:, TAIL : K - TAIL].astype(float).reshape(len(values), -1, GROUP)
    np.testing.assert_allclose(up, middles(inner), rtol=4 * np.finfo(dtype).eps)
    for kept in (inner[:, :, 1], inner[:, :, 2], up.astype(float)):
        distances = np.abs(inner - kept[:, :, None]).sum((1, 2))
        assert (moved >= distances).all()
        slack = 2 * 64 * K * np.finfo(dtype).eps * np.abs(expected).max(1)
        assert (moved <= distances * (1 + 1e-5) + slack).all()


@pytest.mark.parametrize("name", BROKEN)
def test_no_bound_where_a_value_is_not_finite(name, either_kernel):
    values = np.where(np.isfinite(raw := draw(name, K, units=11)), raw, np.inf).astype(np.float32)
    level = either_kernel(np.float32).values(11, K)
    level[:] = values
    up = either_kernel(np.float32).values(11, GOING_UP)
    moved = either_kernel(np.float32).compact(level, up)
    np.testing.assert_array_equal(np.isnan(moved), ~np.isfinite(values).all(1))
    inner = np.sort(values, axis=1)[:, TAIL : K - TAIL].astype(float).reshape(len(values), -1, GROUP)
    np.testing.assert_allclose(up, middles(inner), rtol=1e-6)


def levels_of(kernel, name, fills, dtype=np.float32, units=9):
    """Levels of two sketches, each with so many values of weights 1, 4, 16 and so on; and what they stand for."""
    found, values = [], draw(name, 2 * sum(fills), units=units).astype(dtype)
    taken = 0
    for _ in range(2):
        for height, fill in enumerate(fills):
            level = kernel(dtype).values(units, K)
            level[:, :fill] = values[:, taken : taken + fill]
            found.append(Level(level, fill, float(GROUP**height)))
            taken += fill
    weights = np.concatenate([np.full(level.fill, level.weight) for level in found])
    return found, values, weights


FILLS = [(16,), (1,), (250,), (256,), (300,), (512,), (32, 512), (100, 7, 40), (512, 512, 60), (33, 0, 0, 12)]


@pytest.mark.some(30)
@pytest.mark.covering(2)
@pytest.mark.parametrize("fills", FILLS, ids=str)
@pytest.mark.parametrize("name", FINITE)
def test_digest_is_that_of_the_repeated_values(name, fills, either_kernel):
    levels, values, weights = levels_of(either_kernel, name, fills)
    sampled = np.full(len(values), int(weights.sum()))
    found = either_kernel(np.float32).digest(levels, sampled)
    assert found.values.dtype == np.float32
    for unit, row in enumerate(values.astype(float)):
        every = np.sort(np.repeat(row, weights.astype(int)))
        if len(row) <= EXACT and len(fills) == 1:
            np.testing.assert_array_equal(found.values[unit], every)
            assert (found.error[unit], found.rank, found.tails) == (0, 0, None)
            continue
        quantiles = np.repeat(every, QUANTILES).reshape(QUANTILES, -1)
        means = quantiles.mean(1)
        np.testing.assert_allclose(found.values[unit], means, rtol=2e-7, atol=2e-7 * scale(row))
        assert (np.diff(found.values[unit]) >= 0).all()
        distance = np.abs(quantiles - means[:, None]).mean()
        assert found.error[unit] == pytest.approx(distance, rel=1e-6, abs=1e-9 * scale(row))
        single = np.sort(row[weights == 1])
        np.testing.assert_array_equal(found.tails[unit], np.concatenate([single[:TAIL], single[-TAIL:]]))
        assert found.rank == 1 / QUANTILES


@pytest.mark.some(16)
@pytest.mark.covering(2)
@pytest.mark.parametrize("fills", [(250,), (512,), (100, 7, 40)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ZOO)
def test_whatever_the_values_it_is_what_numpy_makes_of_them(name, dtype, fills, either_kernel):
    levels, values, weights = levels_of(either_kernel, name, fills, dtype)
    for level in levels:
        level.values[~np.isfinite(level.values)] = np.inf
    sampled = (np.isfinite(values) * weights).sum(1).astype(np.int64)
    found, expected = either_kernel(dtype).digest(levels, sampled), digest(levels, sampled, dtype)
    np.testing.assert_allclose(found.values, expected.values, rtol=2e-6 if dtype is np.float32 else 1e-12)
    np.testing.assert_allclose(found.error, expected.error, rtol=1e-6, atol=1e-9 * scale(values[np.isfinite(values)]))
    assert found.rank == expected.rank
    if expected.tails is None:
        assert found.tails is None
    else:
        np.testing.assert_array_equal(found.tails, expected.tails)


def test_numpy_functions_are_those_of_the_module(either_kernel):
    """`points` has sorted runs, in the order of the levels, NaN where a value is not finite."""
    levels, values, weights = levels_of(either_kernel, "normal", (5, 3))
    levels[0].values[2, 1] = np.inf
    found, stands_for = points(levels, len(values), np.float32)
    np.testing.assert_array_equal(stands_for, weights)
    assert np.isnan(found[2, 4])
    np.testing.assert_array_equal(found[3, :5], np.sort(values[3, :5]))
    row = draw("normal", K, units=1).astype(np.float32)
    assert sort_level(row)[0] > 0
