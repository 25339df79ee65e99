"""Laws of distributions, metrics and runs, each written once; the tests apply them to everything there is."""

from copy import deepcopy
from dataclasses import fields
from functools import reduce

import numpy as np
from scipy.stats import wasserstein_distance

from icshift.blocks import Blocks
from icshift.distribution import Distribution, empty
from tests.zoo.distributions import scale

ROUNDING = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-12}
"""Relative size of the rounding that no stated bound covers."""


def assert_identical(a, b):
    """Bit for bit, types and shapes included."""
    for field in fields(Distribution):
        first, second = getattr(a, field.name), getattr(b, field.name)
        if field.name == "blocks":
            assert (first is None) == (second is None)
            for array in fields(Blocks) if first is not None else ():
                _assert_identical_arrays(getattr(first, array.name), getattr(second, array.name), "blocks")
        elif first is None or second is None or isinstance(first, float):
            assert first == second, field.name
        else:
            _assert_identical_arrays(first, second, field.name)


def _assert_identical_arrays(first, second, name):
    assert first.dtype == second.dtype, name
    np.testing.assert_array_equal(first, second, strict=True, err_msg=name)


def assert_stands_for(distribution, values):
    """The distribution says of every unit of values [units, n] what is true, within its own bounds."""
    rounding = ROUNDING[distribution.values.dtype]
    assert distribution.units == len(values)
    for unit, every in enumerate(values):
        raw = every[np.isfinite(every)]
        assert distribution.count[unit] == distribution.sampled[unit] == len(raw)
        assert distribution.nonfinite[unit] == len(every) - len(raw)
        kept = distribution.values[unit].astype(float)
        if not len(raw):
            assert np.isnan(kept).all()
            assert np.isnan([getattr(distribution, name)[unit] for name in ("mean", "std", "min", "max")]).all()
            continue
        assert (np.diff(kept) >= 0).all()
        np.testing.assert_allclose(distribution.mean[unit], raw.mean(), rtol=rounding, atol=rounding * raw.std())
        rounding_of_mean = 1e-15 * abs(raw.mean())
        np.testing.assert_allclose(distribution.std[unit], raw.std(), rtol=10 * rounding, atol=rounding_of_mean)
        assert (distribution.min[unit], distribution.max[unit]) == (raw.min(), raw.max())
        np.testing.assert_allclose(distribution.zero_share[unit], (raw == 0).mean(), rtol=1e-12)
        assert w1_of(kept, raw) <= distribution.w1_error[unit] * (1 + 1e-9) + rounding * scale(raw)
        assert rank_distance(kept, raw) <= distribution.rank_error + 1e-9


def w1_of(first, second, first_weights=None, second_weights=None):
    return wasserstein_distance(first, second, first_weights, second_weights)


def rank_distance(first, second, first_weights=None):
    """Largest difference of the two distribution functions, whether ties count as below or above."""
    weights = np.ones(len(first)) if first_weights is None else first_weights
    order = np.argsort(first)
    mass = np.concatenate(([0.0], np.cumsum(weights[order]))) / weights.sum()
    at = np.union1d(first, second)
    return max(
        np.abs(mass[np.searchsorted(first[order], at, side)] - np.searchsorted(np.sort(second), at, side) / len(second))
        .max()
        .item()
        for side in ("left", "right")
    )


def identity_of_merge(distribution):
    nothing = empty(distribution.units, distribution.values.dtype.type)
    assert_identical(nothing.merge(distribution), distribution)
    assert_identical(distribution.merge(nothing), distribution)


def inputs_of_merge_unchanged(a, b):
    before = deepcopy(a), deepcopy(b)
    a.merge(b)
    assert_identical(a, before[0])
    assert_identical(b, before[1])


def any_order_of_merge(parts, values, random):
    """Whatever the order and the grouping, the whole stands for all `values`; counts are the same to the last one."""
    left_to_right = reduce(Distribution.merge, parts)
    assert_stands_for(left_to_right, values)
    for _ in range(3):
        heap = [parts[place] for place in random.permutation(len(parts))]
        while len(heap) > 1:
            place = int(random.integers(len(heap) - 1))
            heap[place : place + 2] = [heap[place].merge(heap[place + 1])]
        assert_stands_for(heap[0], values)
        if left_to_right.exact:
            np.testing.assert_array_equal(heap[0].values, left_to_right.values)


def split_is_whole(parts, whole):
    """Merged parts and the whole recorded at once differ by no more than their bounds."""
    merged = reduce(Distribution.merge, parts)
    rounding = ROUNDING[whole.values.dtype]
    for name in ("count", "nonfinite", "sampled", "min", "max"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), err_msg=name)
    spread = 1e-15 * np.nan_to_num(np.abs(whole.mean)).max()
    for name in ("mean", "std", "zero_share"):
        ours, theirs = getattr(merged, name), getattr(whole, name)
        atol = spread + rounding * np.nan_to_num(whole.std).max()
        np.testing.assert_allclose(ours, theirs, rtol=10 * rounding, atol=atol, err_msg=name)
    if whole.exact and all(part.exact for part in parts):
        np.testing.assert_array_equal(merged.values, whole.values)
    for unit in np.flatnonzero(whole.sampled):
        first, second = merged.values[unit].astype(float), whole.values[unit].astype(float)
        bound = merged.w1_error[unit] + whole.w1_error[unit]
        assert w1_of(first, second) <= bound * (1 + 1e-9) + rounding * scale(second)
        assert rank_distance(first, second) <= merged.rank_error + whole.rank_error + 1e-9


def zero_from_itself(metric, distribution):
    """0 from any distribution to itself, NaN where there is none."""
    expected = np.where(distribution.sampled > 0, 0.0, np.nan)
    np.testing.assert_array_equal(metric.function(distribution, distribution), expected)


def symmetric(metric, a, b, sign=1):
    there, back = metric.function(a, b), metric.function(b, a)
    np.testing.assert_allclose(there, sign * back, rtol=1e-9, atol=1e-12 * scale(there))


def unit_by_unit(metric, a, b):
    """No unit's value depends on where the unit stands among the others."""
    backwards = np.arange(a.units)[::-1]
    np.testing.assert_allclose(
        metric.function(a.take(backwards), b.take(backwards)), metric.function(a, b)[backwards], rtol=1e-12, atol=0
    )
