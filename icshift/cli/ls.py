"""`icshift ls`: the runs below a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icshift.cli import options


def ls(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to look for runs.")] = Path(),
    fast: Annotated[bool, typer.Option("--fast", help="No drift: read no window.")] = False,
    output: options.AllRows = None,
    json: options.AsJson = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """List the runs below a directory: model, windows, in what way each ended, and the largest drift.

    Of every run the manifest, the list of windows and the last two of these are read.
    """
    from icshift.analysis.overview import overview
    from icshift.cli.output import one_on_stdout, progress, refuse_file, show, write_file
    from icshift.reports.overview import overview_report
    from icshift.reports.tabular import as_csv, by_suffix, written_report
    from icshift.runs.found import runs_below

    to_stdout = str(output) == "-"
    one_on_stdout("--json" * json, "-o -" * to_stdout)
    render = as_csv if output is None or to_stdout else by_suffix(output.suffix)
    if output is not None:
        refuse_file(output, force=force)
    paths = runs_below(folder)
    with progress("{task.description}", quiet=quiet, no_color=no_color) as bar:
        runs = overview(bar.track(paths, description=f"Reading {len(paths)} runs"), drift=not fast)
    if output is not None:
        written = runs.assign(missing=runs["missing"].map(" ".join))  # A list is no cell of a table.
        write_file(output, render(written), force=force)
        if not quiet and not to_stdout:
            show(written_report(output, len(runs)), stderr=True, no_color=no_color)
    if not to_stdout:
        show(overview_report(folder, runs), json=json, quiet=quiet, no_color=no_color)
