"""`icshift report`: a row a site."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from icshift.cli import options
from icshift.cli.info import coverage

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from icshift.run import Run


def report(
    run: options.RunPath,
    metric: options.Metric = "w1_sd",
    reference: options.Reference = "previous",
    site: options.SiteGlobs = None,
    phase: options.Phase = None,
    top: options.Top = 200,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show the drift of every site.

    A row a site in model order, with the noise floor of its drift, the trend over windows and the health of its units.
    """
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.summary import summary
    from icshift.cli.output import print_text, screen
    from icshift.reports.tabular import to_json
    from icshift.run import Run

    opened = Run(run)
    table = summary(opened, metric_name=metric, reference=reference, phase=phase, sites=site).head(top)
    if json:
        rows = [{key: row[key] for key in row if row[key] is not None} for row in table.to_dict(orient="records")]
        print_text(to_json({"run": str(run), "metric": metric, "reference": reference, "sites": rows}))
        return
    console = screen(no_color=no_color)
    print_report(console, opened, table, metric_named(metric).meaning)
    if not quiet:
        console.print(_next_step(opened, table), style="dim", soft_wrap=True)


def print_report(console: Console, run: Run, table: pd.DataFrame, meaning: str) -> None:
    """Heading, table and what one must know to read it."""
    from icshift.reports.terminal import distribution_table, report_table

    console.print(heading(run, table), style="bold", soft_wrap=True)
    compared = "window" in table and table["window"].notna().any()
    console.print(report_table(table, wide=console.width >= 100) if compared else distribution_table(table))
    for line in _notes(run, table, meaning):
        console.print(line, style="dim", highlight=False)
    if missed := coverage(run):
        console.print(missed, style="yellow", soft_wrap=True)


def heading(run: Run, table: pd.DataFrame) -> str:
    """What is compared with what."""
    state = "" if run.finished else " · unfinished"
    phase = table["phase"].iloc[0] if len(table) else "–"
    compared = table.dropna(subset=["window"]) if "window" in table else table.iloc[:0]
    what = "one window, nothing to compare"
    if len(compared):
        last = compared.iloc[-1]
        what = f"window {last['window']} against {last['reference']}"
    return f"{run.path} · {run.manifest['model']} · phase {phase} · {what}{state}"


def _notes(run: Run, table: pd.DataFrame, meaning: str) -> list[str]:
    if "window" not in table or not table["window"].notna().any():
        return [
            "One window leaves nothing to compare: this is its distribution, medians over units. "
            "Drift needs two windows of a phase."
        ]
    first = table.dropna(subset=["window"]).iloc[-1]
    notes = [f"drift: {first['metric']}, median over units. {meaning}."]
    if first["paired"]:
        notes.append(
            f"Paired: the same inputs in every window, {first['n']:,} values a unit, so there is no sampling noise."
        )
    else:
        notes.append(
            f"floor: the same by sampling noise alone, n = {first['n']:,} sampled activations a unit and window. "
            "moved: units beyond it (FDR 5 %)."
        )
    errors = table["error"].dropna()
    if len(errors):
        notes.append(
            f"Sketch error of a drift: at most {errors.median():.2g} (median bound); "
            f"of a rank: {100 * first['rank_error']:.1f} %."
        )
    notes.append("loc scl shp: share of W2² that is change of mean, of sd, of shape.")
    if table["near_constant"].any():
        notes.append("constant: an sd of at most 5 % of the site's median; such units are left out of drift.")
    if table["affine_moments"].any():
        notes.append("† Mean and sd here are set by the layer's own weight and bias: only shape is news.")
    stride = int(run.manifest.get("step_stride", 1))
    if stride > 1:
        notes.append(f"The step series keeps every {stride}th step; windows are of all steps.")
    return notes


def _next_step(run: Run, table: pd.DataFrame) -> str:
    if not len(table) or "ratio" not in table or not table["median"].notna().any():
        return f"Next: icshift info {run.path}"
    by = "ratio" if table["ratio"].notna().any() else "median"
    worst = table.sort_values(by, ascending=False)["site"].iloc[0]
    return f"Next: icshift units {run.path} --site {quote(worst)}   (the site that drifts most)"
