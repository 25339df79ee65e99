"""Median and quantiles over the units of a site whose value is known: the numbers about a site as a whole."""

from __future__ import annotations

import numpy as np

from icshift.distribution import Floats


def median(values: Floats) -> float:
    """Returns the median of the finite values [units]; NaN where there is none."""
    return quantile(values, 0.5)


def quantile(values: Floats, probability: float) -> float:
    """Returns a quantile of the finite values [units], by linear interpolation; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, probability)) if len(known) else np.nan
