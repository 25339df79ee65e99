"""The noise floor of one window against another: the drift that sampling alone would show.

It is the root mean square over exchanges of blocks between the two windows (`exchange.py`) in which as many blocks
change places as do not, so that what moved is in none of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from icshift.analysis import over_units
from icshift.analysis.metrics import Metric
from icshift.analysis.noise_of_metrics import resampled
from icshift.blocks import Floats
from icshift.distribution import Distribution
from icshift.noise.exchange import Noise, differences, matching, noise

_ROUNDING = 1e-5
"""Noise of up to this share of a drift is rounding."""


def floor(metric: Metric, a: Distribution, b: Distribution, shown: Floats | None = None) -> Floats:
    """Returns what `metric` between a and b would show by sampling noise alone [units]; NaN where that is not known.

    `shown` is what it shows, where that was computed before.

    It is not known with fewer blocks than `exchange.FEWEST`, of units that are `unresolved`, and for metrics by
    example: where there are examples, there is no sampling noise. 0 for two probes: with the same inputs in both there
    is none either.

    Eight slices of the quantile function do not show all of its noise: the floor of W1 is some 10 % low of a normal, 20
    % of heavy tails, and up to 20 % high of two narrow peaks.
    """
    if metric.by_example:
        return np.full(len(metric.n(a, b)), np.nan)
    if a.blocks is None and b.blocks is None:
        return np.zeros(a.units)
    found = _drawn(a, b)
    if found is None:
        return np.full(a.units, np.nan)
    known, drawn = found
    if not metric.of_noise:
        return np.where(known, over_units.rms(resampled(metric.function, drawn, a, b)), np.nan)
    level = over_units.rms(metric.of_noise(drawn, a, b))
    # Windows over the same examples in the same order have no noise: what is left is rounding of their difference.
    rounding = _ROUNDING * np.abs(metric.function(a, b) if shown is None else shown)
    level = np.where(level > rounding, level, 0.0)
    return np.where(known & ((level > 0) | ~unresolved(a, b)), level, np.nan)


def unresolved(a: Distribution, b: Distribution) -> NDArray[np.bool_]:
    """Returns which units vary, but by no more than the step from their mean to the next number in float32.

    Blocks that keep float32 may then be equal where values are not: that they do not differ says nothing.
    """
    if not any(one.blocks is not None and one.blocks.slices.dtype == np.float32 for one in (a, b)):
        return np.zeros(a.units, bool)
    spread = np.fmax(a.std, b.std)
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.fmax(np.abs(a.mean), np.abs(b.mean)).astype(np.float32))
    return np.asarray((spread > 0) & (spread <= step))


@lru_cache(maxsize=1)  # Several metrics in turn are asked of the same two windows.
def _drawn(a: Distribution, b: Distribution) -> tuple[NDArray[np.bool_], Noise] | None:
    """Returns which units have known noise, and draws of it; None where none has."""
    count = matching(a.blocks, b.blocks)
    if a.blocks is None or b.blocks is None or count is None:
        return None
    apart = differences(a.blocks, b.blocks, count)
    return (apart.known, noise(apart)) if apart.known.any() else None
