"""`icshift path`: how far every site went, against how far it came."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from icshift.cli import options
from icshift.cli.report import drawn_anew

if TYPE_CHECKING:
    import pandas as pd

    from icshift.analysis.metrics import Metric
    from icshift.runs.reader import Run


def path(
    run: options.RunPath,
    metric: options.Metric = "w1_sd",
    site: options.SiteGlobs = None,
    phase: options.Phase = None,
    top: options.Top = 200,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show how far every site went from window to window, against how far it came.

    The path is the sum of the drifts between consecutive windows, displaced the drift from the first to the last.
    Their ratio, straight, tells a trend (near 1) from to and fro (near 0). Best of a probe: sampling noise makes paths
    longer.
    """
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.trajectory import trajectory
    from icshift.cli.output import print_text, screen
    from icshift.reports.tabular import to_json
    from icshift.reports.trajectory import path_table
    from icshift.runs.reader import Run

    opened = Run(run)
    table = trajectory(opened, metric_name=metric, phase=phase, sites=site).head(top)
    if json:
        print_text(to_json({"run": str(run), "metric": metric, "sites": table.to_dict(orient="records")}))
        return
    console = screen(no_color=no_color)
    first = table.iloc[0]
    heading = f"{opened.path} · {opened.manifest['model']} · phase {first['phase']} · {_span(table)}"
    console.print(heading + ("" if opened.finished else " · unfinished"), style="bold", soft_wrap=True)
    console.print(path_table(table))
    for line in _notes(table, metric_named(metric)):
        console.print(line, style="dim", highlight=False)
    if not quiet:
        console.print(_next_step(opened, table), style="dim", soft_wrap=True)


def _span(table: pd.DataFrame) -> str:
    longest = table.sort_values("windows", ascending=False, kind="stable").iloc[0]
    return f"{longest['windows']} windows, {longest['first']} to {longest['last']}"


def _notes(table: pd.DataFrame, metric: Metric) -> list[str]:
    first = table.iloc[0]
    over = "of the site as a whole" if metric.of == "site" else "median over units"
    notes = [
        f"path: sum of {metric.name} from window to window, {over}. displaced: the same from the first window to the "
        "last. straight: displaced / path."
    ]
    if table["noiseless"].all():
        notes.append(f"Paired: the same inputs in every window, n = {first['n']:,} a unit: no sampling noise in it.")
        notes += drawn_anew(first["phase"])
    else:
        notes.append(
            f"floor: the same by sampling noise alone, n = {first['n']:,} sampled activations a unit and window. Where "
            "a path is near its floor, straight tells nothing. Noise grows with the number of windows: compare runs "
            "with windows of one length."
        )
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
        from icshift.reports.drift import number

        notes.append(f"The parameters' own path: {number(travelled)} (sum of the L2 norms, over the same windows).")
    if table["near_constant"].any():
        notes.append(f"{table['near_constant'].sum()} units that are near-constant in some window are left out.")
    return notes


def _next_step(run: Run, table: pd.DataFrame) -> str:
    if not table["noiseless"].all() and "probe" in run.phases:
        return f"Next: icshift path {run.path} --phase probe   (without sampling noise)"
    phase = table["phase"].iloc[0]
    return f"Next: icshift report {run.path} --phase {phase} --reference first"
