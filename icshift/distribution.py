"""A `Distribution`: all that is kept of one site in one window, for all its units at once. It is the program's waist.

Recording ends in a `Distribution` and everything after it starts from one; it knows no torch.

The empirical distribution of each unit is a row of sorted *values* of equal weight. A window of at
most `EXACT` sampled values keeps them all; a larger one keeps the means of `QUANTILES` equal slices of
its quantile function (slice means rather than midpoints: they keep the mean, and the Wasserstein
distance of two such rows differs from the exact one only in slices where the quantile functions
cross). `w1_error` bounds, for each unit, the Wasserstein-1 distance between the row and the sampled
values it stands for, so by the triangle inequality the errors of two distributions add up to a bound
on the error of their distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift.blocks import Blocks, no_blocks
from icshift.curve import Curve, curve
from icshift.distribution_card import distribution_card, distribution_line
from icshift.tails import TAIL, merged

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

EXACT = 512
"""Windows of at most so many sampled values a unit keep every one."""

QUANTILES = 128
"""Slices of the quantile function kept of a larger window."""

SAMPLE_QUANTILES = 64
"""Slices kept of a `Sample` that is larger."""

EXAMPLES = 256
"""Of a probe, at most so many activations a unit are kept one by one, to be compared with the same in other windows."""

_ROUNDING = 1e-11
"""Two places of a quantile function that are closer count as one: running sums are not exact."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Sorted `values` [units, k] of equal weight, and how many sampled values they stand for [units]."""

    values: Floats
    sampled: Ints


@dataclass(frozen=True, eq=False)
class Distribution:
    """Summary of one site in one window; every array has one entry (or row) a unit.

    Moments (`mean`, `std` with divisor n, `min`, `max`) are of all `count` finite activations;
    `nonfinite` ones are counted and left out of everything else. `zero_share`, `values` and the blocks
    are of the `sampled` ones. Units without a finite activation have NaN moments and NaN values.
    `rank_error` is a share of 1: no quantile's rank is further off than this. `blocks` are of
    its consecutive steps, or None where sampling noise does not apply (a probe: same inputs every time).

    `examples` [units, k] are the activations of a probe's examples, in every window of the same ones and in the same
    order, non-finite ones as they are; k is at most `EXAMPLES`. Where a site has positions, each is one position of an
    example. None where there is no probe.

    `tails` [units, 2 TAIL] are the lowest sampled values one by one, in order, and then the highest (see `tails.py`);
    NaN where they are not known, as among non-finite values. None where `values` are all there is to know.

    Two windows of one unit, merged into one:

    >>> values = np.array([[-1.0, 0.0, 0.0, 3.0]])
    >>> first = from_sample(Sample(values, np.array([4])))
    >>> both = first.merge(from_sample(Sample(values + 4, np.array([4]))))
    >>> both.count, both.mean, both.std
    (array([8]), array([2.5]), array([2.5]))
    >>> both.values
    array([[-1.,  0.,  0.,  3.,  3.,  4.,  4.,  7.]])
    >>> both.quantile([0.5]), both.exact
    (array([[3.]]), True)
    """

    count: Ints
    nonfinite: Ints
    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    zero_share: Floats
    sampled: Ints
    values: Floats
    w1_error: Floats
    rank_error: float
    blocks: Blocks | None = None
    examples: Floats | None = None
    tails: Floats | None = None

    __repr__ = distribution_line
    _repr_html_ = distribution_card

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.count)

    @property
    def exact(self) -> bool:
        """Whether the values are all the sampled ones, so that metrics carry no error of ours."""
        return bool(np.all(self.w1_error == 0))

    def quantile(self, probabilities: Sequence[float], units: Ints | None = None) -> Floats:
        """Returns quantiles [units, probabilities], NaN where no values are kept: of all units, or of these.

        By linear interpolation between the values' mid-ranks, of a large window on its `Curve`.
        """
        kept, sampled = (one if units is None else one[units] for one in (self.values, self.sampled))
        width = kept.shape[1]
        if not width:
            return np.full((len(kept), len(probabilities)), np.nan)
        if (sampled > width).any():
            found = (curve_of(self) if units is None else self._curve(units)).at(probabilities)
            return np.where(sampled[:, None] > 0, found, np.nan)
        position = np.clip(np.asarray(probabilities, float) * width - 0.5, 0, width - 1)
        low = position.astype(int)
        part = position - low
        return kept[:, low] * (1 - part) + kept[:, np.minimum(low + 1, width - 1)] * part

    def _curve(self, units: Ints) -> Curve:
        tails = None if self.tails is None else self.tails[units]
        return curve(self.values[units], self.sampled[units], tails, self.zero_share[units])

    def take(self, units: Ints) -> Distribution:
        """Returns the same summary of some of the units, in the order given."""
        arrays = ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "values", "w1_error")
        blocks = None if self.blocks is None else self.blocks.take(units)
        examples = None if self.examples is None else self.examples[units]
        tails = None if self.tails is None else self.tails[units]
        rest = {name: getattr(self, name)[units] for name in arrays}
        return replace(self, blocks=blocks, examples=examples, tails=tails, **rest)

    def merge(self, other: Distribution) -> Distribution:
        """Returns the distribution of both together, as if recorded in one; neither input changes.

        Exact while both are exact and their values fit in `EXACT`; otherwise within `w1_error` of it. Blocks are merged
        as those of the same steps, and there are none where either has none. There are examples where one alone has
        them: where both have, nothing says which examples of other windows the merged ones would belong to. Raises
        `ValueError` where units differ.
        """
        if self.units != other.units:
            raise ValueError(f"cannot merge {self.units} units with {other.units}: not the same site")
        mean, std = _merged_moments(self, other)
        values, reduction_error, slices = _merged_values(self, other)
        share = _shares(self.sampled, other.sampled)
        error = share[0] * self.w1_error + share[1] * other.w1_error + reduction_error
        rank = float(np.max(share[0], initial=0.0, where=np.isfinite(share[0]))) * self.rank_error
        rank += float(np.max(share[1], initial=0.0, where=np.isfinite(share[1]))) * other.rank_error + slices
        return Distribution(
            count=self.count + other.count,
            nonfinite=self.nonfinite + other.nonfinite,
            mean=mean,
            std=std,
            min=np.fmin(self.min, other.min),
            max=np.fmax(self.max, other.max),
            zero_share=_weighted(share, self.zero_share, other.zero_share),
            sampled=self.sampled + other.sampled,
            values=values,
            w1_error=error,
            rank_error=rank,
            blocks=self.blocks.merge(other.blocks) if self.blocks is not None and other.blocks is not None else None,
            examples=other.examples if self.examples is None else self.examples if other.examples is None else None,
            tails=_merged_tails(self, other, values),
        )


@lru_cache(maxsize=2)  # Several windows in turn are compared with one, which is the same object.
def curve_of(distribution: Distribution) -> Curve:
    """Returns the quantile functions of a distribution."""
    return curve(distribution.values, distribution.sampled, distribution.tails, distribution.zero_share)


def empty(units: int, dtype: type[np.floating[Any]] = np.float32) -> Distribution:
    """Returns the distribution of nothing: merged with any other, it leaves that as it is."""
    nothing, undefined = np.zeros(units, np.int64), np.full(units, np.nan)
    return Distribution(
        count=nothing,
        nonfinite=nothing,
        mean=undefined,
        std=undefined,
        min=undefined,
        max=undefined,
        zero_share=undefined,
        sampled=nothing,
        values=np.empty((units, 0), dtype),
        w1_error=np.zeros(units),
        rank_error=0.0,
        blocks=no_blocks(units),
    )


def from_sample(sample: Sample) -> Distribution:
    """Returns a sample as a distribution without blocks; its moments are those of its values."""
    values = sample.values.astype(float)
    mean = std = low = high = zeros = np.full(len(values), np.nan)
    if values.shape[1]:
        power = np.frexp(np.nan_to_num(np.abs(values[:, [0, -1]]).max(1)))[1]  # The squares of 1e200 fit no float.
        mean, std = values.mean(1), np.ldexp(np.ldexp(values, -power[:, None]).std(1), power)
        low, high, zeros = values[:, 0], values[:, -1], (values == 0).mean(1)
    return Distribution(
        count=sample.sampled,
        nonfinite=np.zeros_like(sample.sampled),
        mean=mean,
        std=std,
        min=low,
        max=high,
        zero_share=zeros,
        sampled=sample.sampled,
        values=sample.values,
        w1_error=np.zeros(len(values)),
        rank_error=0.0,
    )


def slice_means(points: Floats, weights: Floats, slices: int) -> Floats:
    """Returns the means of `slices` equal slices of each row's quantile function [units, slices].

    NaN for rows without weight.

    points [units, m] sorted, NaN last; weights [units, m], 0 where the points are NaN.
    """
    return _Curves(points, weights).means(slices)


def reduce(points: Floats, weights: Floats, slices: int) -> tuple[Floats, Floats]:
    """Returns `slice_means`, and their Wasserstein-1 distance [units] from the points: the mean absolute deviation."""
    curves = _Curves(points, weights)
    means = curves.means(slices)
    return means, curves.deviation(means)


def ordered(points: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Returns points sorted within their rows, NaN last, and their weights [units, m], 0 for NaN.

    weights are [units, m] or, the same for all units, [m]. Points that come in sorted runs are merged, not sorted anew.
    """
    if weights.ndim == 1 and (weights == weights[:1]).all():
        points, weights = np.sort(points, axis=1), np.broadcast_to(weights, points.shape)
    else:
        order = np.argsort(points, axis=1, kind="stable")
        weights = weights[order] if weights.ndim == 1 else np.take_along_axis(weights, order, 1)
        points = np.take_along_axis(points, order, 1)
    missing = np.isnan(points)
    return points, np.where(missing, 0.0, weights) if missing.any() else weights


def summarise(points: Floats, weights: Floats, dtype: type[np.floating[Any]]) -> tuple[Floats, Floats, float]:
    """Returns the values to keep of `ordered` points, the W1 error of keeping only those, and the rank error.

    Points that weigh 1 are kept as they are, up to `EXACT` of them. A unit with fewer of them than others has
    as many values all the same, by reduction.
    """
    if points.shape[1] <= EXACT and np.all((weights == 1) | (weights == 0)):
        values: Floats = points.astype(dtype)
        error: Floats = np.zeros(len(points))
        fewer = np.flatnonzero((weights == 0).any(1))
        if not len(fewer):
            return values, error, 0.0
        values[fewer], error[fewer] = reduce(points[fewer], weights[fewer], points.shape[1])
        return values, error, 1.0 / points.shape[1] if weights[fewer].any() else 0.0
    values, error = reduce(points, weights, QUANTILES)
    return values.astype(dtype), error, 1.0 / QUANTILES


def weighted_values(values: Floats, sampled: Ints) -> tuple[Floats, Floats]:
    """Returns values of equal weight as weighted points: each stands for sampled / k activations, NaN for nothing."""
    width = max(values.shape[1], 1)
    weights = np.broadcast_to((sampled / width)[:, None], values.shape)
    return values, np.where(np.isnan(values), 0.0, weights)


def _shares(first: Ints, second: Ints) -> tuple[Floats, Floats]:
    total = np.maximum(first + second, 1)
    return first / total, second / total


def _weighted(share: tuple[Floats, Floats], first: Floats, second: Floats) -> Floats:
    """Weighted mean in which a share of 0 takes nothing, not even a NaN."""
    result = np.where(share[0] > 0, share[0] * first, 0.0) + np.where(share[1] > 0, share[1] * second, 0.0)
    return np.where(share[0] + share[1] > 0, result, np.nan)


def _merged_moments(a: Distribution, b: Distribution) -> tuple[Floats, Floats]:
    """Chan, Golub & LeVeque (1979): mean and standard deviation of two groups together."""
    share = _shares(a.count, b.count)
    mean = _weighted(share, a.mean, b.mean)
    with np.errstate(over="ignore"):
        spread_a = np.where(share[0] > 0, a.std**2 + (a.mean - mean) ** 2, np.nan)
        spread_b = np.where(share[1] > 0, b.std**2 + (b.mean - mean) ** 2, np.nan)
    return mean, np.sqrt(_weighted(share, spread_a, spread_b))


def _merged_values(a: Distribution, b: Distribution) -> tuple[Floats, Floats, float]:
    dtype = np.result_type(a.values, b.values).type
    if not a.values.shape[1] or not b.values.shape[1]:
        whole = a.values if a.values.shape[1] else b.values
        return whole.astype(dtype), np.zeros(a.units), 0.0
    return summarise(*ordered(*_pooled(a, b)), dtype)


def _merged_tails(a: Distribution, b: Distribution, values: Floats) -> Floats | None:
    if not a.values.shape[1] or not b.values.shape[1]:
        return a.tails if a.values.shape[1] else b.tails
    if not (a.sampled + b.sampled > values.shape[1]).any():
        return None
    return merged(_ends(a), _ends(b)).astype(values.dtype)


def _ends(distribution: Distribution) -> tuple[Floats, Floats]:
    """Returns the lowest and the highest values [units, k], one by one; NaN where they are not known."""
    if distribution.tails is not None:
        return distribution.tails[:, :TAIL], distribution.tails[:, TAIL:]
    single = (distribution.sampled == distribution.values.shape[1]) & (distribution.w1_error == 0)
    values = np.where(single[:, None], distribution.values, np.nan)
    return values[:, :TAIL], values[:, -TAIL:]


def _pooled(a: Distribution, b: Distribution) -> tuple[Floats, Floats]:
    (points_a, weights_a), (points_b, weights_b) = (weighted_values(one.values, one.sampled) for one in (a, b))
    points = np.concatenate([points_a, points_b], 1)
    whole = all((one.sampled == one.values.shape[1]).all() for one in (a, b))
    return points, np.ones(points.shape[1]) if whole else np.concatenate([weights_a, weights_b], 1)


class _Curves:
    """The quantile functions of all rows, and their integrals, laid end to end.

    Row u occupies the stretch from 2u to 2u + 1 of one long axis, so that one interpolation serves all rows; a call a
    row would cost more than what it computes. Values are taken from each row's smallest, for the precision of the
    sums.
    """

    def __init__(self, points: Floats, weights: Floats) -> None:
        units = len(points)
        self.total = weights.sum(1)
        seen = self.total > 0
        x = points.astype(float)
        self.first = np.where(seen, x[:, 0], 0.0) if x.shape[1] else np.zeros(units)
        x -= self.first[:, None]
        self.last = np.fmax.reduce(x, axis=1, initial=0.0)
        self.x = np.where(np.isnan(x), self.last[:, None], x)
        self.points = np.where(np.isnan(points), np.fmax.reduce(points, axis=1, initial=-np.inf)[:, None], points)
        share = weights / np.where(seen, self.total, 1.0)[:, None]
        self.start = 2.0 * np.arange(units)[:, None]
        self.place = np.zeros((units, x.shape[1] + 1))
        np.cumsum(share, axis=1, out=self.place[:, 1:])
        self.place[:, -1] = seen
        np.minimum(self.place, 1.0, out=self.place)
        self.integral = np.zeros_like(self.place)
        np.cumsum(share * self.x, axis=1, out=self.integral[:, 1:])

    def integral_at(self, places: Floats) -> Floats:
        """Integrals of the quantile functions from 0 to places [units, k] between 0 and 1."""
        axis = (self.place + self.start).ravel()
        return np.interp((places + self.start).ravel(), axis, self.integral.ravel()).reshape(places.shape)

    def means(self, slices: int) -> Floats:
        """Means of equal slices [units, slices]; a slice within a tie has its very value, which running sums miss."""
        edges = np.broadcast_to(np.linspace(0.0, 1.0, slices + 1), (len(self.first), slices + 1))
        means = np.diff(self.integral_at(edges), axis=1) * slices
        if self.x.shape[1]:
            low, high = (self._value_at(places) for places in (edges[:, :-1] + _ROUNDING, edges[:, 1:] - _ROUNDING))
            means = np.clip(means + self.first[:, None], low, high)
        means = np.maximum.accumulate(means, axis=1)
        means[self.total == 0] = np.nan
        return means

    def _value_at(self, places: Floats) -> Floats:
        """The quantile functions at places [units, k] strictly between 0 and 1: values as they were given."""
        axis = (self.place[:, 1:] + self.start).ravel()
        reached = np.searchsorted(axis, (places + self.start).ravel()).reshape(places.shape)
        place = np.clip(reached - np.arange(len(places))[:, None] * self.x.shape[1], 0, self.x.shape[1] - 1)
        return np.take_along_axis(self.points, place, 1)

    def deviation(self, means: Floats) -> Floats:
        """Mean absolute difference [units] of the quantile functions and their slice means.

        It is twice what lies above the means, from where the quantile function crosses the mean to the slice's end.
        """
        relative = np.where(np.isnan(means), 0.0, means - self.first[:, None])
        scale = np.where(self.last > 0, self.last, 1.0)[:, None]
        keys = (self.x / scale + self.start).ravel()
        reached = np.searchsorted(keys, (relative / scale + self.start).ravel(), side="right").reshape(means.shape)
        below = reached - np.arange(len(means))[:, None] * self.x.shape[1]
        edges = np.linspace(0.0, 1.0, means.shape[1] + 1)
        crossing = np.clip(np.take_along_axis(self.place, np.clip(below, 0, self.x.shape[1]), 1), edges[:-1], edges[1:])
        ends = np.broadcast_to(edges[1:], means.shape)
        above = self.integral_at(ends) - self.integral_at(crossing) - relative * (ends - crossing)
        return np.where(self.total > 0, np.maximum(2.0 * above.sum(1), 0.0), 0.0)
