"""The values of one run that runs are compared by: how far every site went, over a window and in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from icshift.analysis.comparison import Comparison, floor_of
from icshift.analysis.drift import by_site
from icshift.analysis.metrics import metric as metric_named
from icshift.analysis.over_units import median
from icshift.analysis.trajectory import trajectory
from icshift.runs.reader import StoredRun

METRICS = ("w1_sd", "w1")
"""In units of the unit's standard deviation, and in units of its activations: rescaling a unit changes the second."""

PATH, LAST, WINDOW = "path", "last", "window"
"""What a value is of: the sum over all windows, the last window, or one window among all.

Of `w1_sd` path and window have one yardstick a unit, its sd over all windows, and last has that of the two windows that
it compares, as in `icshift report`.
"""


def values_of(run: StoredRun, *, phases: Sequence[str], sites: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns a data frame with one row per phase, site, metric and span, of `window` one per window.

    `value` is the median over the site's units, without near-constant ones, in the metric's `metric_unit`, and `floor`
    what sampling noise alone would show, its error of measurement: 0 in a probe. `window` is the number of the window,
    of paths that of their last one. Raises `SelectionError` for a phase or site that is not there, and for a phase of
    fewer than two windows.
    """
    rows: list[dict[str, Any]] = []
    for phase in phases:
        last = {site.name: compared[-1] for site, compared in by_site(run, phase=phase, sites=sites)}
        for name in METRICS:
            for row in trajectory(run, metric_name=name, phase=phase, sites=sites).to_dict(orient="records"):
                rows += _rows(row, last[row["site"]])
    return pd.DataFrame(rows)


def _rows(path: Mapping[Any, Any], last: Comparison) -> list[dict[str, Any]]:
    metric = metric_named(path["metric"])
    same = {"phase": path["phase"], "site": path["site"], "metric": metric.name, "metric_unit": metric.unit}
    steady = ~metric.near_constant(last.before, last.after)
    value = median(np.abs(metric.function(last.before, last.after))[steady])
    windows = path["trend_windows"]
    spans = [
        (PATH, windows[-1], path["path"], path["floor"]),
        (LAST, last.window.index, value, median(floor_of(metric, last)[steady])),
        *((WINDOW, *each) for each in zip(windows, path["trend"], path["trend_floor"], strict=True)),
    ]
    return [
        same | {"span": span, "window": window, "value": value, "floor": level} for span, window, value, level in spans
    ]
