"""The units of one site, or one unit over all steps, for the terminal: readable at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from icshift.analysis.ancestry import ending_data, missing_there
from icshift.analysis.health import unknown
from icshift.reports.next_step import next_step, window_shown
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import MARK, number, records, share, times
from icshift.reports.text_charts import ribbons
from icshift.runs.format import units_in_steps
from icshift.runs.phases import PROBE_RUNNING

if TYPE_CHECKING:
    import pandas as pd

    from icshift.analysis.metrics import Metric
    from icshift.runs.format import Site
    from icshift.runs.reader import StoredRun

_NAME = 8
"""Metrics with a longer name than this are headed `drift` in the table."""


def units_report(
    run: StoredRun,
    site: Site,
    shown: pd.DataFrame,
    metric: Metric,
    *,
    of: int,
    reference: str = "previous",
    caveats: Sequence[str] = (),
) -> Report:
    """Returns the report of the units `shown`, from `analysis.units.most_drifting`; `of` is how many the site has.

    `caveats` are what the comparison with another run takes for granted (`analysis.ancestry.caveats`).
    """
    first = shown.iloc[0]
    kind = "paired" if metric.by_example else "sampled"
    same = "The same inputs in every window: no noise, no floor; " if (shown["floor"] == 0).any() else ""
    moved = "* moved beyond noise (FDR 5 %), " if has_floor(shown) else same
    if PROBE_RUNNING in (first["phase"], first["reference"].removeprefix("phase:")):
        moved = "Floor: what running averages do, see icshift report; * moved beyond it, "
    untold = "? that cannot be told, " if has_floor(shown) and shown["moved"].isna().any() else ""
    against = f"against {first['reference']}" if first["reference"] else "with nothing to compare"
    where = f"{run.path} · site {site.name} ({site.type}) · phase {first['phase']}"
    return Report(
        heading=f"{where} · window {first['name']} {against}{run.ending.heading}",
        body=(units_table(shown, metric.name),),
        notes=(
            f"drift: {metric.name} in {metric.unit}, {metric.meaning}. "
            f"{len(shown)} of {of} units, n = {int(first['n']):,} {kind} activations each{_of_all(shown, metric)}; "
            f"mean, sd and percentiles of the window. {moved}{untold}≈ near-constant.",
            *([f"Whether units are dead or saturated is not known: {cause}."] if (cause := unknown(site)) else []),
            *caveats,
        ),
        next_step=_next_step(run, site, shown, reference),
        data={
            "run": str(run.path),
            **ending_data(run, missing_there(reference)),
            "site": site.name,
            "metric": metric.name,
            "units": shown.to_dict(orient="records"),
        },
    )


def _next_step(run: StoredRun, site: Site, shown: pd.DataFrame, reference: str) -> str:
    first = shown.iloc[0]
    phase, window = str(first["phase"]), window_shown(run)
    if phase in set(run.steps(sites=[site.name])["phase"]):
        units = [int(unit) for unit in shown["unit"] if unit in units_in_steps(site)]
        unit = units[0] if units else int(units_in_steps(site)[0])
        return next_step("units", run, site=site.name, unit=str(unit), phase=phase, window=window)
    return next_step("report", run, site=site.name, phase=phase, reference=reference, window=window)


def _of_all(shown: pd.DataFrame, metric: Metric) -> str:
    """Returns in words how many activations a unit had in the window; empty where `n` are examples of a probe."""
    return "" if metric.by_example else f" (of {int(shown['activations'].median()):,} in this window)"


def unit_report(run: StoredRun, site: Site, unit: int, series: pd.DataFrame) -> Report:
    """Returns a chart of one unit's percentiles over steps; `series` is what `analysis.units.unit_series` returns."""
    # Percentiles of several processes cannot be put together; each saw batches of the same kind.
    drawn = series[series["rank"] == series["rank"].min()] if "rank" in series else series
    return Report(
        heading=_ribbon_title(run, site, unit, drawn),
        body=(lambda width: ribbon(drawn, width=width - 12, height=14),),
        data={
            "run": str(run.path),
            **run.ending.data,
            "site": site.name,
            "unit": unit,
            "steps": series.to_dict(orient="records"),
        },
    )


def has_floor(units: pd.DataFrame) -> bool:
    """Whether drift has noise in it: a probe shows the same inputs in every window, and has none."""
    return bool((units["floor"] > 0).any())


def units_table(units: pd.DataFrame, value_name: str) -> Sheet:
    """Returns a table with one row per unit: its drift and floor, and its distribution.

    Beside the floor stands * where the unit moved beyond noise, ? where that cannot be told. A near-constant unit is
    marked by ≈: its drift in sd means little. Units of a probe have no floor.
    """
    rows = records(units)
    noise = [
        Column("floor", [number(row["floor"]) for row in rows], 2),
        Column("×floor", [f"{times(row['ratio'])} {MARK[row['moved']]}" for row in rows], 1),
    ]
    ranks = {"mean": 3, "sd": 3, "q15": 5, "q50": 4, "q85": 5}
    columns = [
        Column(value_name if len(value_name) <= _NAME else "drift", [number(row["value"]) for row in rows]),
        *(noise if has_floor(units) else []),
        *(Column(name, [number(row[name]) for row in rows], ranks[name]) for name in ranks),
        Column("zeros", [share(row["zero_share"]) for row in rows], 6),
    ]
    names = [f"≈ {row['unit']}" if row["near_constant"] else str(row["unit"]) for row in rows]
    return Sheet("unit", names, columns)


def ribbon(series: pd.DataFrame, *, width: int, height: int) -> Text:
    """Returns a band from the 15th to the 85th percentile of a unit over steps, with the median in it."""
    columns: list[list[Any]] = [series[name].tolist() for name in ("step", "q15", "q50", "q85")]
    return ribbons(*columns, width=width, height=height)


def _ribbon_title(run: StoredRun, site: Site, unit: int, series: pd.DataFrame) -> str:
    """Returns the title of the chart: run, site, unit, percentiles, and the number of activations a step."""
    n = int(series["count"].median()) if len(series) else 0
    process = f", process {series['rank'].iloc[0]} of {run.ranks}" if "rank" in series and len(series) else ""
    end = f" to window {run.window_list[-1].name}" if not run.whole else ""
    what = f"15th, 50th, 85th percentile of each step{end} (≤ {n:,} activations a step{process})"
    return f"{run.path} · {site.name} ({site.type}) unit {unit} · {what}"
