"""The noise floor between two data sets: the drift that sampling alone would show.

Each data set was dealt to up to 16 parts. These are split into halves in every way of a Hadamard matrix, 15 ways for 16
parts, of which no two say the same; the differences between halves show what sampling does. The noise of a data set is
to that of its halves as 1 to 2; both data sets' variances add up, so that one may be noisier or smaller than the other.
(Permuting the parts of both together would count the shift as noise.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import hadamard
from scipy.special import gammaincc

from icshift.analysis.metrics import Metric
from icshift.distribution import SAMPLE_QUANTILES, Floats, Sample, from_sample

_PRIOR = 4
"""The noise of a unit is estimated from its own draws and from so many more of the size typical of its site."""

_MOST = 16
"""Number of parts that are split into halves, at most; where there are more, neighbours are joined."""


@dataclass(frozen=True, eq=False)
class Noise:
    """The sampling noise of a metric between two data sets.

    `draws` [draws, units] are values that the metric shows by sampling noise alone; there may be none. `values` [units]
    are those that it shows between the data sets. Both are computed from the parts, so that an error of these (large
    parts hold slice means) is the same in both.
    """

    values: Floats
    draws: Floats

    @property
    def floor(self) -> Floats:
        """Root mean square of the draws [units], mixed with the one typical of the site; NaN without draws."""
        if not len(self.draws):
            return np.full(len(self.values), np.nan)
        return self._level(np.sum(self.draws**2, axis=0), len(self.draws))

    @property
    def p_values(self) -> Floats:
        """Probability [units] of values as large by noise alone; NaN where that cannot be known.

        Draws in units of the noise, each without its own share in it, are fitted by a gamma distribution over all units
        of the site. The noise of W1 has a lighter tail than that, so this is on the safe side.
        """
        values, unknown = np.abs(self.values), np.full(len(self.values), np.nan)
        if len(self.draws) < 2:
            return unknown
        squares = self.draws**2
        total = squares.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = self.draws / self._level(total - squares, len(self.draws) - 1)
            scaled = values / self.floor
        known = relative[np.isfinite(relative)]
        if not self.draws.any():  # All is constant: a difference is no noise.
            return np.where(np.isnan(values), np.nan, np.where(values > 0, 0.0, 1.0))
        if len(known) < 2 or not known.var() > 0:
            return unknown
        shape, scale = known.mean() ** 2 / known.var(), known.var() / known.mean()
        return np.asarray(gammaincc(shape, scaled / scale))

    def _level(self, squares: Floats, draws: int) -> Floats:
        typical = (self.draws**2).mean(0)
        known = typical[np.isfinite(typical)]
        prior = float(np.median(known)) if len(known) else np.nan
        return np.sqrt((squares + _PRIOR * prior) / (draws + _PRIOR))


def noise(metric: Metric, reference: Sequence[Sample], data: Sequence[Sample], units: int) -> Noise:
    """Returns the noise of a metric between two data sets, given as the parts of each.

    Where only one has several parts, the noise of the other is taken to be the same but for its number of activations.
    """
    if not reference or not data:
        return Noise(np.full(units, np.nan), np.empty((0, units)))
    own = [_draws(metric, parts) for parts in (reference, data)]
    n = [sum(part.sampled for part in parts) for parts in (reference, data)]
    with np.errstate(invalid="ignore", divide="ignore"):
        power = 2 / metric.noise
        levels = [np.mean(draws**power, axis=0) if len(draws) else None for draws in own]
        if levels[0] is not None and levels[1] is not None:
            more = _typical(levels[1] / levels[0])
        else:
            more = _typical(np.asarray(n[0], float) / n[1])
        scaled = [
            draws * np.sqrt(1 + ratio) ** metric.noise for draws, ratio in zip(own, (more, 1 / more), strict=True)
        ]
    return Noise(metric.function(*(from_sample(_joined(parts)) for parts in (reference, data))), np.concatenate(scaled))


def simes(p: Floats) -> float:
    """Returns the probability of p-values [units] as small by noise alone (Simes 1986); NaN if none is known."""
    known = np.sort(p[np.isfinite(p)])
    return float(np.min(known * len(known) / np.arange(1, len(known) + 1))) if len(known) else np.nan


def _draws(metric: Metric, parts: Sequence[Sample]) -> Floats:
    """Returns the differences [splits, units] between halves of the parts, scaled to the noise of the whole."""
    count = min(_MOST, 1 << len(parts).bit_length() - 1)
    if count < 2:
        return np.empty((0, len(parts[0].sampled)))
    grouped = [_joined(group) for group in _groups(parts, count)]
    draws = []
    for signs in hadamard(count)[1:]:
        halves = [
            _joined([part for part, sign in zip(grouped, signs, strict=True) if sign == side]) for side in (1, -1)
        ]
        odd, even = (half.sampled for half in halves)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt(1 / (odd + even) / (1 / odd + 1 / even))
        apart = np.abs(metric.function(from_sample(halves[0]), from_sample(halves[1]))) * scale**metric.noise
        # A half of one value has no spread: in units of that, any number could come out.
        draws.append(np.where((odd > 1) & (even > 1), apart, np.nan))
    return np.array(draws)


def _groups(parts: Sequence[Sample], count: int) -> list[Sequence[Sample]]:
    edges = np.linspace(0, len(parts), count + 1).round().astype(int)
    return [parts[start:stop] for start, stop in pairwise(edges)]


def _joined(parts: Sequence[Sample]) -> Sample:
    """Returns parts of almost equal size as one.

    Where parts are slice means, so is the whole: the same slice of several parts is one cluster of values, and pairs of
    values out of two clusters would differ by more than the clusters do, in all units alike.
    """
    values = np.sort(np.concatenate([part.values for part in parts], axis=1), axis=1)
    sliced = any((part.sampled > part.values.shape[1]).any() for part in parts)
    if sliced and values.shape[1] % SAMPLE_QUANTILES == 0:
        values = values.reshape(len(values), SAMPLE_QUANTILES, -1).mean(2)
    return Sample(values, np.sum([part.sampled for part in parts], axis=0))


def _typical(ratios: Floats) -> float:
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    return float(np.median(known)) if len(known) else 1.0
