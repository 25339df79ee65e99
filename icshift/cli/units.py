"""`icshift units`: the units of one site, or one unit over all steps."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icshift.cli import options

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from icshift.runs.format import Site
    from icshift.runs.reader import Run


def units(
    run: options.RunPath,
    site: Annotated[str, typer.Option("--site", help="Name of one site.", show_default=False)],
    unit: Annotated[
        int | None, typer.Option("--unit", help="Draw this unit's percentiles over steps.", show_default=False)
    ] = None,
    metric: options.Metric = "w1_sd",
    reference: options.Reference = "previous",
    phase: options.Phase = None,
    top: options.Top = 10,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show the most drifting units of a site.

    Or, with --unit, one unit's 15th, 50th and 85th percentiles over steps.
    """
    from icshift.cli.output import print_text, screen
    from icshift.reports.tabular import to_json
    from icshift.runs.reader import Run

    opened = Run(run)
    chosen = opened.site(site)
    if unit is not None:
        series = unit_series(opened, chosen, unit, phase)
        if json:
            print_text(
                to_json({"run": str(run), "site": site, "unit": unit, "steps": series.to_dict(orient="records")})
            )
            return
        console = screen(no_color=no_color)
        # Percentiles of several processes cannot be put together; each saw batches of the same kind.
        drawn = series[series["rank"] == series["rank"].min()] if "rank" in series else series
        console.print(ribbon_title(opened, chosen, unit, drawn), style="bold", soft_wrap=True)
        console.print(ribbon(drawn, width=console.width - 12, height=14))
        return
    table = most_drifting(opened, chosen, metric, reference, phase)
    shown = table.head(top)
    if json:
        print_text(to_json({"run": str(run), "site": site, "metric": metric, "units": shown.to_dict(orient="records")}))
        return
    from icshift.analysis.metrics import metric as metric_named
    from icshift.reports.drift import units_table

    console, one = screen(no_color=no_color), metric_named(metric)
    first = shown.iloc[0]
    kind = "paired" if one.by_example else "sampled"
    moved = "* moved beyond noise (FDR 5 %), " if shown["floor"].notna().any() else ""
    against = f"against {first['reference']}" if first["reference"] else "with nothing to compare"
    console.print(
        f"{run} · site {site} ({chosen.type}) · phase {first['phase']} · window {first['name']} {against}",
        style="bold",
        soft_wrap=True,
    )
    console.print(units_table(shown, metric))
    console.print(
        f"drift: {one.name} in {one.unit}, {one.meaning}. "
        f"{len(shown)} of {len(table)} units, n = {int(first['n']):,} {kind} activations each; "
        f"mean, sd and percentiles of the window. {moved}≈ near-constant.",
        style="dim",
    )
    if not quiet:
        console.print(
            f"Next: icshift units {run} --site {quote(site)} --unit {int(first['unit'])}", style="dim", soft_wrap=True
        )


def most_drifting(run: Run, site: Site, metric: str, reference: str, phase: str | None) -> pd.DataFrame:
    """Units of the last compared window, most drifting first, with its distribution; NaN drift if there is none."""
    import numpy as np

    from icshift.analysis.drift import default_phase, drift
    from icshift.runs.format import kept_units

    name = default_phase(run) if phase is None else run.phase(phase)
    windows = run.windows()
    here = windows[(windows["site"] == site.name) & (windows["phase"] == name)]
    if here.empty:
        from icshift.errors import SelectionError

        raise SelectionError(f"site {site.name} has nothing recorded in phase {name}; phases: {', '.join(run.phases)}")
    _refuse_without_units(run, site, metric, reference, name)
    compared = drift(run, metrics=(metric,), reference=reference, phase=phase, sites=[site.name])
    index = compared["window"].max() if len(compared) else here["window"].max()
    distribution = here[here["window"] == index].drop(columns=["phase", "site", "window"])
    if len(compared):
        last = compared[compared["window"] == index].merge(distribution, on="unit")
        return last.sort_values("value", key=lambda value: -value.abs(), kind="stable", ignore_index=True)
    blank = distribution.assign(
        unit=kept_units(site), phase=name, window=index, reference="", value=np.nan, floor=np.nan, ratio=np.nan
    )
    return blank.assign(moved=False, near_constant=False, n=blank["sampled"])


def _refuse_without_units(run: Run, site: Site, metric: str, reference: str, phase: str) -> None:
    """Raise `SelectionError` for metrics that units do not have, or not in this phase."""
    from icshift.analysis.drift import by_site, refuse_without_examples
    from icshift.analysis.metrics import metric as metric_named
    from icshift.errors import SelectionError

    one = metric_named(metric)
    if one.of == "site":
        raise SelectionError(
            f"{metric} is of a site as a whole, its units have none: "
            f"icshift report {run.path} --metric {metric} --phase {phase} --site {quote(site.name)} shows it"
        )
    for _, comparisons in by_site(run, reference=reference, phase=phase, sites=[site.name]):
        refuse_without_examples(one, run, phase, comparisons[-1:])


def unit_series(run: Run, site: Site, unit: int, phase: str | None) -> pd.DataFrame:
    """The step series of one unit. Raises `SelectionError` for a unit or phase that has none."""
    from icshift.errors import SelectionError, unknown
    from icshift.runs.format import kept_units

    known = kept_units(site)
    if unit not in known:
        recorded = "all" if site.kept is None else f"{len(known)} of them recorded"
        raise SelectionError(f"no unit {unit} in site {site.name}: it has units 0 to {site.units - 1}, {recorded}")
    steps = run.steps(sites=[site.name])
    phases = list(dict.fromkeys(steps["phase"]))
    wanted = phase or ("train" if "train" in phases else next(iter(phases), "train"))
    if wanted not in phases:
        raise unknown("phase with a step series", wanted, phases)
    return steps[(steps["phase"] == wanted) & (steps["unit"] == unit)].reset_index(drop=True)


def ribbon(series: pd.DataFrame, *, width: int, height: int) -> RenderableType:
    """The 15th to 85th percentiles of a unit over steps, the median in them."""
    from icshift.reports.text_charts import ribbons

    columns: list[list[Any]] = [series[name].tolist() for name in ("step", "q15", "q50", "q85")]
    return ribbons(*columns, width=width, height=height)


def ribbon_title(run: Run, site: Site, unit: int, series: pd.DataFrame) -> str:
    """What the ribbons show, with n."""
    n = int(series["count"].median()) if len(series) else 0
    process = f", process {series['rank'].iloc[0]} of {run.ranks}" if "rank" in series and len(series) else ""
    what = f"15th, 50th, 85th percentile of each step (≤ {n:,} activations a step{process})"
    return f"{run.path} · {site.name} ({site.type}) unit {unit} · {what}"
