"""The path and the displacement of every site, for the terminal: readable at 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from icshift.reports.drift import by_averages, normalised_by
from icshift.reports.next_step import next_step
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import TREND, number, records, trend_scale
from icshift.reports.text_charts import sparklines
from icshift.runs.phases import PROBE, PROBE_RUNNING

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

    from icshift.analysis.metrics import Metric
    from icshift.runs.reader import StoredRun


def path_report(run: StoredRun, paths: pd.DataFrame, metric: Metric, left_out: Sequence[str] = ()) -> Report:
    """Returns the report of the table that `analysis.trajectory` made, with notes that explain its columns.

    `left_out` says how many sites it does not show (`reports.tables.not_shown`).
    """
    phase = paths.iloc[0]["phase"]
    return Report(
        heading=f"{run.path} · {run.manifest['model']} · phase {phase} · {_span(paths)}{run.ending.heading}",
        body=(path_table(paths),),
        notes=(*left_out, *_notes(run, paths, metric)),
        next_step=_next_step(run, paths, metric),
        data={
            "run": str(run.path),
            **run.ending.data,
            "metric": metric.name,
            "sites": paths.to_dict(orient="records"),
            "notes": list(left_out),
        },
    )


def path_table(paths: pd.DataFrame) -> Sheet:
    """Returns a table with one row per site, in model order.

    Columns that say nothing are left out: the number of windows where all sites have the same, the floors in a phase
    without sampling noise, drift per change of the parameters where that is not known.
    """
    rows = records(paths)
    noiseless = bool(paths["noiseless"].all())

    def numbers(name: str) -> list[str | Text]:
        return [number(row[name]) for row in rows]

    straight = [f"{row['straightness']:.2f}" if math.isfinite(row["straightness"]) else "–" for row in rows]
    columns = [
        *([Column("windows", [str(row["windows"]) for row in rows], 7)] if paths["windows"].nunique() > 1 else []),
        Column("path", numbers("path")),
        *([] if noiseless else [Column("floor", numbers("floor"), 3)]),
        Column("displaced", numbers("displacement"), 2),
        *([] if noiseless else [Column("floor", numbers("displacement_floor"), 4)]),
        Column("straightness", straight, 1),
        *([Column("per change", numbers("per_change"), 6)] if paths["per_change"].notna().any() else []),
        Column("trend", [*sparklines(list(paths["trend"]), TREND)[0]], 5, align="left"),
    ]
    return Sheet("site", [str(row["site"]) for row in rows], columns)


def _span(table: pd.DataFrame) -> str:
    longest = table.sort_values("windows", ascending=False, kind="stable").iloc[0]
    return f"{longest['windows']} windows, {longest['first']} to {longest['last']}"


def _notes(run: StoredRun, table: pd.DataFrame, metric: Metric) -> list[str]:
    first = table.iloc[0]
    over = "of the site as a whole" if metric.of == "site" else "median over units"
    notes = [
        f"path: sum of {metric.name} from window to window, {over}. displaced: the same from the first window to the "
        "last. straightness: displaced / path."
    ]
    if table["noiseless"].all():
        paired = f"Paired: the same inputs in every window, n = {first['n']:,} a unit"
        averaged = by_averages(run, first["phase"])
        notes.append(f"{paired}." if averaged else f"{paired}: no sampling noise in it.")
    elif first["phase"] == PROBE_RUNNING:
        notes.append(
            "floor: how far running averages put a window from what it is by the statistics of its own inputs, the "
            f"larger of both windows; n = {first['n']:,} a unit, the same inputs in every window. Where a path is near "
            "its floor, straightness tells nothing."
        )
    else:
        notes.append(
            f"floor: the same by sampling noise alone, n = {first['n']:,} sampled activations a unit and window. Where "
            "a path is near its floor, straightness tells nothing. Noise grows with the number of windows: compare "
            "runs with windows of one length."
        )
    notes += trend_scale(sparklines(list(table["trend"]), TREND)[1], "site")
    notes += normalised_by(run, first["phase"])
    if table["windows"].max() == 2:
        notes.append("Of two windows path and displacement are one: it takes three to tell a trend.")
    if metric.unit == "sd":
        notes.append("sd: a unit's over all windows, one yardstick for every part; drift has that of each pair.")
    if table["per_change"].notna().any():
        notes.append(
            "per change: drift of a window over the L2 norm of the change of all parameters in it, median over windows."
        )
    travelled = table["parameter_path"].max()
    if math.isfinite(travelled):
        notes.append(f"The parameters' own path: {number(travelled)} (sum of the L2 norms, over the same windows).")
    if table["near_constant"].any():
        left_out = int(table["near_constant"].sum())
        which, are = ("unit that is", "is") if left_out == 1 else ("units that are", "are")
        notes.append(f"{left_out:,} {which} near-constant in some window {are} left out.")
    return notes


def _next_step(run: StoredRun, table: pd.DataFrame, metric: Metric) -> str:
    noise = "the noise of running averages" if table["phase"].iloc[0] == PROBE_RUNNING else "sampling noise"
    if not table["noiseless"].all() and PROBE in run.phases:
        return next_step("path", run, phase=PROBE, metric=metric.name, why=f"without {noise}")
    phase = str(table["phase"].iloc[0])
    return next_step("report", run, phase=phase, metric=metric.name, reference="first")
