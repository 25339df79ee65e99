"""`icshift report`: a row a site."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

from icshift.cli import options
from icshift.cli.info import coverage

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from icshift.analysis.metrics import Metric
    from icshift.runs.reader import Run


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
    from icshift.analysis.by_site import summary
    from icshift.analysis.metrics import metric as metric_named
    from icshift.cli.output import print_text, screen
    from icshift.reports.tabular import to_json
    from icshift.runs.reader import Run

    opened = Run(run)
    table = summary(opened, metric_name=metric, reference=reference, phase=phase, sites=site).head(top)
    if json:
        rows = [{key: row[key] for key in row if row[key] is not None} for row in table.to_dict(orient="records")]
        found = {"run": str(run), "metric": metric, "reference": reference, "sites": rows}
        print_text(to_json({**found, **_with_gradients(opened, site, top)}))
        return
    console = screen(no_color=no_color)
    print_report(console, opened, table, metric_named(metric))
    print_gradients(console, opened, site, top)
    if not quiet:
        console.print(_next_step(opened, table, metric_named(metric)), style="dim", soft_wrap=True)


def print_report(console: Console, run: Run, table: pd.DataFrame, metric: Metric) -> None:
    """Heading, table and what one must know to read it."""
    from icshift.reports.drift import distribution_table, report_table

    console.print(heading(run, table), style="bold", soft_wrap=True)
    compared = "window" in table and table["window"].notna().any()
    console.print(report_table(table, wide=console.width >= 100) if compared else distribution_table(table))
    for line in _notes(run, table, metric):
        console.print(line, style="dim", highlight=False)
    if missed := coverage(run):
        console.print(missed, style="yellow", soft_wrap=True)


def print_gradients(console: Console, run: Run, layers: list[str] | None, top: int) -> None:
    """What was measured with gradients, apart from drift: these are other definitions of the shift."""
    from icshift.analysis.measured import landscape_summary
    from icshift.reports.measured import gradient_shift_table, landscape_lines

    shift, around = _gradient_shift(run, layers, top), landscape_summary(run)
    if len(shift):
        from icshift.runs.format import GRADIENT_SHIFT

        # A process that is killed may have written rows, but not yet how they were measured.
        how = run.manifest.get("measured", {}).get(GRADIENT_SHIFT, {})
        counted = f" Counted of each layer: {how['counted']} parameters." if how else ""
        console.print("\nGradient shift (Santurkar et al. 2018, Def. 2.1)", style="bold")
        console.print(gradient_shift_table(shift))
        for line in (
            f"Medians of {shift['n'].max()} steps. G: a layer's gradient; G′: what the step of the layers before it "
            f"makes of it (nothing, of the first); relative and trend: ‖G−G′‖ over ‖G‖.{counted}",
            "Drift is another definition of the shift; the two may disagree.",
        ):
            console.print(line, style="dim", highlight=False)
    if around:
        console.print("\nLandscape along the gradient (Santurkar et al. 2018, Fig. 4)", style="bold")
        for line in landscape_lines(around):
            console.print(line, soft_wrap=True)
        console.print(f"Medians of {around['n']} steps; lr {around['rate']:g} at the last of them.", style="dim")


def _gradient_shift(run: Run, layers: list[str] | None, top: int) -> pd.DataFrame:
    """Of the layers that the globs for sites match: both are modules."""
    from fnmatch import fnmatchcase

    from icshift.analysis.measured import gradient_shift_summary

    found = gradient_shift_summary(run)
    if layers and len(found):
        found = found[[any(fnmatchcase(name, glob) for glob in layers) for name in found["layer"]]]
    return found.head(top)


def _with_gradients(run: Run, layers: list[str] | None, top: int) -> dict[str, Any]:
    from icshift.analysis.measured import landscape_summary

    shift, around = _gradient_shift(run, layers, top), landscape_summary(run)
    found: dict[str, Any] = {"gradient_shift": shift.to_dict(orient="records")} if len(shift) else {}
    return {**found, "landscape": around} if around else found


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


def _notes(run: Run, table: pd.DataFrame, metric: Metric) -> list[str]:
    if "window" not in table or not table["window"].notna().any():
        return [
            "One window leaves nothing to compare: this is its distribution, medians over units. "
            "Drift needs two windows of a phase."
        ]
    first = table.dropna(subset=["window"]).iloc[-1]
    over = "of the site as a whole" if metric.of == "site" else "median over units"
    notes = [f"drift: {metric.name}, {over}. {metric.meaning}."]
    if metric.by_example:
        notes += _of_rows(table, metric)
    elif first["noiseless"]:
        notes.append(
            f"Paired: the same inputs in every window, {first['n']:,} values a unit, so there is no sampling noise."
        )
    else:
        notes.append(
            f"floor: the same by sampling noise alone, n = {first['n']:,} sampled activations a unit and window. "
            "moved: units beyond it (FDR 5 %)."
        )
    notes += drawn_anew(first["phase"])
    errors = table["error"].dropna()
    if len(errors) and not metric.by_example:
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


def drawn_anew(phase: str) -> list[str]:
    """What the same inputs do not keep the same."""
    if phase != "probe-train":
        return []
    return ["A recorder replays this phase in training mode: dropout and other draws of the model differ by window."]


def _of_rows(table: pd.DataFrame, metric: Metric) -> list[str]:
    """What one must know of a metric that compares the same examples in both windows."""
    compared = table.dropna(subset=["window"])
    rows, wide = int(compared["rows"].median()), int(compared["units"].max())
    notes = [f"n = {rows:,} activations a unit of the probe, the same ones in both windows."]
    notes += [metric.caveat] if metric.caveat else []
    notes += [metric.note(rows, wide)] if metric.note else []
    if metric.error is not None:
        error = compared["error"].max()
        notes.append(f"Its {metric.error_source}: ±{error:.2g} (2 standard errors, those of the site with the most).")
    return notes


def _next_step(run: Run, table: pd.DataFrame, metric: Metric) -> str:
    from icshift.analysis.drift import default_phase
    from icshift.analysis.metrics import DEFAULT

    if not len(table) or "ratio" not in table or not table["median"].notna().any():
        return f"Next: icshift info {run.path}"
    by = "ratio" if table["ratio"].notna().any() else "median"
    worst = table.sort_values(by, ascending=False)["site"].iloc[0]
    phase = table["phase"].iloc[0]
    chosen = "" if phase == default_phase(run) else f" --phase {quote(str(phase))}"
    chosen += "" if metric.name == DEFAULT or metric.of == "site" else f" --metric {metric.name}"
    return f"Next: icshift units {run.path} --site {quote(worst)}{chosen}   ({metric.hint})"
