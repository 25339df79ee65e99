"""`icshift onset`: which site left the band of its own past first."""

from __future__ import annotations

from typing import Annotated

import typer

from icshift.cli import options


def onset(
    run: options.RunPath,
    site: options.SiteGlobs = None,
    phase: options.Phase = None,
    after: Annotated[
        int, typer.Option("--after", min=-1, help="Look at later steps than this one only.", show_default=False)
    ] = -1,
    top: options.Top = 200,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show which site left the band of its own past first, and at which step.

    A row a site, those that left first at the top: the first step at which its sd or its median lies outside of what
    the steps before it lead to expect.
    """
    from icshift.analysis.onset import onset as onset_of
    from icshift.cli.output import show
    from icshift.reports.onset import onset_report
    from icshift.runs.reader import StoredRun

    opened = StoredRun(run)
    table = onset_of(opened, phase=phase, sites=site, after=after)
    show(onset_report(opened, table, top=top), json=json, quiet=quiet, no_color=no_color)
