"""One sd for many windows: what drifts in units of sd are measured by where they are set side by side or added up.

The sd of each pair of windows, which drift has, would be another yardstick for every pair: a spread that grows would
look like going to and fro, and one that collapses like a long way (34,040 sd for 1 activation unit, in a network of
small initial weights).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from icshift.analysis.distances import effective_std, least_std
from icshift.analysis.metrics import Metric
from icshift.distribution import Distribution, Floats


class Yardstick:
    """One sd of each unit over all windows, which are added one after another; `windows` is their number."""

    def __init__(self) -> None:
        self.windows = 0
        self._spread, self._size = np.zeros(1), np.zeros(1)

    def add(self, distribution: Distribution) -> None:
        """Take another window into account."""
        self.windows += 1
        self._spread = np.hypot(self._spread, distribution.std)
        self._size = np.maximum(self._size, np.abs(distribution.mean))

    def of(self, metric: Metric) -> Metric:
        """Returns the metric with this sd where its unit is sd; others as they are."""
        if metric.unit != "sd":
            return metric
        spread = self._spread / np.sqrt(self.windows)
        yardstick = np.maximum(spread, least_std(spread, self._size))
        of_noise = metric.of_noise

        def scaled(value: Floats, a: Distribution, b: Distribution) -> Floats:
            with np.errstate(invalid="ignore"):  # Of a standard deviation whose square has no number nothing is known.
                return np.asarray(value * effective_std(a, b) / yardstick)

        return replace(
            metric,
            function=lambda a, b: scaled(metric.function(a, b), a, b),
            of_noise=of_noise and (lambda noise, a, b: scaled(of_noise(noise, a, b), a, b)),
        )


def with_one_sd(metric: Metric, windows: Iterable[Distribution]) -> Metric:
    """Returns the metric with one sd for all these windows where its unit is sd; others as they are."""
    yardstick = Yardstick()
    for distribution in windows:
        yardstick.add(distribution)
    return yardstick.of(metric)
