"""Gradient shift and smoothness as a recorder measured them, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import number, records, trend_scale
from icshift.reports.text_charts import sparklines
from icshift.runs.format import GRADIENT_SHIFT

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun

_TREND = 12


def measured_reports(run: StoredRun, shift: pd.DataFrame, around: dict[str, Any]) -> list[Report]:
    """Returns a report of the gradient shift and one of the smoothness of the loss, of those that were measured.

    `shift` is the table of `analysis.measured.gradient_shift_summary`, `around` what `smoothness_summary` returns. They
    stand apart from drift, since gradient shift is another definition of the shift.
    """
    reports = []
    if len(shift):
        # A process that is killed may have written rows, but not yet how they were measured.
        how = (run.manifest.get("measured") or {}).get(GRADIENT_SHIFT, {})
        reports.append(_gradient_shift_report(shift, how.get("counted", "")))
    return [*reports, _smoothness_report(around)] if around else reports


def _gradient_shift_report(shift: pd.DataFrame, counted: str) -> Report:
    return Report(
        heading="Gradient shift (Santurkar et al. 2018, Def. 2.1)",
        body=(gradient_shift_table(shift),),
        notes=(
            f"Medians of n = {_steps(shift)} measured steps. G: a layer's gradient; G′: what the step of the layers "
            "before it makes of it (nothing, of the first). relative and trend: ‖G−G′‖ over ‖G‖; 10–90 %: what these "
            "steps differ by. All depend on the batch: compare runs of one batch size only."
            + (f" Counted of each layer: {counted} parameters." if counted else ""),
            *trend_scale(sparklines(list(shift["trend"]), _TREND)[1], "layer"),
            "Drift is another definition of the shift; the two may disagree.",
        ),
        data={"gradient_shift": shift.to_dict(orient="records")},
    )


def _smoothness_report(around: dict[str, Any]) -> Report:
    return Report(
        heading="Smoothness along the gradient (Santurkar et al. 2018, Fig. 4)",
        body=tuple(smoothness_lines(around)),
        notes=(f"Medians of {around['n']} steps; lr {around['rate']:g} at the last of them.",),
        data={"smoothness": around},
    )


def gradient_shift_table(summary: pd.DataFrame) -> Sheet:
    """Returns a table with one row per layer, in the order of the forward."""
    rows = records(summary)
    columns = [
        Column("params", [f"{row['parameters']:,}" for row in rows], 5),
        Column("‖G−G′‖", [number(row["l2"]) for row in rows], 3),
        Column("relative", [number(row["relative"]) for row in rows]),
        Column("10–90 %", [_interval(row["relative_p10"], row["relative_p90"]) for row in rows], 1),
        Column("cos", [_cosine(row["cosine"]) for row in rows], 2),
        Column("cos p10", [_cosine(row["cosine_p10"]) for row in rows], 4),
        Column("trend", [*sparklines(list(summary["trend"]), _TREND)[0]], 6, align="left"),
    ]
    return Sheet("layer", [str(row["layer"]) for row in rows], columns)


def smoothness_lines(around: dict[str, Any]) -> list[str]:
    """Returns three lines about the smoothness along the gradient: its loss, its gradient, and β times the rate."""
    where = f"; attained mostly at {around['beta_step']:g} lr" if math.isfinite(around["beta_step"]) else ""
    changes = f"{number(around['predictiveness_min'])} to {number(around['predictiveness_max'])}"
    return [
        f"range of the loss          {number(around['loss_range'])}",
        f"change of the gradient     {changes}",
        f"β·lr (reference: 2)        {number(around['beta_rate'])}, at most {number(around['beta_rate_max'])}{where}",
    ]


def _steps(shift: pd.DataFrame) -> str:
    fewest, most = shift["n"].min(), shift["n"].max()
    return f"{most}" if fewest == most else f"{fewest} to {most}"


def _interval(low: float, high: float) -> str:
    return f"{low:.2g}–{high:.2g}" if math.isfinite(low) and math.isfinite(high) else "–"


def _cosine(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
