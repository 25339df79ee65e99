"""One site in one window beside what it is compared with, and the floor of what a metric shows of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of one site in order of windows, each made when it is asked for: what is read of one is forgotten
    with it.

    `windows` are those compared, at least one, each with the name of its reference and where that is.
    """

    site: Site
    run: StoredRun
    phase: str
    windows: Sequence[tuple[Window, str, Place]]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> Comparison:
        window, label, place = self.windows[number]
        here = self.run, self.phase, window.index
        lags = lags_of(self.site, place, here)
        return Comparison(self.site, self.phase, window, label, self._of(place), self._of(here), lags)

    def __iter__(self) -> Iterator[Comparison]:
        return map(self.__getitem__, range(len(self.windows)))

    @cached_property
    def numbers(self) -> dict[int, int]:
        """The place in order of each window that is compared, by its number."""
        return {window.index: number for number, (window, *_) in enumerate(self.windows)}

    def _of(self, place: Place) -> Distribution:
        run, phase, window = place
        found = run.distribution(phase, self.site.name, window)
        assert found is not None
        return found


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
