"""Median and quantiles over the units of a site whose value is known, the numbers about a site as a whole; and a root
mean square."""

from __future__ import annotations

from typing import Any

import numpy as np

from icshift.distribution import Floats


def median(values: Floats) -> float:
    """Returns the median of the finite values [units]; NaN where there is none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.nan
    low, high = _middle(known)
    return float(high - (high - low) * 0.5)  # As `quantile` does it.


def median_of(known: Floats) -> float:
    """Returns the median of some values, at least one, as NumPy does, in less time. They change their order."""
    low, high = _middle(known)
    return float((low + high) / 2)


def _middle(known: Floats) -> tuple[Any, Any]:
    """Returns the two values in the middle; one twice of an odd number."""
    half = len(known) // 2
    if len(known) % 2:
        known.partition(half)
        return known[half], known[half]
    known.partition((half - 1, half))
    return known[half - 1], known[half]


def quantile(values: Floats, probability: float) -> float:
    """Returns a quantile of the finite values [units], by linear interpolation; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, probability)) if len(known) else np.nan


def rms(draws: Floats) -> Floats:
    """Returns the root mean square over the first axis, also of values like 1e200 of which the squares fit no float."""
    largest = np.abs(draws).max(0, initial=0.0)
    power = np.frexp(np.where(np.isfinite(largest), largest, 0.0))[1]
    return np.asarray(np.ldexp(np.sqrt(np.mean(np.ldexp(draws, -power) ** 2, axis=0)), power))
