"""How far every site drifted, for the terminal: readable at 80 columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from icshift.analysis.ancestry import ending_data, missing_there
from icshift.analysis.by_site import ALONE
from icshift.noise.movement import UNTOLD_UNITS
from icshift.reports.next_step import next_step, window_shown
from icshift.reports.outcome import correlation, verdict
from icshift.reports.report import Report
from icshift.reports.run import coverage, unmasked
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import TREND, compact, moved, number, ordinal, records, share, times, trend_scale
from icshift.reports.text_charts import sparklines
from icshift.reports.thinned import thinned
from icshift.runs.phases import (
    NO_GRAD,
    OWN_INPUTS,
    PROBE,
    PROBE_BATCH,
    PROBE_RUNNING,
    PROBE_STATISTICS,
    PROBE_TRAIN,
    RUNNING_AVERAGES,
    TRAIN,
)

if TYPE_CHECKING:
    import pandas as pd

    from icshift.analysis.metrics import Metric
    from icshift.analysis.outcome import Outcome
    from icshift.runs.reader import StoredRun

_ALWAYS = ("dead", "saturated")
"""What is null in JSON where it is not known, or does not apply."""

_WIDE = 100
"""Screens of at least so many characters get a table with more columns."""


def drift_report(
    run: StoredRun,
    summary: pd.DataFrame,
    metric: Metric,
    outcome: Outcome | None = None,
    *,
    reference: str = "previous",
    caveats: Sequence[str] = (),
) -> Report:
    """Returns the report of the table that `analysis.by_site.summary` made, with notes that explain its columns.

    The `outcome`, of the same windows, goes before the table. `caveats` come before all other notes: what the
    comparison with another run takes for granted (`analysis.ancestry.caveats`), how many sites are not shown.
    """
    compared = _compared(summary)
    words = verdict(outcome, summary, metric) if outcome is not None and compared else []
    table = (lambda width: report_table(summary, wide=width >= _WIDE)) if compared else distribution_table(summary)
    rows = [{key: row[key] for key in row if row[key] is not None or key in _ALWAYS} for row in records(summary)]
    return Report(
        heading=_heading(run, summary),
        body=(*([Text(" ".join(words), style="bold")] if words else []), table),
        notes=(*filter(None, [thinned(run)]), *caveats, *_notes(run, summary, metric, outcome)),
        warnings=tuple(filter(None, [coverage(run), *unmasked(run)])),
        next_step=_next_step(run, summary, metric, reference),
        data={
            "run": str(run.path),
            **ending_data(run, missing_there(reference)),
            "metric": metric.name,
            "reference": reference,
            "verdict": " ".join(words),
            "notes": [*filter(None, [thinned(run)]), *caveats],
            "sites": rows,
        },
    )


def metrics_report(metrics: Mapping[str, Metric]) -> Report:
    """Returns a table with one row per metric."""
    columns = [
        Column("of", [metric.of + ", probe" * metric.by_example for metric in metrics.values()], 2, align="left"),
        Column("unit", [metric.unit for metric in metrics.values()], 1, align="left"),
        Column("meaning", [metric.meaning for metric in metrics.values()], align="left", fold=20),
    ]
    return Report(body=(Sheet("metric", list(metrics), columns),))


def report_table(summary: pd.DataFrame, *, wide: bool) -> Sheet:
    """Returns a table with one row per site, in the order of `summary`.

    On a `wide` screen it has columns for the number of units, that of activations (`count`), the 90th percentile and
    the largest too. Probes, but by running averages, have no noise: they always show the latter two, in place of
    floor, ratio and share moved.
    """
    rows = records(summary)
    noiseless = bool(summary["noiseless"].dropna().all())
    spread = ("p90", "max") if summary["max"].notna().any() else ()  # One number a site has none.

    def compared(cell: Callable[[dict[str, Any]], str | Text]) -> list[str | Text]:
        return [cell(row) if isinstance(row.get("trend"), list) else "–" for row in rows]

    def numbers(name: str) -> list[str | Text]:
        return compared(lambda row: number(row[name]))

    trends = iter(_trends(summary)[0])
    found = [
        Column("units", [str(row["units"]) for row in rows], 8),
        Column("count", [compact(row["activations"]) for row in rows], 9),
        Column("drift", numbers("drift")),
        Column("floor", numbers("floor"), 4),
        Column("×floor", compared(_ratio), 1),
        *(Column(name, numbers(name), 2 if noiseless else 7) for name in spread),
        Column("trend", compared(lambda _: next(trends)), 5, align="left"),
        Column("loc scl shp", compared(_split), 6),
        Column("moved", compared(moved), 2),
        Column("health", [_health(row) for row in rows], 3, align="left"),
    ]
    hidden = {"floor", "×floor", "moved"} if noiseless else set() if wide else set(spread)
    hidden |= set() if wide else {"units", "count"}
    return Sheet("site", [site_label(row) for row in rows], [column for column in found if column.head not in hidden])


def _trends(summary: pd.DataFrame) -> tuple[list[str], float]:
    """Returns bars for each site that has a trend, all on one scale, and the largest value of that scale."""
    return sparklines([trend for trend in summary.get("trend", ()) if isinstance(trend, list)], TREND)


def distribution_table(summary: pd.DataFrame) -> Sheet:
    """Returns a table with one row per site with nothing to compare: its distribution, as medians over units."""
    rows = records(summary)
    ranks = {"mean": 0, "sd": 0, "q15": 3, "q50": 2, "q85": 3}
    values = [Column(name, [number(row[name]) for row in rows], rank) for name, rank in ranks.items()]
    columns = [
        Column("units", [str(row["units"]) for row in rows], 6),
        Column("n", [f"{row['n']:,}" for row in rows], 4),
        *values,
        Column("zeros", [share(row["zero_share"]) for row in rows], 5),
        Column("health", [_health(row) for row in rows], 1, align="left"),
    ]
    return Sheet("site", [site_label(row) for row in rows], columns)


def site_label(row: dict[str, Any]) -> str:
    """Returns the site's name, with a dagger where its mean and sd are set by its own weight and bias."""
    return f"{row['site']} †" if row["affine_moments"] else str(row["site"])


def _ratio(row: dict[str, Any]) -> Text:
    text = times(row["ratio"])
    return Text(text, style="bold" if math.isfinite(row["ratio"]) and row["ratio"] >= 2 else "")


def _split(row: dict[str, Any]) -> str:
    shares = [row.get(name, math.nan) for name in ("location", "scale", "shape")]
    if not all(isinstance(share, float) and math.isfinite(share) for share in shares):
        return "–"
    return " ".join(f"{100 * share:3.0f}" for share in shares)


def _health(row: dict[str, Any]) -> Text:
    troubles = []
    for name in ("dead", "saturated", "near_constant", "nonfinite"):
        count = row[name]
        if count is not None and count == count and count > 0:  # noqa: PLR0124  (a NaN is a count that is not known)
            troubles.append(f"{int(count)} {name.removeprefix('near_')}")
    if row["no_data"]:
        return Text("no data", style="yellow")
    if troubles:
        return Text("\n".join(troubles), style="yellow")
    return Text("–") if row["unknown"] else Text("ok", style="green")


def unknown_in_words(causes: Mapping[str, str], what: str) -> list[str]:
    """Returns a note for each cause, by the name of a site, why something (`what`) is not known there."""
    notes = []
    for cause in dict.fromkeys(filter(None, causes.values())):
        sites = [site for site, given in causes.items() if given == cause]
        more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
        notes.append(f"{what} at {', '.join(sites[:3])}{more}: {cause}.")
    return notes


def _compared(summary: pd.DataFrame) -> bool:
    """Whether any site has two windows to compare."""
    return "window" in summary and bool(summary["window"].notna().any())


def _heading(run: StoredRun, table: pd.DataFrame) -> str:
    """Returns the line that says which window is compared with which."""
    phase = table["phase"].iloc[0] if len(table) else "–"
    compared = table.dropna(subset=["window"]) if "window" in table else table.iloc[:0]
    what = "one window, nothing to compare" if alone(table) else "nothing to compare"
    if len(compared):
        last = compared.iloc[-1]
        what = f"window {last['name']} against {last['reference']}"
    return f"{run.path} · {run.manifest['model']} · phase {phase} · {what}{run.ending.heading}"


_DISTRIBUTION = "Nothing to compare: this is the distribution of the last window, medians over units."

_ALONE = [
    "One window leaves nothing to compare: this is its distribution, medians over units. "
    "Drift needs two windows of a phase."
]


def _lacking(table: pd.DataFrame) -> dict[str, str]:
    """Returns by site why it is not compared; of one that got no row in the last window its health says that."""
    if "moved_unknown" not in table:
        return {}
    without = table[table["window"].isna()] if "window" in table else table
    known = without[~without["no_data"].astype(bool)].dropna(subset=["moved_unknown"])
    return dict(zip(known["site"], known["moved_unknown"], strict=True))


def alone(table: pd.DataFrame) -> bool:
    """Whether there is but one window of the phase."""
    return set(_lacking(table).values()) == {ALONE}


def _notes(run: StoredRun, table: pd.DataFrame, metric: Metric, outcome: Outcome | None) -> list[str]:
    unknown = dict(zip(table["site"], table["unknown"], strict=True)) if len(table) else {}
    health = unknown_in_words(unknown, "health –: dead or saturated units are not known")
    if len(table) and table["no_data"].any():
        health.append("no data: no row came to the site in the last window.")
    if len(table) and table["phase"].iloc[0] == NO_GRAD:
        health.append(_without_gradients(run))
    lacking = unknown_in_words(_lacking(table), "drift –: not compared")
    if not _compared(table):
        return [*of_columns(table), *(() if alone(table) else lacking), *health]
    first = table.dropna(subset=["window"]).iloc[-1]
    over = "of the site as a whole" if metric.of == "site" else "median over units"
    notes = [*lacking, f"drift: {metric.name}, {over}. {metric.meaning}."]
    if metric.by_example:
        notes += _of_examples(table, metric)
    elif first["noiseless"]:
        paired = f"Paired: the same inputs in every window, {first['n']:,} values a unit"
        notes.append(f"{paired}." if by_averages(run, first["phase"]) else f"{paired}, so there is no sampling noise.")
    elif PROBE_RUNNING in (first["phase"], first["reference"].removeprefix("phase:")):
        notes.append(
            f"floor: how far running averages put a window from what it is by the statistics of its own inputs, the "
            f"larger of both windows; n = {first['n']:,} values a unit, the same inputs in every window. moved: units "
            "beyond it."
        )
    else:
        notes += _of_noise(table, outcome)
    notes += normalised_by(run, first["phase"])
    errors = table["error"].dropna()
    if len(errors) and not metric.by_example:
        notes.append(_of_sketches(table, metric))
    notes += [metric.caveat] if metric.caveat and not metric.by_example else []
    notes += of_columns(table)
    if table["near_constant"].any():
        notes.append(
            "constant: an sd of at most 5 % of the site's median, in this window or an earlier one, or rounding of the "
            "mean. Units below 5 % in both windows are left out of drift, not of what moved."
        )
    notes += health
    if table["affine_moments"].any():
        notes.append("† Mean and sd here are set by the layer's own weight and bias: only shape is news.")
    stride = int(run.manifest.get("step_stride", 1))
    if stride > 1:
        notes.append(f"The step series keeps every {ordinal(stride)} step; windows are of all that were recorded.")
    return notes


def of_columns(table: pd.DataFrame) -> list[str]:
    """Returns the notes on columns of the terminal's table that the tables of a page have not."""
    if not _compared(table):
        return _ALONE if alone(table) else [_DISTRIBUTION]
    counts = table["activations"].nunique() > 1
    return [
        *(["count, on wide screens: activations a unit in this window."] if counts else []),
        *trend_scale(_trends(table)[1], "site"),
        "loc scl shp: share of W2² that is change of mean, of sd, of shape.",
    ]


def _of_sketches(table: pd.DataFrame, metric: Metric) -> str:
    """Returns a note on how far drifts may be off by what is kept of a window, and at how many sites that matters."""
    known = table.dropna(subset=["error", "drift"])
    bound, ranks = known["error"].median(), 100 * known["rank_error"].max()
    if not (known["error"] > 0).any():
        return "Sketch error: none, every sampled value was kept."
    beyond = f"{(known['drift'] > known['error']).sum()} of {len(known)} sites drift further than their own bound"
    typical = f"below {metric.typical * bound:.2g} in 9 of 10 units, " if metric.typical < 1 else ""
    return (
        f"Sketch error: what a drift may be off by since quantiles are kept in place of all values, {typical}never "
        f"above {bound:.2g} (median of the sites' bounds; {beyond}); ranks by at most {ranks:.1f} %."
    )


def _without_gradients(run: StoredRun) -> str:
    """Returns a note on the phase of forwards in training mode without gradients."""
    what = "no-grad: forwards in training mode while gradients are off; no step is taken for computed from them."
    if TRAIN in run.phases:
        return what
    return f'{what} There were no others: where a training needs no gradients, recorder.phase("train") says so.'


def _of_noise(table: pd.DataFrame, outcome: Outcome | None) -> list[str]:
    """Returns notes on the noise of a phase that shows other inputs in every window."""
    compared = table.dropna(subset=["window"])
    notes = [
        f"floor: the same by sampling noise alone, n = {compared['n'].iloc[-1]:,} sampled activations a unit and "
        "window. moved: units beyond it, 5 % of them expected to be wrong; of windows in which nothing moved, at most "
        "5 % show any site."
    ]
    dependence = None if outcome is None else outcome.dependence
    if dependence and dependence.clear and math.isfinite(dependence.first) and not dependence.large:
        notes.append(f"No sign that steps depend on each other: {correlation(dependence)}.")
    reasons = [reason for reason in dict.fromkeys(compared["moved_unknown"]) if reason]
    notes += [f"floor –, moved –: {reason}." for reason in reasons if outcome is None]
    if (compared["moved_untold"] > 0).any():
        notes.append(f"≥: more may have moved, since some units {UNTOLD_UNITS}.")
    return notes


def by_averages(run: StoredRun, phase: str) -> bool:
    """Whether a probe is by running averages although it is not the phase that is named after them.

    So it is in runs that an older version recorded, and of programs that were exported with them.
    """
    return phase == PROBE and (_is_older(run) or run.settings.get(PROBE_STATISTICS) == RUNNING_AVERAGES)


def _is_older(run: StoredRun) -> bool:
    """Whether a version that probed batch norm by running averages recorded a run, of a model that has batch norm."""
    return PROBE_STATISTICS not in run.settings and any(site.batch_statistics for site in run.sites)


def normalised_by(run: StoredRun, phase: str) -> list[str]:
    """Returns notes on how a probe normalised, and on what in it is in training mode; none where that is plain."""
    # Only settings of `icshift analyze` name phases; before it wrote probe-batch, it called the same probe-train.
    analyzed = "phases" in run.settings
    notes = (
        (
            by_averages(run, phase) and _is_older(run),
            "Recorded by an older version, batch norm by its running averages: their own noise shows as drift here. A "
            "new recording has none.",
        ),
        (
            by_averages(run, phase),
            "A program that normalises by running averages, which it was exported with: their own noise shows as drift "
            "here.",
        ),
        (
            phase == PROBE_RUNNING,
            "Batch norm by its running averages, as in a model that is deployed: phase probe is without their noise.",
        ),
        (
            phase == PROBE and run.settings.get(PROBE_STATISTICS) == OWN_INPUTS,
            "Batch norm by the statistics of these inputs, as in training; all else is in eval mode.",
        ),
        (
            phase == PROBE_BATCH or (phase == PROBE_TRAIN and analyzed),
            "Batch norm normalises by the batch here, as in training; all else is in eval mode, without dropout.",
        ),
        (
            phase == PROBE_TRAIN,
            "A recorder replays this phase in training mode: dropout and other draws of the model differ by window.",
        ),
    )
    return [note for holds, note in notes if holds][:1]


def _of_examples(table: pd.DataFrame, metric: Metric) -> list[str]:
    """Returns notes that explain the values of a metric by example."""
    compared = table.dropna(subset=["window"])
    rows, wide = int(compared["rows"].median()), int(compared["units"].max())
    notes = [f"n = {rows:,} activations a unit of the probe, the same ones in both windows."]
    notes += [metric.caveat] if metric.caveat else []
    notes += [metric.note(rows, wide)] if metric.note else []
    if metric.error is not None:
        error = compared["error"].max()
        notes.append(f"Its {metric.error_source}: ±{error:.2g} (2 standard errors, those of the site with the most).")
    return notes


def _next_step(run: StoredRun, table: pd.DataFrame, metric: Metric, reference: str) -> str:
    if not len(table) or "ratio" not in table or not table["drift"].notna().any():
        return next_step("info", run)
    by = "ratio" if table["ratio"].notna().any() else "drift"
    return next_step(
        "units",
        run,
        site=str(table.sort_values(by, ascending=False)["site"].iloc[0]),
        phase=str(table["phase"].iloc[0]),
        metric="" if metric.of == "site" else metric.name,
        reference=reference,
        window=window_shown(run),
        why=metric.hint,
    )
