"""One site in one window beside what it is compared with, and the floor of what a metric shows of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from icshift.analysis.floor import floor
from icshift.analysis.metrics import Metric
from icshift.distribution import Distribution, Floats
from icshift.runs.format import Site, Window
from icshift.runs.phases import PROBE, PROBE_RUNNING
from icshift.runs.reader import StoredRun

Place: TypeAlias = "tuple[StoredRun, str, int]"
"""A run, a phase and the number of a window."""

Lag: TypeAlias = "tuple[Distribution, Distribution] | None"
"""A window of a site by the statistics of its own inputs and by running averages; None where one was not recorded."""


@dataclass(frozen=True)
class Comparison:
    """One site in one window, and what it is compared with.

    `after` is the distribution of `window`, `before` that of the reference, which `reference` names.

    `lags` are of those of its two windows that are by running averages (phase `probe-running`): what the averages do.
    """

    site: Site
    phase: str
    window: Window
    reference: str
    before: Distribution
    after: Distribution
    lags: tuple[Lag, ...] = ()

    @property
    def noiseless(self) -> bool:
        """Whether both windows are of a probe in which nothing but the parameters changes."""
        return self.before.blocks is None and self.after.blocks is None and not self.lags


def lags_of(site: Site, *places: Place) -> tuple[Lag, ...]:
    """Returns the lag of every place that is by running averages."""
    return tuple(_lag(site, *place) for place in places if place[1] == PROBE_RUNNING)


def _lag(site: Site, run: StoredRun, phase: str, window: int) -> Lag:
    own, running = (run.distribution(name, site.name, window) for name in (PROBE, phase))
    return None if own is None or running is None else (own, running)


def floor_of(metric: Metric, comparison: Comparison, shown: Floats | None = None) -> Floats:
    """Returns what the metric would show [units] if the parameters had not changed; `shown` is what it shows, if known.

    That is the noise of sampling (see `floor.floor`) and, by running averages, their lag: how far they put a window
    from what it is by the statistics of its own inputs, the larger of both windows; NaN where that is not known.
    """
    if not comparison.lags or metric.by_example:
        return floor(metric, comparison.before, comparison.after, shown)
    apart = [
        np.full(comparison.after.units, np.nan) if lag is None else metric.function(*lag) for lag in comparison.lags
    ]
    return np.asarray(np.max(np.abs(apart), axis=0))
