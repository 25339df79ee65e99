"""Levels of a sketch, and what NumPy makes of them: one that is full is sorted, those of a window are digested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icshift import tails
from icshift.distribution import Floats, Ints, ordered, summarise
from icshift.tails import TAIL

K = 512
"""Values a level holds. NumPy sorts rows of up to 512 float32 values in 1.2 ns a value, longer ones in 8."""

MOST = 1024
"""Values that a higher level holds at most: as many as the native kernel sorts."""

QUARTER, THIRD = 4, 3
"""Neighbours of which one goes up: from the lowest level, and from the others."""

TERMS = 64
"""Rounding error of a sum of n values in at least 8 partial sums, in units of n times the largest value times the
precision."""


def goes_up(fill: int, group: int) -> int:
    """Returns how many of so many values go up, one of each group of neighbours."""
    return max(fill - 2 * TAIL, 0) // group


@dataclass(frozen=True, eq=False)
class Level:
    """The first `fill` of values [units, …] in any order, each of which stands for `weight`; +inf is not finite."""

    values: Floats
    fill: int
    weight: float


@dataclass(frozen=True, eq=False)
class Digest:
    """What a window keeps of the levels of its sketches, as in a `Distribution`: see there.

    `error` [units] bounds the Wasserstein-1 distance of `values` to the points in the levels, and `rank` the error of
    any rank as a share of 1.
    """

    values: Floats
    error: Floats
    rank: float
    tails: Floats | None


@np.errstate(all="ignore")
def compact(level: Floats, group: int, offset: int) -> Floats:
    """Sorts a level [units, n] in place, and returns by how far its values lie from those that go up [units].

    These come first then, of every group that at `offset`, and those that stay are what follows. The distances of
    x0 <= x1 <= x2 <= x3 to x1 add up to -x0 - x1 + x2 + x3, and those to x2 as well; those of three to x1, to x2 - x0.
    With what their sum may be rounded by. NaN where a value is not finite.
    """
    level.sort(axis=1)
    n, up = level.shape[1], goes_up(level.shape[1], group)
    signs = np.resize([-1, -1, 1, 1] if group == QUARTER else [-1, 0, 1], n - 2 * TAIL).astype(level.dtype)
    signs[up * group :] = 0
    largest = np.abs(level[:, TAIL]) + np.abs(level[:, -TAIL - 1])
    moved: Floats = np.vecdot(level[:, TAIL : n - TAIL], signs) + TERMS * n * float(np.finfo(level.dtype).eps) * largest
    moved[~(level[:, -1] < np.inf)] = np.nan
    risen = level[:, TAIL + offset : TAIL + up * group : group].copy()
    level[:, up : up + TAIL] = level[:, :TAIL].copy()
    level[:, :up] = risen
    level[:, up + TAIL : n - up * (group - 1)] = level[:, TAIL + up * group :]
    return moved


def points(levels: Sequence[Level], units: int, dtype: type[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Returns all values in the levels [units, m] in sorted runs, NaN for non-finite ones, and their weights [m]."""
    kept = [np.sort(level.values[:, : level.fill], axis=1) for level in levels]
    found = np.concatenate([np.empty((units, 0), dtype), *kept], axis=1)
    found[np.isinf(found)] = np.nan
    return found, np.concatenate([np.empty(0), *(np.full(level.fill, level.weight) for level in levels)])


def digest(levels: Sequence[Level], sampled: Ints, dtype: type[np.floating[Any]]) -> Digest:
    """Returns what to keep of the levels of all sketches of a window, of `sampled` finite values [units]."""
    found, weights = points(levels, len(sampled), dtype)
    values, error, rank = summarise(*ordered(found, weights), dtype)
    return Digest(values, error, rank, tails.beside(values, sampled, found[:, weights == 1]))
