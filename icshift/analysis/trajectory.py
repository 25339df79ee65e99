"""The path of every site from window to window and its displacement from the first to the last: jitter against trend.

The path is the sum of the drifts from one window to the next, the displacement the drift from the first to the last.
Sampling noise adds to every part of the path, so a path under noise grows with the number of windows although nothing
moves: it has to be compared with its floor, and only between runs with windows of the same length. The paths of
a probe have no such noise.

Metrics in units of sd measure every part of a path, and the displacement, in one sd (see `yardstick.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pandas as pd

from icshift.analysis.comparison import Comparison, floor_of, lags_of
from icshift.analysis.drift import default_phase, refuse_without_examples
from icshift.analysis.metrics import DEFAULT, Metric
from icshift.analysis.metrics import metric as metric_named
from icshift.analysis.over_units import median
from icshift.analysis.yardstick import with_one_sd
from icshift.distribution import Distribution
from icshift.errors import SelectionError
from icshift.runs.format import Site, Window
from icshift.runs.frames import in_model_order
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

_Recorded: TypeAlias = "Sequence[tuple[Window, Distribution]]"
"""The windows of a site in order, each with its distribution."""


@dataclass(frozen=True)
class _Path:
    """The windows that have a site, in order, at least two."""

    run: StoredRun
    site: Site
    phase: str
    recorded: _Recorded

    @property
    def steps(self) -> list[Comparison]:
        """Every window but the first against the one before."""
        return [self._compared(a, b) for a, b in pairwise(self.recorded)]

    @property
    def whole(self) -> Comparison:
        """The last window against the first."""
        return self._compared(self.recorded[0], self.recorded[-1])

    def _compared(self, before: tuple[Window, Distribution], after: tuple[Window, Distribution]) -> Comparison:
        places = [(self.run, self.phase, window.index) for window, _ in (before, after)]
        lags = lags_of(self.site, *places)
        return Comparison(self.site, self.phase, after[0], before[0].name, before[1], after[1], lags)


def trajectory(
    run: StoredRun, *, metric_name: str = DEFAULT, phase: str | None = None, sites: Iterable[str] | None = None
) -> pd.DataFrame:
    """Returns a data frame with one row per site in model order; sites with fewer than two windows are left out.

    `path` is the median over units of the sum of the drifts between consecutive windows, `displacement` that of the
    drift from the `first` to the `last` window, both in absolute value and in the metric's unit (sd: of all windows);
    `floor` and `displacement_floor` are the same of what sampling noise alone would show. `straightness` is
    displacement / path: near 1 a trend, near 0 to and fro. Units that are near-constant in any of these comparisons are
    left out.

    `parameter_path` is the sum of the L2 norms of the changes of all parameters from window to window (the same for all
    sites of the same windows), `per_change` the median over windows of the site's drift (the median of its units) over
    that change; both are NaN where the changes are not known. `n` is the median number of activations a unit and
    window. `trend` is a list of the site's drifts along the path, `trend_floor` of their floors, `trend_windows` of the
    numbers of their windows. `noiseless` is true in phases with the same inputs in every window, other than by running
    averages.

    Raises `SelectionError` for a metric, phase or site that is not there, for a metric whose values do not add up, and
    for a phase with fewer than two windows.
    """
    metric = metric_named(metric_name)
    if not metric.adds_up:
        raise SelectionError(f"{metric.name} gives no path: {metric.not_additive}; choose another, as w1")
    phase = default_phase(run) if phase is None else run.phase(phase)
    recorded = {site: _recorded(run, phase, site) for site in choose(run.sites, sites)}
    longest = max(map(len, recorded.values()), default=0)
    if longest < 2:
        raise SelectionError(f"a path takes at least two windows of a phase, phase {phase} has {longest}")
    paths = [_Path(run, site, phase, of_site) for site, of_site in recorded.items() if len(of_site) > 1]
    refuse_without_examples(metric, run, phase, (path.steps[-1] for path in paths))
    del recorded  # What is read of a site is forgotten with it.
    return in_model_order(pd.DataFrame([_row(metric, paths.pop(0)) for _ in range(len(paths))]), run.sites)


def _recorded(run: StoredRun, phase: str, site: Site) -> _Recorded:
    """Returns the windows that have the site, in order, of as many units as it has in the last; others are left out."""
    recorded = [(w, d) for w in run.window_list if (d := run.distribution(phase, site.name, w.index)) is not None]
    return [(window, distribution) for window, distribution in recorded if distribution.units == recorded[-1][1].units]


def _row(metric: Metric, path: _Path) -> dict[str, object]:
    site, recorded = path.site, path.recorded
    metric = with_one_sd(metric, [distribution for _, distribution in recorded])
    steps, whole = path.steps, path.whole
    still = np.any([metric.near_constant(step.before, step.after) for step in (*steps, whole)], axis=0)
    drifts = np.array([np.abs(metric.function(step.before, step.after)) for step in steps])[:, ~still]
    noise = np.array([floor_of(metric, step) for step in steps])[:, ~still]
    length, came = median(drifts.sum(0)), median(np.abs(metric.function(whole.before, whole.after))[~still])
    trend = [median(values) for values in drifts]
    changes = [_change(before[0], after[0]) for before, after in pairwise(recorded)]
    return {
        "site": site.name,
        "type": site.type,
        "phase": path.phase,
        "metric": metric.name,
        "windows": len(recorded),
        "first": recorded[0][0].name,
        "last": recorded[-1][0].name,
        "units": whole.after.units,
        "near_constant": int(still.sum()),
        "n": int(np.median([metric.n(step.before, step.after) for step in steps])),
        "path": length,
        "floor": median(noise.sum(0)),
        "displacement": came,
        "displacement_floor": median(floor_of(metric, whole)[~still]),
        "straightness": came / length if length > 0 else np.nan,
        "parameter_path": float(np.sum(changes)),
        "per_change": median(np.array([d / c if c > 0 else np.nan for d, c in zip(trend, changes, strict=True)])),
        "noiseless": all(step.noiseless for step in steps),
        "trend": trend,
        "trend_floor": [median(values) for values in noise],
        "trend_windows": [step.window.index for step in steps],
    }


def _change(before: Window, after: Window) -> float:
    """Returns the L2 norm of the change of the parameters between two windows.

    It is NaN where it was not recorded, and where the windows are not consecutive.
    """
    known = after.parameter_change is not None and after.index == before.index + 1
    return float(after.parameter_change or 0.0) if known else np.nan
