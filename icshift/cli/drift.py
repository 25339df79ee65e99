"""`icshift drift`: how far activations that somebody dumped himself drifted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icshift.cli import options


def drift(
    before: Annotated[
        Path, typer.Argument(metavar="A", help="Activations [rows, units] to compare with.", show_default=False)
    ],
    after: Annotated[
        Path, typer.Argument(metavar="B", help="The same units later, or on other data.", show_default=False)
    ],
    metric: Annotated[str, typer.Option("--metric", help="w1_sd, over the pooled sd, or w1.")] = "w1_sd",
    top: options.Top = 20,
    output: options.AllRows = None,
    json: options.AsJson = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show how far activations that you dumped yourself drifted: two .npy, .npz or .parquet files.

    Wasserstein-1 of every unit, exactly, with what noise alone would show. Rows are in the order in which they came,
    units are on the last axis. Arrays of an .npz file are compared by name; in a .parquet file every column is a unit.
    """
    from icshift.arrays.drift import drift as drift_of
    from icshift.cli.output import one_on_stdout, refuse_file, show, write_file
    from icshift.reports.arrays import arrays_report
    from icshift.reports.tabular import as_csv, by_suffix, written_report

    to_stdout = str(output) == "-"
    one_on_stdout("--json" * json, "-o -" * to_stdout)
    render = as_csv if output is None or to_stdout else by_suffix(output.suffix)
    if output is not None:
        refuse_file(output, force=force)
    found = drift_of(before, after, metric=metric)  # type: ignore[arg-type]  # It says itself which there are.
    if output is not None:
        write_file(output, render(found.units), force=force)
        if not quiet and not to_stdout:
            show(written_report(output, len(found.units)), stderr=True, no_color=no_color)
    if not to_stdout:
        show(arrays_report(str(before), str(after), found, top), json=json, quiet=quiet, no_color=no_color)
