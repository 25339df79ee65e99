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

_SQUARES_FIT = {np.dtype(np.float32): 1e-15, np.dtype(np.float64): 1e-150}
"""Values of a type that differ by as much, and are below the inverse, can be squared and added up in it."""


@dataclass(frozen=True, eq=False)
class Order:
    """What a block shows once its `values` [units, steps, n] are sorted, those that are not finite as +inf last.

    `values` and `slices` are None where they were taken in as steps were closed.

    Arrays [units, steps], but `quantiles` [5, units, steps] and `slices` [units, steps, SLICES], the means of equal
    slices of the finite values, 0 where there are none. `finite` and `zeros` are numbers of values; `clean` says that
    all are finite. `moments` have a group a step. Memory is valid until the next block is worked off.
    """

    values: Floats | None
    clean: bool
    finite: Ints
    zeros: Ints
    quantiles: Floats
    slices: Floats | None
    moments: Moments


@np.errstate(all="ignore")
def order(values: Floats, workspace: Workspace) -> Order:
    """Sorts values [units, steps, n] in place, and returns what they show."""
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
    counted = None if clean else finite
    slices = _slice_means(values) if clean else _slice_means_of_finite(values, finite)
    moments = _measure(values, finite, (low, high), workspace)
    return Order(values, clean, finite, zeros, step_quantiles(values, counted), slices, moments)


def _measure(values: Floats, finite: Ints, ends: tuple[Floats, Floats], workspace: Workspace) -> Moments:
    """Returns the moments, a group a step, of sorted values, in two passes; `ends` are the extremes."""
    n = values.shape[2]
    power = np.zeros(finite.shape, np.int64)
    low, high = (np.where(np.isfinite(end), end, 0.0) for end in ends)
    largest = np.maximum(-low, high)
    fit = _SQUARES_FIT[values.dtype]
    if (((low < high) & (high * 0.5 - low * 0.5 < fit)) | (largest > 1 / fit)).any():
        power = np.frexp(largest)[1]
        values = np.ldexp(values.astype(float), -power[:, :, None])
    count = np.maximum(finite, 1)
    ones = np.ones(n, values.dtype)
    absent = None if (finite == n).all() else ~np.isfinite(values)
    if absent is not None:
        values = np.where(absent, values.dtype.type(0), values)
    # Not values @ ones: matrix products wake the threads of BLAS, which then spin and slow the training down.
    centre = np.vecdot(values, ones)
    centre /= count
    centred = workspace.take("centred block", values.shape, values.dtype)
    np.subtract(values, centre[:, :, None], out=centred)
    if absent is not None:
        centred[absent] = 0
    rest = np.vecdot(centred, ones).astype(float)
    squares = np.vecdot(centred, centred) - rest * rest / count
    table = np.empty((6, *count.T.shape))
    table[0] = finite.T
    table[1] = n - table[0]
    table[2] = np.ldexp(centre + rest / count, power).T
    table[3] = np.ldexp(np.sqrt(np.maximum(squares, 0.0)), power).T
    table[4], table[5] = ends[0].T, ends[1].T
    return Moments(table)


@np.errstate(all="ignore")
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
            result[place] = np.where(finite > 0, below + (above - below) * (positions - lows), np.nan)
    return result


def _slice_means_of_finite(values: Floats, finite: Ints) -> Floats:
    result = np.zeros((*values.shape[:2], SLICES))
    for count in np.unique(finite[finite > 0]):
        here = finite == count
        result[here] = _slice_means(values[here][:, :count])
    return result


def _slice_means(values: Floats) -> Floats:
    """Returns the means of `SLICES` equal slices of sorted values [..., n].

    An edge within a value gives to either side its share of it.
    """
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
