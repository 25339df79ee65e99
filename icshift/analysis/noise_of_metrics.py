"""What a metric shows by noise alone, from how far noise moves the quantile function: draws [draws, units].

Every function takes the `Noise` between two windows and their distributions, the reference first. Metrics without one
of their own are computed from the windows' mean quantile function, moved apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from icshift.analysis.distances import effective_std
from icshift.analysis.exchange import Noise
from icshift.blocks import SLICES, Floats
from icshift.distribution import Distribution, Sample, from_sample

_PLACES = 32 * SLICES
"""Places of the quantile function that are moved."""


def w1(noise: Noise, _: Distribution, __: Distribution) -> Floats:
    """Mean distance that the slices move."""
    return np.asarray(np.abs(noise.displacement).mean(2))


def w1_sd(noise: Noise, a: Distribution, b: Distribution) -> Floats:
    """The same in units of `effective_std`."""
    return w1(noise, a, b) / effective_std(a, b)


def w2(noise: Noise, _: Distribution, __: Distribution) -> Floats:
    """Root of the mean square of the distances that the slices move."""
    return np.asarray(np.sqrt((noise.displacement**2).mean(2)))


def w2_location(noise: Noise, _: Distribution, __: Distribution) -> Floats:
    """Distance that the mean moves."""
    return np.abs(noise.displacement.mean(2))


def mean_shift_sd(noise: Noise, a: Distribution, b: Distribution) -> Floats:
    """The same in units of `effective_std`."""
    return w2_location(noise, a, b) / effective_std(a, b)


def zero_share(noise: Noise, _: Distribution, __: Distribution) -> Floats:
    """How far the share of exact zeros moves."""
    return np.abs(noise.zeros)


def displaced(
    function: Callable[[Distribution, Distribution], Floats], noise: Noise, a: Distribution, b: Distribution
) -> Floats:
    """Any function of two distributions, of the windows' mean quantile function moved by noise to either side."""
    places = ((np.arange(_PLACES) + 0.5) / _PLACES).tolist()
    middle = (a.quantile(places) + b.quantile(places)) / 2
    values = []
    for draw in noise.displacement:
        half = np.repeat(draw, _PLACES // draw.shape[1], axis=1) / 2
        sides = [
            from_sample(Sample(np.sort(middle + sign * half, axis=1), window.sampled))
            for sign, window in ((-1, a), (1, b))
        ]
        values.append(function(sides[0], sides[1]))
    return np.array(values)
