"""Many runs at a glance: a row a run, from its manifest, the list of its windows and the last two of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icshift.analysis.comparison import floor_of
from icshift.analysis.drift import by_site, default_phase
from icshift.analysis.metrics import DEFAULT, METRICS
from icshift.analysis.over_units import median
from icshift.errors import IcshiftError
from icshift.runs.reader import StoredRun

COLUMNS = (
    *("run", "model", "sites", "units", "windows", "steps", "created", "state", "missing", "phase"),
    *("site", "drift", "floor", "ratio", "error", "n"),
)
"""The columns of `overview`, in order."""


def overview(paths: Iterable[Path], *, drift: bool = True) -> pd.DataFrame:
    """Returns a data frame with one row per run and the columns `COLUMNS`.

    `sites`, `units` (recorded ones), `windows` and `steps` (all that were trained) are numbers. `state` is "finished",
    or says in what way the run is not whole, as "unfinished" (still recording, or killed), "ended by KeyboardInterrupt"
    or "stopped at step 7: disk full", or begins with "cannot be read: ". `missing` has a list of sentences on its
    files that are gone. `drift` is that of the `site` that drifted furthest from the second last window to the last, in
    `phase`: the median over its units that are not near-constant, of the default metric; `floor`, `error` and `n` are
    medians over the same units. Where there are no two windows of a phase, or no `drift` is asked for, they are NaN.
    """
    rows = [_of_path(path, drift=drift) for path in paths]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype(dict.fromkeys(("sites", "units", "windows", "steps", "n"), "Int64"))


def _of_path(path: Path, *, drift: bool) -> dict[str, Any]:
    try:
        run = StoredRun(path)
        row = {
            "run": str(path),
            "model": str(run.manifest.get("model", "")),
            "sites": len(run.sites),
            "units": sum(site.units if site.kept is None else len(site.kept) for site in run.sites),
            "windows": len(run.window_list),
            "steps": run.manifest["steps"],
            "created": str(run.manifest.get("created", "")),
            "state": run.ending.state,
            "missing": list(run.missing),
        }
        return row | (_furthest(run) if drift else {})
    except IcshiftError as error:
        return {"run": str(path), "state": f"cannot be read: {error}", "missing": []}


def _furthest(run: StoredRun) -> dict[str, Any]:
    """Returns the drift of the last window; of the others nothing is read."""
    if len(run.window_list) < 2:
        return {}
    last = copy.copy(run)
    last.window_list = run.window_list[-2:]
    phase, metric = default_phase(last), METRICS[DEFAULT]
    found = []
    for site, comparisons in by_site(last, phase=phase):
        steady = ~metric.near_constant(comparisons[-1].before, comparisons[-1].after)
        values = np.abs(metric.function(comparisons[-1].before, comparisons[-1].after))
        found.append((median(values[steady]), site.name, comparisons[-1], steady))
    known = [one for one in found if np.isfinite(one[0])]
    if not known:
        return {"phase": phase}
    drift, site_name, comparison, steady = max(known, key=lambda one: one[0])
    floor = median(floor_of(metric, comparison)[steady])
    error = metric.error(comparison.before, comparison.after)[steady] if metric.error else np.empty(0)
    n = metric.n(comparison.before, comparison.after)[steady]
    return {
        "phase": phase,
        "site": site_name,
        "drift": drift,
        "floor": floor,
        "ratio": drift / floor if floor > 0 else np.nan,
        "error": median(error),
        "n": int(np.median(n)) if len(n) else pd.NA,
    }
