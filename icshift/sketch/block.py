"""Statistics of a block, some steps of one site with equally many values each: values [units, steps, n].

Everything is done for the whole block at once and in place, in memory that is used again: on a small site the calls
and the fresh memory cost more than the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icshift.blocks import SLICES
from icshift.distribution import Floats, Ints
from icshift.runs.format import STEP_QUANTILES
from icshift.sketch.moments import Moments
from icshift.sketch.workspace import Workspace

_SQUARES_FIT = 1e-15
"""Values from here to its inverse can be squared and added up in float32."""


@dataclass(frozen=True, eq=False)
class Order:
    """Statistics that sorting yields: arrays [units, steps], `quantiles` [5, units, steps].

    `finite` and `zeros` are numbers of values; `clean` says that all values are finite.
    """

    clean: bool
    finite: Ints
    zeros: Ints
    min: Floats
    max: Floats
    quantiles: Floats


def sort(values: Floats, workspace: Workspace) -> Order:
    """Sorts values [units, steps, n] in place, non-finite ones as +inf last, and returns what their order shows."""
    n = values.shape[2]
    values.sort(axis=2)
    low, high = values[:, :, 0].astype(float), values[:, :, -1].astype(float)
    finite, zeros = np.full(low.shape, n), np.zeros(low.shape, np.int64)
    clean = bool(np.isfinite(low).all() and np.isfinite(high).all())
    if not clean:
        values[~np.isfinite(values)] = np.inf
        values.sort(axis=2)
        finite = np.isfinite(values).sum(2)
        low = values[:, :, 0].astype(float)
        high = np.where(np.isfinite(values), values, -np.inf).max(2).astype(float)
    is_zero = np.equal(values, 0, out=workspace.take("is_zero", values.shape, bool))
    if is_zero.any():
        zeros = is_zero.sum(2)
    return Order(clean, finite, zeros, low, high, step_quantiles(values, None if clean else finite))


def measure(values: Floats, order: Order) -> Moments:
    """Returns the moments, a group a step, of sorted values, in two passes; the values are overwritten."""
    largest = max(np.abs(order.min).max(), np.abs(order.max).max())
    if not _SQUARES_FIT < largest < 1 / _SQUARES_FIT:
        values = values.astype(float)
    count = np.maximum(order.finite, 1)
    ones = np.ones(values.shape[2], values.dtype)
    absent = None if order.clean else ~np.isfinite(values)
    if absent is not None:
        values[absent] = 0
    # Not values @ ones: matrix products wake the threads of BLAS, which then spin and slow the training down.
    centre = np.vecdot(values, ones)
    centre /= count
    np.subtract(values, centre[:, :, None], out=values)
    if absent is not None:
        values[absent] = 0
    rest = np.vecdot(values, ones).astype(float)
    squares = np.vecdot(values, values) - rest * rest / count
    table = np.empty((6, *count.T.shape))
    table[0] = order.finite.T
    table[1] = values.shape[2] - table[0]
    table[2] = (centre + rest / count).T
    table[3] = squares.T
    table[4] = order.min.T
    table[5] = order.max.T
    return Moments(table)


def step_quantiles(values: Floats, finite: Ints | None = None) -> Floats:
    """Returns the five step quantiles [5, units, steps] of sorted values [units, steps, n], by NumPy's linear rule.

    With `finite` [units, steps], only so many values of each row count; NaN where there is none.
    """
    n = values.shape[2]
    result = np.empty((len(STEP_QUANTILES), *values.shape[:2]), values.dtype)
    for place, probability in enumerate(STEP_QUANTILES):
        if finite is None:
            position = probability * (n - 1)
            low = int(position)
            below = values[:, :, low]
            np.subtract(values[:, :, min(low + 1, n - 1)], below, out=result[place])
            result[place] *= position - low
            result[place] += below
        else:
            positions = probability * np.maximum(finite - 1, 0)
            lows = positions.astype(int)
            highs = np.minimum(lows + 1, np.maximum(finite - 1, 0))
            below = np.take_along_axis(values, lows[..., None], 2)[..., 0]
            above = np.take_along_axis(values, highs[..., None], 2)[..., 0]
            with np.errstate(invalid="ignore"):
                result[place] = np.where(finite > 0, below + (above - below) * (positions - lows), np.nan)
    return result


def slice_means(values: Floats, order: Order) -> Floats:
    """Returns the means of `SLICES` equal slices of each step's finite values [units, steps, SLICES]; 0 without any.

    `values` [units, steps, n] are sorted; an edge within a value gives to either side its share of it.
    """
    if order.clean:
        return _slice_means(values)
    result = np.zeros((*values.shape[:2], SLICES))
    for count in np.unique(order.finite[order.finite > 0]):
        here = order.finite == count
        result[here] = _slice_means(values[here][:, :count])
    return result


def _slice_means(values: Floats) -> Floats:
    n = values.shape[-1]
    edges = np.arange(SLICES + 1) * n / SLICES
    first = edges.astype(int)
    share = edges - first
    if n < SLICES:  # A slice lies in one value, or reaches into the next.
        low, high = first[:-1], np.minimum(first[:-1] + 1, n - 1)
        beyond = np.clip((edges[1:] - low - 1) * SLICES / n, 0.0, 1.0)
        return values[..., low] * (1 - beyond) + values[..., high] * beyond
    sums = np.add.reduceat(values, first[:-1], axis=-1)
    if share.any():
        cut = values[..., np.minimum(first, n - 1)] * share
        sums = sums + cut[..., 1:] - cut[..., :-1]
    return sums * (SLICES / n)
