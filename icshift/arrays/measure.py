"""Arrays of rows measured unit by unit: exact Wasserstein-1, moments, and blocks of consecutive rows.

The compiled kernel does it in one go, without sorting all values (kernel/w1.cc); where it was not built, or the
environment asks for NumPy's, values are sorted. Both agree but for rounding. Non-finite values are left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift import kernel_choice
from icshift.blocks import BLOCKS, SLICES, Blocks, Floats, Ints

STEP = 64
"""Rows whose quantile function is cut into slices together, at most: as many as a recorder keeps of a step."""

_AT_ONCE = 64
"""Units whose columns are taken out of the rows together."""

_OF_A_THREAD = 16
"""Units that a thread takes at least, and a multiple of which it begins with: a cache line of float32."""

_WORTH_A_THREAD = 2**18
"""Values that a thread is worth, which take it some milliseconds."""

_MOST = 2**31 - 1
"""Rows of which the compiled kernel counts."""

_HALF = 2.0**-40
"""Values so large that their difference has no number are compared scaled."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean and standard deviation (divisor n) of the finite values of each unit [units]; NaN of none."""

    n: Ints
    mean: Floats
    std: Floats


def compared(a: NDArray[Any], b: NDArray[Any]) -> tuple[Floats, Moments, Moments]:
    """Returns Wasserstein-1 [units] between the rows a [n, units] and b [m, units], and the moments of both.

    It is exact but for rounding in double; NaN where a unit has no finite value in either.

    >>> w1, first, _ = compared(np.array([[0.0], [2.0]]), np.array([[1.0], [3.0], [8.0]]))
    >>> w1, first.mean
    (array([3.]), array([1.]))
    """
    dtype = np.result_type(a, b)
    measure = _native if kernel_choice.uses_native() and max(len(a), len(b)) <= _MOST else _numpy
    found = np.empty((7, a.shape[1]))
    at_once = a.shape[1] if all(one.flags.c_contiguous and one.dtype == dtype for one in (a, b)) else _AT_ONCE
    for start in range(0, a.shape[1], at_once):
        here = slice(start, start + at_once)
        first, second = (np.ascontiguousarray(one[:, here], dtype) for one in (a, b))
        part = measure(first, second)
        if not np.isfinite(part[0, (part[1] > 0) & (part[4] > 0)]).all():
            part = measure(first * _HALF, second * _HALF) / np.array([_HALF, 1, _HALF, _HALF, 1, _HALF, _HALF])[:, None]
        found[:, here] = part
    with np.errstate(invalid="ignore", divide="ignore"):
        moments = [
            Moments(n.astype(np.int64), mean, np.sqrt(np.maximum(squares, 0.0) / n))
            for n, mean, squares in (found[1:4], found[4:7])
        ]
    return found[0], moments[0], moments[1]


def _native(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    found = np.empty((7, a.shape[1]))
    _side_by_side(
        lambda start, end: kernel_choice.compiled.w1(a, len(a), b, len(b), a.shape[1], a.itemsize, found, start, end),
        a.shape[1],
        a.size + b.size,
    )
    return found


def _side_by_side(work: Callable[[int, int], None], units: int, values: int) -> None:
    """Has work done on units from one to another, by as many threads as there are processors where it is worth it."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(processors, units // _OF_A_THREAD, values // _WORTH_A_THREAD)
    if threads < 2:
        work(0, units)
        return
    edges = [units * thread // threads // _OF_A_THREAD * _OF_A_THREAD for thread in range(threads)] + [units]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


def _numpy(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    both = [np.sort(one.T.astype(float), axis=1) for one in (a, b)]
    rows = []
    for pair in zip(*both, strict=True):
        x, y = (one[np.isfinite(one)] for one in pair)
        rows.append([_between_sorted(x, y), *_moments(x), *_moments(y)])
    return np.array(rows).T


def _between_sorted(x: Floats, y: Floats) -> float:
    if not len(x) or not len(y):
        return np.nan
    with np.errstate(over="ignore"):
        if len(x) == len(y):
            return float(np.abs(x - y).mean())
        # In units of 1 / (m n) the ends of both kinds of steps are whole numbers, so that equal ends are equal.
        m, n = len(x), len(y)
        ends = np.union1d(np.arange(1, m + 1) * n, np.arange(1, n + 1) * m)
        return float(np.abs(x[(ends - 1) // n] - y[(ends - 1) // m]) @ np.diff(ends, prepend=0) / (m * n))


def _moments(x: Floats) -> tuple[int, float, float]:
    if not len(x):
        return 0, np.nan, np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x[0] + (x - x[0]).mean()
        return len(x), float(mean), float(((x - mean) ** 2).sum())


def blocks_of(rows: NDArray[Any]) -> Blocks:
    """Returns rows [n, units] as up to `BLOCKS` blocks of consecutive ones; `steps` counts their rows.

    Of every block the means of slices are averaged over stretches of up to `STEP` rows.
    """
    n, units = rows.shape
    step = max(1, min(STEP, n // BLOCKS))
    stretches = -(-n // step)
    count = min(BLOCKS, stretches)
    sums = np.zeros((count, SLICES, units))
    finite, zeros = np.zeros((2, count, units), np.int64)
    add: Callable[..., None] = _add_native if kernel_choice.uses_native() and rows.dtype == np.float32 else _add_numpy
    at_once = units if rows.flags.c_contiguous else _AT_ONCE
    for start in range(0, units, at_once):
        here = slice(start, start + at_once)
        part = [np.ascontiguousarray(one[..., here]) for one in (sums, finite, zeros)]
        add(np.ascontiguousarray(rows[:, here]), step, *part)
        sums[..., here], finite[:, here], zeros[:, here] = part
    with np.errstate(invalid="ignore", divide="ignore"):
        slices = (sums / finite[:, None]).transpose(2, 0, 1)
    edges = np.array([min(n, step * first) for first in _firsts(stretches, count)])
    return Blocks(slices, finite.T, zeros.T, np.diff(edges))


def some_of(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """Returns so many rows of those there are, or all: the first ones of each of `BLOCKS` stretches, in their order."""
    if len(rows) <= count:
        return rows
    starts, wanted = (np.arange(BLOCKS + 1) * each // BLOCKS for each in (len(rows), count))
    return rows[np.concatenate([start + np.arange(n) for start, n in zip(starts, np.diff(wanted), strict=False)])]


def _firsts(stretches: int, count: int) -> list[int]:
    """Returns the first stretch of every block, and their number: stretch s is in block s * count // stretches."""
    return [-(-block * stretches // count) for block in range(count + 1)]


def _add_native(rows: NDArray[Any], step: int, sums: Floats, finite: Ints, zeros: Ints) -> None:
    units = rows.shape[1]
    _side_by_side(
        lambda start, end: kernel_choice.compiled.blocks(
            rows, len(rows), units, step, sums, finite, zeros, len(sums), start, end
        ),
        units,
        rows.size,
    )


def _add_numpy(rows: NDArray[Any], step: int, sums: Floats, finite: Ints, zeros: Ints) -> None:
    stretches = -(-len(rows) // step)
    for stretch in range(stretches):
        block = stretch * len(sums) // stretches
        values = rows[stretch * step : (stretch + 1) * step].astype(float)
        known = np.isfinite(values)
        counts = known.sum(0)
        ordered = np.sort(np.where(known, values, np.inf), axis=0)
        finite[block] += counts
        zeros[block] += (values == 0).sum(0)
        places = np.arange(len(ordered))[:, None]
        for part in range(SLICES):
            # Every value counts as SLICES, so that a value that an edge cuts gives to either side its share.
            shares = np.minimum((places + 1) * SLICES, (part + 1) * counts) - np.maximum(places * SLICES, part * counts)
            sums[block, part] += np.where(shares > 0, np.where(np.isfinite(ordered), ordered, 0.0) * shares, 0.0).sum(0)
