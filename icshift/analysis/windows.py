"""Which window is looked at: the last one, another one, the one in which most moved, or all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from icshift.analysis import over_units
from icshift.analysis.comparison import Comparison, floor_of
from icshift.analysis.drift import by_site, default_phase, movements, refuse_without_examples
from icshift.analysis.metrics import DEFAULT, Metric
from icshift.analysis.metrics import metric as metric_named
from icshift.errors import SelectionError, listed
from icshift.noise.movement import FALSE_ALARMS
from icshift.runs.frames import in_model_order
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

LAST, WORST, ALL = "last", "worst", "all"
"""What stands for a window beside its name and its number."""


@dataclass(frozen=True)
class AsOf:
    """A run as if it had ended with the window that was asked for.

    `searched` is the number of windows that this one was chosen from for what it shows: a statement about it has to
    hold for each of them. It is 1 where the window was named.
    """

    run: StoredRun
    searched: int = 1

    @property
    def level(self) -> float:
        """The share of windows in which nothing moved that may show a site, for all that were searched together."""
        return FALSE_ALARMS / self.searched


def as_of(
    run: StoredRun,
    window: str,
    *,
    metric_name: str = DEFAULT,
    reference: str | int = "previous",
    phase: str | None = None,
    sites: str | Iterable[str] | None = None,
) -> AsOf:
    """Returns the run up to a window: `LAST`, `WORST`, or a window's name or number.

    The worst is the one in which a site drifted furthest against its floor; in units of the metric where there is no
    floor. Raises `SelectionError` for a window that is not there or has nothing to compare, and for what is not there
    of the rest.
    """
    if window == LAST:
        return AsOf(run)
    table = by_window(run, metric_name=metric_name, reference=reference, phase=phase, sites=sites)
    if window == WORST:
        if table.empty:
            return AsOf(run)
        return AsOf(run.until(run.window(int(worst(table)["window"]))), table["window"].nunique())
    asked = run.window(window)
    if asked.index not in set(table["window"]):
        names = listed(dict.fromkeys(table["name"]), none="none has")
        raise SelectionError(f"window {asked.name} has nothing to compare it with; windows that have: {names}")
    return AsOf(run.until(asked))


def by_window(
    run: StoredRun,
    *,
    metric_name: str = DEFAULT,
    reference: str | int = "previous",
    phase: str | None = None,
    sites: str | Iterable[str] | None = None,
) -> pd.DataFrame:
    """Returns a data frame with one row per site and window that have the reference, in model order.

    `drift`, the median of the units' absolute drifts, and `floor` are over the units that are not near-constant, in the
    metric's unit, `ratio` is drift / floor, NaN where there is no floor. `moved` is whether the site moved beyond
    noise, NA where that cannot be told; it is wrong in 5 % of the windows in which nothing moved. `window` is the
    number, `name` the name of the window. Raises `SelectionError` for what is not there.
    """
    metric = metric_named(metric_name)
    phase = default_phase(run) if phase is None else run.phase(phase)
    last = (comparisons[-1] for _, comparisons in by_site(run, reference=reference, phase=phase, sites=sites))
    refuse_without_examples(metric, run, phase, last)
    moved = movements(run, reference=reference, phase=phase)
    rows = []
    for site, comparisons in by_site(run, reference=reference, phase=phase, sites=sites):
        for comparison in comparisons:
            judged = moved[comparison.window.index]
            known = site.name in judged.moved
            rows.append(
                {
                    "site": site.name,
                    "window": comparison.window.index,
                    "name": comparison.window.name,
                    "reference": comparison.reference,
                    **_drift(metric, comparison),
                    "moved": site.name in judged.called if known else pd.NA,
                }
            )
    columns = ["site", "window", "name", "reference", "drift", "floor", "ratio", "noiseless", "moved"]
    return in_model_order(pd.DataFrame(rows, columns=columns).astype({"moved": "boolean"}), run.sites)


def uncompared(
    run: StoredRun, table: pd.DataFrame, *, phase: str, sites: str | Iterable[str] | None = None
) -> list[str]:
    """Returns the names of the chosen sites that were recorded in a phase, and that `by_window` has in no window."""
    compared = set(table["site"])
    return [
        site.name
        for site in choose(run.sites, sites)
        if site.name not in compared and any(run.distribution(phase, site.name, w.index) for w in run.window_list)
    ]


def worst(table: pd.DataFrame) -> pd.Series[Any]:
    """Returns the row of `by_window` that drifted furthest against its floor, in units of the metric without floors."""
    by = "ratio" if table["ratio"].notna().any() else "drift"
    return table.sort_values(by, ascending=False, kind="stable").iloc[0]


def _drift(metric: Metric, comparison: Comparison) -> dict[str, object]:
    steady = ~metric.near_constant(comparison.before, comparison.after)
    median = over_units.median(np.abs(metric.function(comparison.before, comparison.after))[steady])
    floor = np.nan if comparison.noiseless else over_units.median(floor_of(metric, comparison)[steady])
    return {
        "drift": median,
        "floor": floor,
        "ratio": median / floor if floor > 0 else np.nan,
        "noiseless": comparison.noiseless,
    }
