"""Distances between two distributions of the same unit, and other differences: one function each.

Every function takes two `Distribution`s of the same units, the reference first, and returns one float a unit [units]:
NaN where either has no values. Distances are computed on the kept values, equal in weight, so that they are exact where
both windows are. Otherwise W1 and `ks` are within the bound that the function of the same name and `_error` returns; no
bound is stated for the others. Ties are grouped: half of what a ReLU gives is one tie at 0.

`metrics.py` gives them their names; measures that compare the same examples in both windows are in `by_example.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift.analysis.by_example import displacement
from icshift.distribution import Distribution, Floats

STD_FLOOR = 0.05
"""A unit's standard deviation counts as at least this share of the median over the units of its site."""

PSI_BINS = 10
"""Bins of `psi`: quantile bins of the reference."""

JS_BINS = 20
"""Bins of `js`: each holds the same share of both windows' values together."""

TINY = 1e-12
"""A standard deviation counts as at least this, in activation units."""


def w1(a: Distribution, b: Distribution) -> Floats:
    """Wasserstein-1: the integral of |F - G|, the mean distance the values have to move."""
    first, second, weights = _aligned(a, b)
    return np.abs(first - second) @ weights


def w1_sd(a: Distribution, b: Distribution) -> Floats:
    """Wasserstein-1 in units of `effective_std`."""
    return w1(a, b) / effective_std(a, b)


def w2(a: Distribution, b: Distribution) -> Floats:
    """Wasserstein-2: root of the mean squared distance of the two quantile functions."""
    first, second, weights = _aligned(a, b)
    return np.sqrt((first - second) ** 2 @ weights)


def w2_location(a: Distribution, b: Distribution) -> Floats:
    """The part of `w2` that the difference of the means explains.

    w2^2 = w2_location^2 + w2_scale^2 + w2_shape^2 exactly.
    """
    return np.sqrt(_w2_parts(a, b)[0])


def w2_scale(a: Distribution, b: Distribution) -> Floats:
    """The part of `w2` that the difference of the standard deviations explains."""
    return np.sqrt(_w2_parts(a, b)[1])


def w2_shape(a: Distribution, b: Distribution) -> Floats:
    """The part of `w2` that is left when means and standard deviations agree.

    It is the root of 2 s t (1 - corr), with both standard deviations s and t and the correlation of the two quantile
    functions.
    """
    return np.sqrt(_w2_parts(a, b)[2])


def ks(a: Distribution, b: Distribution) -> Floats:
    """Kolmogorov-Smirnov: the largest |F - G|."""
    _, difference, last = _cdf_difference(a, b)
    return _undefined_where_empty(np.abs(np.where(last, difference, 0.0)).max(1, initial=0.0), a, b)


def energy(a: Distribution, b: Distribution) -> Floats:
    """Energy distance as SciPy has it: root of twice the integral of (F - G)^2 (Szekely & Rizzo 2013)."""
    points, difference, _ = _cdf_difference(a, b)
    gaps = np.diff(points, axis=1)
    inner = np.where(np.isfinite(gaps), difference[:, :-1] ** 2 * np.where(np.isfinite(gaps), gaps, 0.0), 0.0)
    return _undefined_where_empty(np.sqrt(2 * inner.sum(1)), a, b)


def js(a: Distribution, b: Distribution) -> Floats:
    """Jensen-Shannon distance to base 2 over `JS_BINS` bins of equal mass: 0 if equal, 1 if disjoint."""
    edges = _edges([a.values, b.values], JS_BINS)
    p, q = _binned(a.values, edges), _binned(b.values, edges)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return _undefined_where_empty(np.sqrt(np.clip(divergence / np.log(2), 0.0, 1.0)), a, b)


def psi(a: Distribution, b: Distribution) -> Floats:
    """Population stability index over the `PSI_BINS` quantile bins of the reference a.

    The sum of (p - q) ln(p / q). Sample an activation is added to every bin that either occupies, or the logarithm of
    an empty bin would decide the result.
    """
    edges = _edges([a.values], PSI_BINS)
    p, q = _binned(a.values, edges), _binned(b.values, edges)
    occupied = (p > 0) | (q > 0)
    bins = occupied.sum(1, keepdims=True)
    p = (p * a.sampled[:, None] + 0.5) / (a.sampled[:, None] + 0.5 * bins)
    q = (q * b.sampled[:, None] + 0.5) / (b.sampled[:, None] + 0.5 * bins)
    return _undefined_where_empty(np.where(occupied, (p - q) * np.log(p / q), 0.0).sum(1), a, b)


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
    return np.maximum(pooled_std(a, b), std_floor(a, b))


def pooled_std(a: Distribution, b: Distribution) -> Floats:
    """Root of the mean of the two variances."""
    return np.sqrt((a.std**2 + b.std**2) / 2)


def std_floor(a: Distribution, b: Distribution) -> float:
    """Returns the least value that the pooled sd of a unit counts as, in activation units: see `least_std`."""
    return least_std(pooled_std(a, b))


def least_std(spread: Floats) -> float:
    """Returns `STD_FLOOR` times the median of a site's standard deviations [units], and never less than `TINY`."""
    known = spread[np.isfinite(spread)]
    return max(STD_FLOOR * float(np.median(known)) if len(known) else 0.0, TINY)


def near_constant(a: Distribution, b: Distribution) -> NDArray[np.bool_]:
    """Marks the units [units] whose pooled sd is at most `std_floor` or NaN: their drift in sd means little."""
    return ~(pooled_std(a, b) > std_floor(a, b))


def w1_error(a: Distribution, b: Distribution) -> Floats:
    """Bound [units] on the error of `w1` by sketching: the sum of both windows' bounds, by the triangle inequality."""
    return a.w1_error + b.w1_error


def w1_sd_error(a: Distribution, b: Distribution) -> Floats:
    """The bound of `w1_error` in units of `effective_std`."""
    return w1_error(a, b) / effective_std(a, b)


def ks_error(a: Distribution, b: Distribution) -> Floats:
    """Bound [units] on the error of `ks` by sketching: the sum of both windows' rank errors, at most 1."""
    return np.full(a.units, min(1.0, a.rank_error + b.rank_error))


def no_error(a: Distribution, _: Distribution) -> Floats:
    """The error [units] of what is computed from moments, which are of every activation: 0."""
    return np.zeros(a.units)


def _aligned(a: Distribution, b: Distribution) -> tuple[Floats, Floats, Floats]:
    """Returns both quantile functions on the same steps [units, steps], and the widths of these steps [steps]."""
    first, second = a.values.astype(float), b.values.astype(float)
    if not first.shape[1] or not second.shape[1]:
        undefined = np.full((a.units, 1), np.nan)
        return undefined, undefined, np.ones(1)
    if first.shape[1] == second.shape[1]:
        return first, second, np.full(first.shape[1], 1 / first.shape[1])
    m, n = first.shape[1], second.shape[1]
    # In units of 1/(m n) the ends of both kinds of steps are whole numbers, so that equal ends are equal.
    ends = np.union1d(np.arange(1, m + 1) * n, np.arange(1, n + 1) * m)
    widths = np.diff(ends, prepend=0) / (m * n)
    return first[:, (ends - 1) // n], second[:, (ends - 1) // m], widths


def _w2_parts(a: Distribution, b: Distribution) -> tuple[Floats, Floats, Floats]:
    """Returns the squares [units] of `w2_location`, `w2_scale` and `w2_shape`."""
    first, second, weights = _aligned(a, b)
    mean_a, mean_b = first @ weights, second @ weights
    std_a = np.sqrt((first - mean_a[:, None]) ** 2 @ weights)
    std_b = np.sqrt((second - mean_b[:, None]) ** 2 @ weights)
    location, scale = (mean_a - mean_b) ** 2, (std_a - std_b) ** 2
    # What remains of centred quantile functions without their difference of scale; below 0 only by rounding.
    centred = (first - second - (mean_a - mean_b)[:, None]) ** 2 @ weights
    return location, scale, np.maximum(centred - scale, 0.0)


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


def _edges(values: list[Floats], bins: int) -> Floats:
    """Returns inner edges of bins [units, bins - 1]: the values at equal steps of rank among all values together."""
    together = np.sort(np.concatenate(values, axis=1).astype(float), axis=1)
    places = (np.arange(1, bins) * together.shape[1]) // bins - 1
    if together.shape[1] < bins:
        places = np.clip(places, 0, max(together.shape[1] - 1, 0))
    return together[:, places] if together.shape[1] else np.full((len(together), bins - 1), np.nan)


def _binned(values: Floats, edges: Floats) -> Floats:
    """Returns the shares [units, bins] of values above one edge and up to the next; ties stay in one bin."""
    below = np.stack(
        [(values <= edge[:, None]).mean(1) if values.shape[1] else np.full(len(values), np.nan) for edge in edges.T], 1
    )
    zero, one = np.zeros((len(values), 1)), np.ones((len(values), 1))
    return np.maximum(np.diff(np.concatenate([zero, below, one], axis=1), axis=1), 0.0)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return (p * np.log(ratio)).sum(1)


def _undefined_where_empty(result: Floats, a: Distribution, b: Distribution) -> Floats:
    return np.where((a.sampled > 0) & (b.sampled > 0), result, np.nan)
