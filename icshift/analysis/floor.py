"""The noise floor of one window against another: the drift that sampling alone would show, and which units moved.

A unit moved where its drift is beyond noise.

Odd and even steps of a window are two samples of almost the same distribution. Their distance, scaled from half
windows to whole ones, is what a window with the same number of activations would show if nothing had moved. Steps,
not activations, are dealt out to the halves, so that correlated positions of one image count as what they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import gammaincc

from icshift.analysis.metrics import Metric
from icshift.distribution import Distribution, Floats, Half, from_half

FALSE_DISCOVERIES = 0.05
"""Expected share of false ones among the units called moved."""

NULL_WINDOWS = 5
"""Windows whose noise is pooled: see `pooled_null`."""

NULL_VALUES = 20
"""Values of noise that suffice to fit its distribution."""


def floor(metric: Metric, a: Distribution, b: Distribution) -> Floats:
    """Returns what `metric` between a and b would show by sampling noise alone [units].

    The root mean square of both windows' scaled half distances; of the one window whose halves tell the noise (see
    `noise_of_halves`), if the other's do not; NaN if neither's do. 0 for two probes: with the same inputs in both there
    is no sampling noise. NaN for metrics by example: where there are examples, there is no sampling noise.
    """
    if metric.by_example:
        return np.full(len(metric.n(a, b)), np.nan)
    parts = [_scaled(metric, own, a, b) for own in (a, b) if own.halves is not None]
    if not parts:
        return np.zeros(a.units)
    squares = np.square(parts)
    known = np.isfinite(squares).sum(0)
    return np.sqrt(np.nansum(squares, axis=0) / np.where(known, known, np.nan))


def noise_of_halves(metric: Metric, odd: Half, even: Half) -> Floats:
    """Returns the distance [units] between two halves of a window; NaN where it says nothing of the noise.

    It does not where a half has one value, or where both are constants that differ: without a spread any number comes
    out in units of it, 4.65e+11 sd for one. Nor does it where the spread is beyond the largest number.
    """
    first, second = from_half(odd), from_half(even)
    apart = np.abs(metric.function(first, second))
    spread = np.hypot(first.std, second.std)
    told = (odd.sampled > 1) & (even.sampled > 1) & np.isfinite(spread) & ((spread > 0) | (first.mean == second.mean))
    return np.where(told, apart, np.nan)


def standardised_null(metric: Metric, distribution: Distribution) -> Floats:
    """Returns what sampling noise looks like in a window: the distances between the halves of all its units.

    Each is scaled to what two samples of one activation would show (as if noise grew by its power of 1/sqrt(n) down to
    n = 1), so that distances of units and windows of any size can be pooled. Units whose halves do not tell the
    noise (see `noise_of_halves`) are left out.
    """
    if distribution.halves is None:
        return np.empty(0)
    odd, even = distribution.halves
    noise = np.sqrt(_inverse(odd.sampled) + _inverse(even.sampled))
    null = noise_of_halves(metric, odd, even) / noise**metric.noise
    return null[np.isfinite(null)]


def pooled_null(own: Floats, nulls: Mapping[int, Floats], window: int) -> Floats:
    """Returns `own`, the null of the compared windows, with that of the `NULL_WINDOWS` nearest to `window`.

    More windows are taken where there are not `NULL_VALUES` of it.

    Several, since the units of a site see the same examples: what one window shows is one draw for all of them. Not all
    windows: noise changes as a network learns, and early windows can be many times as noisy as late ones.
    """
    pooled = own
    for place, near in enumerate(sorted(nulls, key=lambda index: (abs(index - window), index))):
        if place >= NULL_WINDOWS and len(pooled) >= NULL_VALUES:
            break
        pooled = np.concatenate([pooled, nulls[near]])
    return pooled


def p_values(metric: Metric, values: Floats, a: Distribution, b: Distribution, null: Floats) -> Floats:
    """Returns the probability [units] of a value as large by sampling noise alone.

    `null` (of `pooled_null`) is fitted by a gamma distribution of the same mean and variance. Counting
    how often the null is larger could never call one unit of a thousand: it takes U/0.05 null
    values to find one among U. The null of W1 has a lighter tail than a gamma distribution, so this is on the safe
    side.
    """
    if len(null) < 2 or not null.var() > 0:
        return np.full(a.units, np.nan)
    noise = np.sqrt(_inverse(a.sampled) + _inverse(b.sampled)) ** metric.noise
    shape, scale = null.mean() ** 2 / null.var(), null.var() / null.mean()
    return np.asarray(gammaincc(shape, np.abs(values) / noise / scale))


def discoveries(p: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Returns which units are called moved, at most `FALSE_DISCOVERIES` of them wrongly; units of NaN never are.

    The procedure is that of Benjamini & Hochberg (1995).
    """
    called = np.zeros(len(p), bool)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    small = p[order] <= FALSE_DISCOVERIES * np.arange(1, len(order) + 1) / max(len(order), 1)
    if small.any():
        called[order[: np.flatnonzero(small)[-1] + 1]] = True
    return called


def _scaled(metric: Metric, own: Distribution, a: Distribution, b: Distribution) -> Floats:
    assert own.halves is not None
    odd, even = own.halves
    halves = _inverse(odd.sampled) + _inverse(even.sampled)
    whole = _inverse(a.sampled) + _inverse(b.sampled)
    return noise_of_halves(metric, odd, even) * np.sqrt(whole / halves) ** metric.noise


def _inverse(count: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    return np.where(count > 0, 1.0 / np.maximum(count, 1), np.nan)
