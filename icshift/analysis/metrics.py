"""Distances and differences between two distributions of the same unit: a table from name to function.

Every function takes two `Distribution`s of the same units and gives one float a unit; NaN where either has
no values. Distances are computed on the kept values, equal in weight, so they are exact where
both windows are, and otherwise within the sum of the two `w1_error`s (for W1; no bound is
stated for the others but `ks`). Ties are grouped: half of what a ReLU gives is one tie at 0. Some compare
the same examples in both windows, and some of these a whole site at once: see `relational.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from icshift.analysis.by_example import (
    PROJECTIONS,
    cka_distance,
    complete_rows,
    displacement,
    marginal_share,
    rows_compared,
    sliced_w2,
    sliced_w2_error,
)
from icshift.distribution import Distribution, Floats, Half, Ints
from icshift.errors import SelectionError, unknown

STD_FLOOR = 0.05
"""A unit's standard deviation counts as at least this share of the median one of its site."""

PSI_BINS = 10
JS_BINS = 20

TINY = 1e-12
"""What a standard deviation counts as at least, in activation units."""


@dataclass(frozen=True)
class Metric:
    """A named measure: `unit` of its values, `meaning` in one sentence.

    `noise` is the power of 1/sqrt(n) with which its sampling noise shrinks; `error` gives the bound a unit
    on what sketching may have added, or is None where none is known. `of` is what it gives a number of: each unit, or
    the site as a whole. With `paired` it compares the same examples in both windows, which takes a probe, and has no
    noise floor. `caveat` says how to read it.
    """

    name: str
    unit: str
    meaning: str
    function: Callable[[Distribution, Distribution], Floats]
    noise: int = 1
    error: Callable[[Distribution, Distribution], Floats] | None = None
    of: Literal["unit", "site"] = "unit"
    paired: bool = False
    caveat: str = ""

    def n(self, a: Distribution, b: Distribution) -> Ints:
        """The activations that each value rests on: of a unit, or (in a whole site) rows of them."""
        if not self.paired:
            return np.minimum(a.sampled, b.sampled)
        return rows_compared(a, b) if self.of == "unit" else complete_rows(a, b)

    def near_constant(self, a: Distribution, b: Distribution) -> NDArray[np.bool_]:
        """Which of its values are of units that are near-constant; never that of a whole site."""
        return near_constant(a, b) if self.of == "unit" else np.zeros(1, bool)


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
    """What the means alone explain of W2; w2^2 = w2_location^2 + w2_scale^2 + w2_shape^2 exactly."""
    return np.sqrt(_w2_parts(a, b)[0])


def w2_scale(a: Distribution, b: Distribution) -> Floats:
    """What the standard deviations alone explain of W2."""
    return np.sqrt(_w2_parts(a, b)[1])


def w2_shape(a: Distribution, b: Distribution) -> Floats:
    """What is left of W2 when means and standard deviations agree: 2 s t (1 - corr of the quantile functions)."""
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
    """Jensen-Shannon distance to base 2 over `JS_BINS` bins of equal mass of both together: 0 same, 1 disjoint."""
    edges = _edges([a.values, b.values], JS_BINS)
    p, q = _binned(a.values, edges), _binned(b.values, edges)
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return _undefined_where_empty(np.sqrt(np.clip(divergence / np.log(2), 0.0, 1.0)), a, b)


def psi(a: Distribution, b: Distribution) -> Floats:
    """Population stability index over the `PSI_BINS` quantile bins of the reference a.

    The sum of (p - q) ln(p / q). Half an activation is added to every bin that either occupies, or the logarithm of
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
    """Pooled standard deviation, but at least `std_floor`: or a unit whose spread collapses would seem to run off."""
    return np.maximum(pooled_std(a, b), std_floor(a, b))


def pooled_std(a: Distribution, b: Distribution) -> Floats:
    """Root of the mean of the two variances."""
    return np.sqrt((a.std**2 + b.std**2) / 2)


def std_floor(a: Distribution, b: Distribution) -> float:
    """`STD_FLOOR` of the site's median pooled standard deviation, and never 0."""
    pooled = pooled_std(a, b)
    known = pooled[np.isfinite(pooled)]
    return max(STD_FLOOR * float(np.median(known)) if len(known) else 0.0, TINY)


def near_constant(a: Distribution, b: Distribution) -> NDArray[np.bool_]:
    """Units whose pooled standard deviation is on the floor: their drift in sd units means little."""
    return ~(pooled_std(a, b) > std_floor(a, b))


def _w1_error(a: Distribution, b: Distribution) -> Floats:
    return a.w1_error + b.w1_error


def _w1_sd_error(a: Distribution, b: Distribution) -> Floats:
    return _w1_error(a, b) / effective_std(a, b)


def _ks_error(a: Distribution, b: Distribution) -> Floats:
    return np.full(a.units, min(1.0, a.rank_error + b.rank_error))


def _no_error(a: Distribution, _: Distribution) -> Floats:
    return np.zeros(a.units)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("w1_sd", "sd", "Wasserstein-1 over the pooled sd (floored)", w1_sd, error=_w1_sd_error),
        Metric("w1", "activation", "Wasserstein-1: mean distance the values move", w1, error=_w1_error),
        Metric("w2", "activation", "Wasserstein-2", w2),
        Metric("w2_location", "activation", "part of w2 that is change of mean", w2_location),
        Metric("w2_scale", "activation", "part of w2 that is change of sd", w2_scale),
        Metric("w2_shape", "activation", "part of w2 that is change of shape", w2_shape),
        Metric("ks", "share", "largest difference of the distribution functions", ks, error=_ks_error),
        Metric("js", "0 to 1", f"Jensen-Shannon distance, base 2, {JS_BINS} bins of equal pooled mass", js),
        Metric("psi", "nats", f"population stability index, {PSI_BINS} quantile bins of the reference", psi, noise=2),
        Metric("energy", "sqrt(activation)", "energy distance", energy),
        Metric("mean_shift_sd", "sd", "change of the mean over the pooled sd", mean_shift_sd, error=_no_error),
        Metric("log_sd_ratio", "nats", "logarithm of the ratio of the sds", log_sd_ratio, error=_no_error),
        Metric("zero_share", "share", "change of the share of exact zeros", zero_share),
        Metric("displacement", "activation", "mean distance that each example moved", displacement, paired=True),
        Metric(
            "displacement_sd", "sd", "mean distance that each example moved, over the sd", displacement_sd, paired=True
        ),
        Metric(
            "marginal_share",
            "share",
            "w1 over displacement, of the same examples",
            marginal_share,
            paired=True,
            caveat="Near 1 the distribution as a whole moved; near 0 examples swapped places within it.",
        ),
        Metric(
            "sliced_w2",
            "activation",
            f"sliced Wasserstein-2 times sqrt(units), {PROJECTIONS} directions",
            sliced_w2,
            error=sliced_w2_error,
            of="site",
            paired=True,
            caveat="A pure shift gives its length over all units: s in each of d units is s times sqrt(d).",
        ),
        Metric(
            "cka_distance",
            "0 to 1",
            "1 - linear CKA: how examples lie to one another",
            cka_distance,
            of="site",
            paired=True,
            caveat="Blind to rotation and to one scale for all units: no distance of distributions, it may rise where "
            "drift falls.",
        ),
    )
}


def metric(name: str, *, among: str = "") -> Metric:
    """A metric by name; `among` words what compares other examples, where metrics of paired rows make no sense.

    Raises `SelectionError` with near matches.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    if among and METRICS[name].paired:
        known = ", ".join(one.name for one in METRICS.values() if not one.paired)
        raise SelectionError(f"{name} compares the same examples twice, {among} are of different ones; choose {known}")
    return METRICS[name]


def from_half(half: Half) -> Distribution:
    """A half of a window's steps as a distribution of its own, its moments those of the kept values."""
    values = half.values.astype(float)
    if values.shape[1]:
        mean, std = values.mean(1), values.std(1)
        low, high, zeros = values[:, 0], values[:, -1], (values == 0).mean(1)
    else:
        mean = std = low = high = zeros = np.full(len(values), np.nan)
    return Distribution(
        count=half.sampled,
        nonfinite=np.zeros_like(half.sampled),
        mean=mean,
        std=std,
        min=low,
        max=high,
        zero_share=zeros,
        sampled=half.sampled,
        values=half.values,
        w1_error=np.zeros(len(values)),
        rank_error=0.0,
    )


def _aligned(a: Distribution, b: Distribution) -> tuple[Floats, Floats, Floats]:
    """Both quantile functions on one set of steps, and the widths of these steps."""
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
    first, second, weights = _aligned(a, b)
    mean_a, mean_b = first @ weights, second @ weights
    std_a = np.sqrt((first - mean_a[:, None]) ** 2 @ weights)
    std_b = np.sqrt((second - mean_b[:, None]) ** 2 @ weights)
    location, scale = (mean_a - mean_b) ** 2, (std_a - std_b) ** 2
    # What remains of centred quantile functions without their difference of scale; below 0 only by rounding.
    centred = (first - second - (mean_a - mean_b)[:, None]) ** 2 @ weights
    return location, scale, np.maximum(centred - scale, 0.0)


def _cdf_difference(a: Distribution, b: Distribution) -> tuple[Floats, Floats, Any]:
    """All values of both in order [units, m], F - G just after each, and where a run of ties ends."""
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
    """Inner edges [units, bins - 1]: values at equal steps of rank of all values together."""
    together = np.sort(np.concatenate(values, axis=1).astype(float), axis=1)
    places = (np.arange(1, bins) * together.shape[1]) // bins - 1
    if together.shape[1] < bins:
        places = np.clip(places, 0, max(together.shape[1] - 1, 0))
    return together[:, places] if together.shape[1] else np.full((len(together), bins - 1), np.nan)


def _binned(values: Floats, edges: Floats) -> Floats:
    """Shares [units, bins] of values above one edge and up to the next; a tie falls into one bin as a whole."""
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
