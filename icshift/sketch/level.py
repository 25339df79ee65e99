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

GROUP = 4
"""Neighbours in whose place one value goes up a level."""

GOING_UP = (K - 2 * TAIL) // GROUP
"""Values of a full level that go up."""

TERMS = 64 * K
"""Rounding error of a sum of K values in at least 8 partial sums, in units of the largest value times the precision."""


@dataclass(frozen=True, eq=False)
class Level:
    """The first `fill` of values [units, K] in any order, each of which stands for `weight`; +inf is not finite."""

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


def joined(levels: Sequence[Level]) -> Level:
    """Returns levels of several sites, filled alike, as one of all their units."""
    first = levels[0]
    # Value after value, as each of them has its own: of single units NumPy would choose the other order.
    values = np.empty((first.fill, sum(len(level.values) for level in levels)), first.values.dtype)
    np.concatenate([level.values.T[: first.fill] for level in levels], axis=1, out=values)
    return Level(values.T, first.fill, first.weight)


@np.errstate(all="ignore")
def sort_level(level: Floats) -> Floats:
    """Sorts a full level [units, K] in place, and returns by how far its values lie from those that go up [units].

    The distances of x0 <= x1 <= x2 <= x3 to anything from x1 to x2 add up to -x0 - x1 + x2 + x3. With what their sum
    may be rounded by. NaN where a value that goes up is not finite: those at the ends stay as they are.
    """
    level.sort(axis=1)
    signs = np.where(np.arange(K) % GROUP < GROUP // 2, -1, 1).astype(level.dtype)
    largest = np.abs(level[:, TAIL]) + np.abs(level[:, -TAIL - 1])
    moved = np.vecdot(level[:, TAIL : K - TAIL], signs[TAIL : K - TAIL])
    return np.where(np.isfinite(largest), moved, np.nan) + TERMS * float(np.finfo(level.dtype).eps) * largest


@np.errstate(all="ignore")
def compact(level: Floats, up: Floats) -> Floats:
    """Sorts a full level [units, K], of which the ends are its first 2 TAIL values then; what is behind is worthless.

    Of every `GROUP` neighbours between the ends the mean is written to `up` [units, GOING_UP], or that of the two in
    the middle which is nearer to it where it lies beyond them. Returns what `sort_level` does.
    """
    moved = sort_level(level)
    # A fourth of each is exact, and no sum of them overflows. `clip`, and sums along a short axis, take far longer.
    parts = level[:, TAIL : K - TAIL] * level.dtype.type(1 / GROUP)
    mean = parts[:, ::GROUP] + parts[:, 1::GROUP]
    for place in range(2, GROUP):
        mean += parts[:, place::GROUP]
    np.maximum(mean, level[:, TAIL + 1 : K - TAIL : GROUP], out=mean)
    np.minimum(mean, level[:, TAIL + 2 : K - TAIL : GROUP], out=up)
    level[:, TAIL : 2 * TAIL] = level[:, K - TAIL :]
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
