"""Distances between two distributions of the same unit, and other differences: one function each.

Every function takes two `Distribution`s of the same units, the reference first, and returns one float a unit [units]:
NaN where either has no values. Distances are computed on the kept values, equal in weight, so that they are exact where
both windows are. Otherwise W1 and `ks` are within the bound that the function of the same name and `_error` returns; no
bound is stated for the others. Ties are grouped: half of what a ReLU gives is one tie at 0.

`metrics.py` gives them their names; measures that compare the same examples in both windows are in `by_example.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift.analysis import over_units
from icshift.analysis.by_example import displacement
from icshift.distribution import Distribution, Floats, Ints, curve_of
from icshift.noise.rounding import within_rounding
from icshift.pieces import GAUSS, Lines, Pieces, apart, parts, parts_of_rows, pieces, squares

STD_FLOOR = 0.05
"""A unit's standard deviation counts as at least this share of the median over the units of its site."""

PSI_BINS = 10
"""Bins of `psi`: quantile bins of the reference."""

JS_BINS = 20
"""Bins of `js`: each holds the same share of both windows' values together."""

TAIL_SHARE = 0.1
"""Where tails that are not known hold more of a window's variance, what depends on them is not known either."""

_TIE = 1e-9
"""Shares that differ by less are the same: they are sums of rounded numbers."""

_ROUNDING = 1e-6
"""A standard deviation of up to this share of the mean is rounding."""

TINY = 1e-12
"""A standard deviation counts as at least this, in activation units."""


def w1(a: Distribution, b: Distribution) -> Floats:
    """Wasserstein-1: the integral of |F - G|, the mean distance the values have to move."""
    return _distance(a, b)


@lru_cache(maxsize=1)  # In activation units and in sd it is asked for one after another.
def _distance(a: Distribution, b: Distribution) -> Floats:
    found = apart(a.values, b.values)
    found.flags.writeable = False
    return found


def w1_sd(a: Distribution, b: Distribution) -> Floats:
    """Wasserstein-1 in units of `effective_std`."""
    return w1(a, b) / effective_std(a, b)


def w2(a: Distribution, b: Distribution) -> Floats:
    """Wasserstein-2: root of the mean squared distance of the two quantile functions."""
    found, power = _scaled_parts(a, b)
    return np.ldexp(np.sqrt(np.sum(found, axis=0)), power)


def w2_location(a: Distribution, b: Distribution) -> Floats:
    """The part of `w2` that the difference of the means explains.

    w2^2 = w2_location^2 + w2_scale^2 + w2_shape^2 exactly.
    """
    return _root_of_part(a, b, 0)


def w2_scale(a: Distribution, b: Distribution) -> Floats:
    """The part of `w2` that the difference of the standard deviations explains."""
    return _root_of_part(a, b, 1)


def w2_shape(a: Distribution, b: Distribution) -> Floats:
    """The part of `w2` that is left when means and standard deviations agree.

    It is the root of 2 s t (1 - corr), with both standard deviations s and t and the correlation of the two quantile
    functions.
    """
    return _root_of_part(a, b, 2)


def w2_shares(a: Distribution, b: Distribution) -> Floats:
    """Returns the shares [3, units] of `w2_location`, `w2_scale` and `w2_shape` squared in w2^2; NaN where that is 0.

    All three in the time of one, also of values whose squares no float holds.
    """
    found, _ = _scaled_parts(a, b)
    parts = np.array(found)
    total = parts.sum(0)
    return np.divide(parts, total, out=np.full(parts.shape, np.nan), where=total > 0)


def _root_of_part(a: Distribution, b: Distribution, which: int) -> Floats:
    found, power = _scaled_parts(a, b)
    return np.ldexp(np.sqrt(found[which]), power)


def _scaled_parts(a: Distribution, b: Distribution) -> tuple[list[Floats], Ints]:
    """Returns the squares of the three parts of values that are divided by 2 to a power [units], and these powers."""
    exact = _all_kept(a) and _all_kept(b)
    found, power = parts_of_rows(a.values, b.values) if exact else parts(*(_quantiles(one) for one in (a, b)))
    unknown = _lacks_tails(a) | _lacks_tails(b)
    return [np.where(unknown, np.nan, part) for part in found], power


def ks(a: Distribution, b: Distribution) -> Floats:
    """Kolmogorov-Smirnov: the largest |F - G|."""
    _, difference, last = _cdf_difference(a, b)
    return _known(np.abs(np.where(last, difference, 0.0)).max(1, initial=0.0), a, b)


def energy(a: Distribution, b: Distribution) -> Floats:
    """Energy distance as SciPy has it: root of twice the integral of (F - G)^2 (Szekely & Rizzo 2013)."""
    return _known(np.sqrt(2 * squares(_shares(a), _shares(b))), a, b, _lacks_tails)


def js(a: Distribution, b: Distribution) -> Floats:
    """Jensen-Shannon distance to base 2 over `JS_BINS` bins of equal mass: 0 if equal, 1 if disjoint."""
    p, q = _binned(pieces(_shares(a), _shares(b)), _share_of(a, b), JS_BINS, _blur(a, b))
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return _known(np.sqrt(np.clip(divergence / np.log(2), 0.0, 1.0)), a, b)


def psi(a: Distribution, b: Distribution) -> Floats:
    """Population stability index over the `PSI_BINS` quantile bins of the reference a.

    The sum of (p - q) ln(p / q). Half an activation is added to every bin that either occupies, or the logarithm of
    an empty bin would decide the result.
    """
    p, q = _binned(pieces(_shares(a), _shares(b)), np.ones(a.units), PSI_BINS, _blur(a, b))
    occupied = (p > 0) | (q > 0)
    bins = occupied.sum(1, keepdims=True)
    p = (p * a.sampled[:, None] + 0.5) / (a.sampled[:, None] + 0.5 * bins)
    q = (q * b.sampled[:, None] + 0.5) / (b.sampled[:, None] + 0.5 * bins)
    return _known(np.where(occupied, (p - q) * np.log(p / q), 0.0).sum(1), a, b)


def mean_shift_sd(a: Distribution, b: Distribution) -> Floats:
    """Signed change of the mean from a to b, in units of `effective_std`; from every activation."""
    return (b.mean - a.mean) / effective_std(a, b)


def log_sd_ratio(a: Distribution, b: Distribution) -> Floats:
    """ln(sd of b / sd of a), each at least the floor of `effective_std`; from every activation."""
    floor = std_floor(a, b)
    return np.log(np.maximum(b.std, floor) / np.maximum(a.std, floor))


def displacement_sd(a: Distribution, b: Distribution) -> Floats:
    """Mean distance that each example moved, in units of `effective_std`; with the same rows at least W1 in sd."""
    return displacement(a, b) / effective_std(a, b)


def zero_share(a: Distribution, b: Distribution) -> Floats:
    """Change of the share of activations that are exactly 0, from a to b."""
    return b.zero_share - a.zero_share


def effective_std(a: Distribution, b: Distribution) -> Floats:
    """Pooled standard deviation, at least `std_floor`: otherwise a unit whose spread collapses would seem to go far."""
    return np.maximum(*_spread(a, b))


def pooled_std(a: Distribution, b: Distribution) -> Floats:
    """Root of the mean of the two variances."""
    return _spread(a, b)[0]


def std_floor(a: Distribution, b: Distribution) -> float:
    """Returns the least value that the pooled sd of a unit counts as, in activation units: see `least_std`."""
    return _spread(a, b)[1]


@lru_cache(maxsize=1)  # A drift, its floor and whether it is of near-constant units are asked for one after another.
def _spread(a: Distribution, b: Distribution) -> tuple[Floats, float]:
    """Returns `pooled_std` and `std_floor`."""
    pooled = np.hypot(a.std, b.std) / np.sqrt(2)
    pooled.flags.writeable = False
    return pooled, least_std(pooled, np.maximum(np.abs(a.mean), np.abs(b.mean)))


def least_std(spread: Floats, size: Floats) -> float:
    """Returns `STD_FLOOR` times the median of a site's standard deviations [units], and never less than `TINY`.

    Constants do not count, also where their standard deviation is the rounding of their `size` [units], the absolute
    mean: where most units of a site are dead, any number of sd would come out for the others.
    """
    known = spread[np.isfinite(spread) & (spread > _ROUNDING * size)]
    return max(STD_FLOOR * over_units.median(known) if len(known) else 0.0, TINY)


def near_constant(a: Distribution, b: Distribution) -> NDArray[np.bool_]:
    """Marks the units [units] whose pooled sd is at most `std_floor` or NaN: their drift in sd means little."""
    pooled, floor = _spread(a, b)
    return ~(pooled > floor)


def rounded(a: Distribution, b: Distribution) -> NDArray[np.bool_]:
    """Marks the units [units] that are constant and differ by no more than rounding: whether they moved is unknown.

    A constant is not computed to the last bit, and everything is far in sd of nearly nothing.
    """
    size, types = np.maximum(np.abs(a.mean), np.abs(b.mean)), (a.values.dtype, b.values.dtype)
    return near_constant(a, b) & within_rounding(w1(a, b), pooled_std(a, b), size, *types)


def w1_error(a: Distribution, b: Distribution) -> Floats:
    """Bound [units] on the error of `w1` by sketching: the sum of both windows' bounds, by the triangle inequality."""
    return a.w1_error + b.w1_error


def w1_sd_error(a: Distribution, b: Distribution) -> Floats:
    """The bound of `w1_error` in units of `effective_std`."""
    return w1_error(a, b) / effective_std(a, b)


def ks_error(a: Distribution, b: Distribution) -> Floats:
    """Bound [units] on the error of `ks` by sketching: the sum of both windows' rank errors, at most 1."""
    return np.full(a.units, min(1.0, a.rank_error + b.rank_error))


def energy_error(a: Distribution, b: Distribution) -> Floats:
    """Bound [units] on the error of `energy` by sketching: the energy distances from both windows to what they show.

    Squared, one is twice the integral of (F - G)^2, which is at most the largest |F - G| times their W1.
    """
    return np.sqrt(2) * (_off(a) + _off(b))


def _off(a: Distribution) -> Floats:
    if _all_kept(a):
        return np.sqrt(a.rank_error * a.w1_error)
    width = a.values.shape[1]
    steps = np.tile(np.repeat(np.arange(width + 1) / width, 2)[1:-1], (a.units, 1))
    values = np.repeat(np.nan_to_num(a.values.astype(float)), 2, axis=1)
    found = pieces(_quantiles(a), (steps, values))
    spread = (found.width * over_units.rms(found.first - found.second)).sum(1)
    # A curve is at most a slice off the values that it spreads, and a slice is part of their rank error.
    return np.sqrt(min(1.0, 2 * a.rank_error) * (a.w1_error + spread))


def no_error(a: Distribution, _: Distribution) -> Floats:
    """The error [units] of what is computed from moments, which are of every activation: 0."""
    return np.zeros(a.units)


def _quantiles(a: Distribution) -> Lines:
    found = curve_of(a)
    return found.share, found.value


def _shares(a: Distribution) -> Lines:
    found = curve_of(a)
    return found.value, found.share


def _all_kept(a: Distribution) -> bool:
    return not (a.sampled > a.values.shape[1]).any()


def _share_of(a: Distribution, b: Distribution) -> Floats:
    """Returns which share [units] of both windows' values together is of the first."""
    return a.sampled / np.maximum(a.sampled + b.sampled, 1)


def _cdf_difference(a: Distribution, b: Distribution) -> tuple[Floats, Floats, Any]:
    """Returns the values of both in order, F - G after each, and where a run of ties ends; all [units, values]."""
    m, n = max(a.values.shape[1], 1), max(b.values.shape[1], 1)
    points = np.concatenate([a.values, b.values], axis=1).astype(float)
    steps = np.concatenate([np.full(a.values.shape[1], n), np.full(b.values.shape[1], -m)])
    order = np.argsort(points, axis=1, kind="stable")
    points = np.take_along_axis(points, order, 1)
    difference = np.cumsum(steps[order], axis=1) / (m * n)
    last = np.ones(points.shape, bool)
    last[:, :-1] = points[:, 1:] != points[:, :-1]
    return points, difference, last


def _blur(a: Distribution, b: Distribution) -> float:
    """Returns how far the shares of single values can be off: half a slice; 0 where all values are kept."""
    return max((0.5 / one.values.shape[1] for one in (a, b) if not _all_kept(one)), default=0.0)


def _binned(found: Pieces, share: Floats, bins: int, blur: float) -> tuple[Floats, Floats]:
    """Returns the shares [units, bins] of both in bins of equal mass of a mixture, in which the first has a `share`.

    A bin is above one edge and up to the next; ties stay in one bin. An edge is the lowest value below or at which
    lies its part of the mixture. A bin beside a tie that would hold less than the `blur` is none of its own.
    """
    first, second = (_at_ends(function) for function in (found.first, found.second))
    # A piece without width is within a tie: what it says of the functions is not yet all.
    counts = np.repeat(found.width > 0, 2, axis=1)
    mixture = np.where(counts, share[:, None] * first + (1 - share)[:, None] * second, 0.0)
    mixture = np.maximum.accumulate(mixture, axis=1)
    reached = mixture.copy()
    ties = mixture[:, 2::2] - mixture[:, 1:-1:2] > 2 * blur
    reached[:, 2::2] += np.where(ties, blur, 0.0)
    reached = np.maximum.accumulate(reached, axis=1)
    zero, one = np.zeros((2, len(share))), np.ones((2, len(share)))
    cuts = [zero, *(_at((first, second), mixture, reached, i / bins - _TIE) for i in range(1, bins)), one]
    p, q = np.maximum(np.diff(np.stack(cuts, axis=2), axis=2), 0.0)
    return p, q


def _at_ends(inner: Floats) -> Floats:
    """Returns a function at the start and the end of every piece in turn [units, 2 pieces], of it at `GAUSS`."""
    slope = (inner[1] - inner[0]) / (GAUSS[1] - GAUSS[0])
    start = inner[0] - GAUSS[0] * slope
    return np.stack([start, start + slope], axis=2).reshape(len(slope), -1)


def _at(functions: tuple[Floats, Floats], mixture: Floats, reached: Floats, target: float) -> Floats:
    """Returns two functions [2, units] where their mixture has reached a share; 1 where it does so at the last value.

    All are given at the starts and ends of pieces in turn.
    """
    place = (reached < target).sum(1)[:, None]
    inside = np.clip(place, 1, mixture.shape[1] - 1)
    start, end = (np.take_along_axis(mixture, at, 1) for at in (inside - 1, inside))
    # Only an end of a piece is reached on the way; a start is reached at once, with the tie that is there.
    way = (inside % 2 == 1) & (end > start)
    part = np.divide(target - start, end - start, out=np.ones_like(end), where=way)
    low, high = (np.array([np.take_along_axis(one, at, 1) for one in functions]) for at in (inside - 1, inside))
    return np.where(place < mixture.shape[1], low + np.clip(part, 0, 1) * (high - low), 1.0)[:, :, 0]


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return (p * np.log(ratio)).sum(1)


def _empty(a: Distribution) -> NDArray[np.bool_]:
    return a.sampled == 0


def _lacks_tails(a: Distribution) -> NDArray[np.bool_]:
    """Marks units [units] that are empty or whose tails are not known and hold more than `TAIL_SHARE` of the variance.

    Older runs kept no tails, and among non-finite values a window has none.
    """
    known = np.zeros(a.units, bool) if a.tails is None else np.isfinite(a.tails).all(1)
    if known.all():  # As of most sites, whose variance need not be computed.
        return _empty(a)
    power = -np.frexp(np.where(np.isfinite(a.std), a.std, 0.0))[1]  # Squares of values of 1e200 fit no float.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values, std = np.ldexp(a.values.astype(float), power[:, None]), np.ldexp(a.std, power)
        kept = values.var(1) if values.shape[1] else np.zeros(a.units)
        rounding = (1e-6 * np.ldexp(np.abs(a.mean), power)) ** 2
        missing = (a.sampled > values.shape[1]) & (std**2 - kept > TAIL_SHARE * std**2 + rounding)
    return _empty(a) | (missing & ~known)


def _known(
    result: Floats,
    a: Distribution,
    b: Distribution,
    unknown: Callable[[Distribution], NDArray[np.bool_]] = _empty,
) -> Floats:
    """Returns a result [units] with NaN where it is not known because of either window."""
    return np.where(unknown(a) | unknown(b), np.nan, result)
