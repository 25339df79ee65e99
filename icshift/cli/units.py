"""`icshift units`: the units of one site, or one unit over all steps."""

from __future__ import annotations

from typing import Annotated

import typer

from icshift.cli import options


def units(
    run: options.RunPath,
    site: Annotated[str, typer.Option("--site", help="Name of one site.", show_default=False)],
    unit: Annotated[
        int | None, typer.Option("--unit", help="Draw this unit's percentiles over steps.", show_default=False)
    ] = None,
    metric: options.Metric = "w1_sd",
    reference: options.Reference = "previous",
    window: options.Window = "last",
    phase: options.Phase = None,
    top: options.Top = 10,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show the most drifting units of a site.

    Or, with --unit, one unit's 15th, 50th and 85th percentiles over steps.
    """
    from icshift.analysis.ancestry import caveats
    from icshift.analysis.drift import default_phase
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.units import most_drifting, unit_series
    from icshift.analysis.windows import as_of
    from icshift.cli.output import show
    from icshift.reports.tables import searched
    from icshift.reports.units import unit_report, units_report
    from icshift.runs.reader import StoredRun

    opened = StoredRun(run)
    chosen = opened.site(site)
    if unit is None:
        seen = as_of(opened, window, metric_name=metric, reference=reference, phase=phase, sites=[site])
        table = most_drifting(seen.run, chosen, metric, reference, phase, seen.level)
        doubts = [*searched(seen.searched), *caveats(seen.run, reference, phase or default_phase(opened))]
        report = units_report(seen.run, chosen, table.head(top), metric_named(metric), of=len(table), caveats=doubts)
    else:
        report = unit_report(opened, chosen, unit, unit_series(opened, chosen, unit, phase))
    show(report, json=json, quiet=quiet, no_color=no_color)
