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

    Or, with --unit, one unit's 15th, 50th and 85th percentiles over steps, up to the window that --window names.
    """
    from icshift.analysis.ancestry import caveats, missing_there
    from icshift.analysis.drift import as_asked, default_phase
    from icshift.analysis.metrics import DEFAULT
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.units import most_drifting, unit_series
    from icshift.analysis.windows import LAST, WORST, AsOf, as_of
    from icshift.cli.output import show
    from icshift.errors import SelectionError
    from icshift.reports.tables import searched
    from icshift.reports.units import unit_report, units_report
    from icshift.runs.reader import StoredRun

    if unit is not None and (metric, reference) != (DEFAULT, "previous"):
        raise SelectionError(
            "--unit shows the percentiles of one unit over steps, which no metric compares with any reference: leave "
            "out --metric and --reference, or --unit"
        )
    opened = StoredRun(run)
    chosen = opened.site(site)
    if unit is None:
        phase, reference = as_asked(opened, phase, reference)
    if unit is None or window == WORST:
        seen = as_of(opened, window, metric_name=metric, reference=reference, phase=phase, sites=[site])
    else:
        seen = AsOf(opened if window == LAST else opened.until(opened.window(window)))
    if unit is None:
        table = most_drifting(seen.run, chosen, metric, reference, phase, seen.level)
        doubts = [*searched(seen.searched), *caveats(seen.run, reference, phase or default_phase(opened))]
        doubts += missing_there(reference)
        report = units_report(
            seen.run, chosen, table.head(top), metric_named(metric), of=len(table), reference=reference, caveats=doubts
        )
    else:
        report = unit_report(seen.run, chosen, unit, unit_series(seen.run, chosen, unit, phase))
    show(report, json=json, quiet=quiet, no_color=no_color)
