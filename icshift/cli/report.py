"""`icshift report`: a row a site."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import join, quote
from typing import Annotated

import typer

from icshift.cli import options
from icshift.errors import SelectionError


def report(
    ctx: typer.Context,
    run: options.RunPath,
    metric: options.Metric = "w1_sd",
    reference: options.Reference = "previous",
    site: options.SiteGlobs = None,
    phase: options.Phase = None,
    top: options.Top = 200,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write a file instead: .html is a page to look at, .md, .csv and .json hold the table.",
            show_default=False,
        ),
    ] = None,
    force: options.Force = False,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show the drift of every site.

    A row a site in model order, with the noise floor of its drift, the trend over windows and the health of its units.
    """
    from icshift.analysis.ancestry import caveats, strangers
    from icshift.analysis.by_site import summary
    from icshift.analysis.drift import default_phase
    from icshift.analysis.measured import gradient_shift_summary, smoothness_summary
    from icshift.analysis.metrics import DEFAULT
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.outcome import outcome
    from icshift.analysis.unordered import measures, unordered
    from icshift.cli.output import refuse_file, show, write_file
    from icshift.reports.document import by_suffix, document_report
    from icshift.reports.drift import drift_report
    from icshift.reports.measured import measured_reports
    from icshift.reports.page.build import Asked
    from icshift.reports.report import together
    from icshift.reports.unordered import unordered_report
    from icshift.runs.reader import StoredRun

    if ctx.args:
        given = " ".join(quote(str(path)) for path in (run, *ctx.args))
        raise SelectionError(f"a report is of one run; icshift compare {given} compares two")
    render = None if output is None else by_suffix(output.suffix)
    if output is not None:
        refuse_file(output, force=force)
    opened = StoredRun(run)
    chosen = phase or default_phase(opened)
    doubts = caveats(opened, reference, chosen)
    if (other := strangers(opened, reference)) is not None:
        if output is not None:
            raise SelectionError(
                f"a file of {run} against {reference.partition(':')[2]} cannot be written: their units have no order "
                "in common; leave out -o to see what does not depend on one"
            )
        measures([] if metric == DEFAULT else [metric])
        shown = unordered_report(opened, unordered(opened, other, phase=chosen, sites=site), doubts)
        show(shown, json=json, quiet=quiet, no_color=no_color)
        return
    if output is not None and render is not None:
        asked = Asked(metric_named(metric), reference, phase, site, _command(sys.argv), tuple(doubts))
        write_file(output, render(opened, asked), force=force)
        if not quiet:
            show(document_report(output), stderr=True, no_color=no_color)
        return
    table = summary(opened, metric_name=metric, reference=reference, phase=phase, sites=site).head(top)
    shift = gradient_shift_summary(opened, layers=site).head(top)
    said = outcome(opened, reference=reference, phase=phase)
    drifts = drift_report(opened, table, metric_named(metric), said, reference=reference, caveats=doubts)
    measured = measured_reports(opened, shift, smoothness_summary(opened))
    show(together(drifts, *measured), json=json, quiet=quiet, no_color=no_color)


def _command(arguments: list[str]) -> str:
    """Returns the command as it was typed, the program by its name."""
    return join(["icshift", *arguments[1:]])
