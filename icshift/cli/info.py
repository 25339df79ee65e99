"""`icshift info`: what a run holds."""

from __future__ import annotations

from typing import Annotated

import typer

from icshift.cli import options


def _print_metrics(wanted: bool) -> None:
    if wanted:
        from icshift.analysis.metrics import METRICS
        from icshift.cli.output import show
        from icshift.reports.drift import metrics_report

        show(metrics_report(METRICS))
        raise typer.Exit


def info(
    run: options.RunPath,
    metrics: Annotated[
        bool, typer.Option("--metrics", callback=_print_metrics, is_eager=True, help="List the metrics and leave.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read every file and say what is damaged or missing; exit with 1 then."),
    ] = False,
    json: options.AsJson = False,
    no_color: options.NoColor = False,
) -> None:
    """Show what a run holds.

    Sites with their unit axis and what they feed, windows, phases, coverage of the model's modules, and recording cost.
    """
    del metrics
    from icshift.cli.output import show

    if verify:
        from icshift.reports.verified import verified_report
        from icshift.runs.verify import verify as verified

        found = verified(run)
        show(verified_report(found), json=json, no_color=no_color)
        raise typer.Exit(1 if found.problems else 0)
    from icshift.reports.run import run_report
    from icshift.runs.reader import StoredRun

    show(run_report(StoredRun(run)), json=json, no_color=no_color)
