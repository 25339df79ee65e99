"""What a metric shows by noise alone, from how far noise moves the quantile function: draws [draws, units].

Every function takes the `Noise` between two windows and their distributions, the reference first. Metrics without one
of their own are computed from the windows' mean quantile function, moved apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from icshift.analysis import over_units
from icshift.analysis.distances import effective_std
from icshift.blocks import SLICES, Floats
from icshift.distribution import Distribution, Sample, from_sample
from icshift.noise.exchange import Noise

_PLACES = 64 * SLICES
"""Places of the quantile function that are moved."""

_PROBABILITIES = tuple(((np.arange(_PLACES) + 0.5) / _PLACES).tolist())

_FAR = 1e100
"""Times that ranks are moved at most: from far less on they are all at the ends."""

_DRAWS = 9
"""Draws of what sampling does to ranks."""


def w1(noise: Noise, _: Distribution, __: Distribution) -> Floats:
    """Mean distance that the slices move."""
    return noise.distance


def w1_sd(noise: Noise, a: Distribution, b: Distribution) -> Floats:
    """The same in units of `effective_std`."""
    return w1(noise, a, b) / effective_std(a, b)


def w2_location(noise: Noise, _: Distribution, __: Distribution) -> Floats:
    """Distance that the mean moves."""
    return np.abs(noise.displacement.mean(2))


def mean_shift_sd(noise: Noise, a: Distribution, b: Distribution) -> Floats:
    """The same in units of `effective_std`."""
    return w2_location(noise, a, b) / effective_std(a, b)


def zero_share(noise: Noise, _: Distribution, __: Distribution) -> Floats:
    """How far the share of exact zeros moves."""
    return np.abs(noise.zeros)


def resampled(
    function: Callable[[Distribution, Distribution], Floats], noise: Noise, a: Distribution, b: Distribution
) -> Floats:
    """Any function of two distributions, of the windows' mean quantile function and what sampling makes of it.

    Sampling moves the ranks of a sample by a Brownian bridge over the root of n (Shorack & Wellner 1986, ch. 3), so
    that gaps, ties and tails vary as they do in truth. The number of independent values that n stands for is taken from
    the blocks: as many as make slices of the quantile function move as far.
    """
    middle = (a.quantile(_PROBABILITIES) + b.quantile(_PROBABILITIES)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(1 / a.sampled + 1 / b.sampled)
        iid = [_slices(_at_ranks(middle, bridge, scale) - middle) for bridge in _bridges()]
        # Constants show no rank: there the quotient is of rounding to 0, and any number that can be multiplied will do.
        scale = np.minimum(scale * np.nan_to_num(over_units.rms(noise.distance) / _size(np.array(iid))), _FAR)
    all_of_them = np.full(a.units, _PLACES)  # of slice means, every draw would be spread out anew
    still = from_sample(Sample(middle, all_of_them))
    moved = (np.sort(_at_ranks(middle, bridge, scale), axis=1) for bridge in _bridges())
    return np.array([function(still, from_sample(Sample(values, all_of_them))) for values in moved])


def _size(displacement: Floats) -> Floats:
    """Returns the root mean square over draws of the mean distance that slices move [units]."""
    return over_units.rms(np.abs(displacement).mean(2))


def _slices(values: Floats) -> Floats:
    return np.asarray(values.reshape(len(values), SLICES, -1).mean(2))


def _at_ranks(middle: Floats, bridge: Floats, scale: Floats) -> Floats:
    """Returns the quantile functions [units, places] at places moved by a bridge [places] times a scale [units]."""
    place = np.clip((np.array(_PROBABILITIES) + bridge * scale[:, None]) * _PLACES - 0.5, 0, _PLACES - 1)
    low = np.minimum(np.nan_to_num(place).astype(int), _PLACES - 2)
    part = place - low
    return np.take_along_axis(middle, low, 1) * (1 - part) + np.take_along_axis(middle, low + 1, 1) * part


@cache
def _bridges() -> Floats:
    """Returns Brownian bridges [draws, places], the same every time."""
    steps = np.random.default_rng(_PLACES).normal(size=(_DRAWS, _PLACES + 1)) / np.sqrt(_PLACES + 1)
    walks = np.cumsum(steps, axis=1)
    return walks[:, :-1] - np.arange(1, _PLACES + 1) / (_PLACES + 1) * walks[:, -1:]
