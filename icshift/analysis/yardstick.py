"""One sd for many windows: what drifts in units of sd are measured by where they are set side by side or added up.

The sd of each pair of windows, which drift has, would be another yardstick for every pair: a spread that grows would
look like going to and fro, and one that collapses like a long way (34,040 sd for 1 activation unit, in a network of
small initial weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from icshift.analysis.distances import effective_std, least_std
from icshift.analysis.metrics import Metric
from icshift.distribution import Distribution, Floats


def with_one_sd(metric: Metric, windows: Sequence[Distribution]) -> Metric:
    """Returns the metric with one sd, that of each unit over all windows, where its unit is sd; others as they are."""
    if metric.unit != "sd":
        return metric
    spread = np.hypot.reduce([distribution.std for distribution in windows]) / np.sqrt(len(windows))
    size = np.max([np.abs(distribution.mean) for distribution in windows], axis=0)
    yardstick = np.maximum(spread, least_std(spread, size))
    of_noise = metric.of_noise

    def scaled(value: Floats, a: Distribution, b: Distribution) -> Floats:
        with np.errstate(invalid="ignore"):  # Of a standard deviation whose square has no number nothing is known.
            return np.asarray(value * effective_std(a, b) / yardstick)

    return replace(
        metric,
        function=lambda a, b: scaled(metric.function(a, b), a, b),
        of_noise=of_noise and (lambda noise, a, b: scaled(of_noise(noise, a, b), a, b)),
    )
