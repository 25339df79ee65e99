"""`icshift export`: the drift table as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icshift.cli import options


def export(
    run: options.RunPath,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A .csv, .json or .parquet file, or - for CSV on stdout.", show_default=False
        ),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="Name of a metric, or all; may be repeated. w1 and w1_sd by default.", show_default=False
        ),
    ] = None,
    reference: options.Reference = "previous",
    site: options.SiteGlobs = None,
    phase: Annotated[
        list[str] | None, typer.Option("--phase", help="Phases; all that were recorded by default.", show_default=False)
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the drift of every unit to a file.

    A row a unit, window and metric, in every phase. The suffix tells the format.
    """
    import pandas as pd

    from icshift.analysis.drift import default_phase, drift
    from icshift.analysis.metrics import METRICS
    from icshift.cli.output import screen, write_file
    from icshift.reports.tabular import as_csv, by_suffix
    from icshift.run import Run

    render = as_csv if str(output) == "-" else by_suffix(output.suffix)
    metrics = list(METRICS) if metric == ["all"] else metric or ["w1", "w1_sd"]
    opened = Run(run)
    # With nothing to choose from, the default phase tells what is missing.
    phases = phase or [name for name in opened.phases if reference != f"phase:{name}"] or [default_phase(opened)]
    frames = [drift(opened, metrics=metrics, reference=reference, phase=name, sites=site) for name in phases]
    filled = [frame for frame in frames if len(frame)]
    table = pd.concat(filled, ignore_index=True) if filled else frames[0]
    write_file(output, render(table), force=force)
    if not quiet and str(output) != "-":
        what = f"{len(table):,} rows" if len(table) else "no rows: one window leaves nothing to compare"
        screen(no_color=False, stderr=True).print(f"{output}: {what}", style="dim", soft_wrap=True)
