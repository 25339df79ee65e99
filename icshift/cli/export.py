"""`icshift export`: a table of a run as a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from icshift.cli import options
from icshift.errors import SelectionError


class Table(StrEnum):
    """The tables that can be written."""

    DRIFT = "drift"
    GRADIENT_SHIFT = "gradient-shift"
    SMOOTHNESS = "smoothness"


def export(
    run: options.RunPath,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A .csv, .json or .parquet file, or - for CSV on stdout.", show_default=False
        ),
    ],
    table: Annotated[
        Table, typer.Option("--table", help="What to write: the drift of units, or what was measured with gradients.")
    ] = Table.DRIFT,
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
    """Write the drift of every unit to a file, or what was measured with gradients.

    Of drift a row a unit, window and metric, in every phase. The suffix tells the format.
    """
    from icshift.analysis.ancestry import caveats, strangers
    from icshift.analysis.drift import default_phase
    from icshift.analysis.metrics import METRICS
    from icshift.analysis.units import drift_of_phases, without_values
    from icshift.analysis.unordered import unordered_of_phases
    from icshift.cli.output import refuse_file, show, write_file
    from icshift.reports.tabular import as_csv, by_suffix, written_report
    from icshift.runs.reader import StoredRun

    render = as_csv if str(output) == "-" else by_suffix(output.suffix)
    refuse_file(output, force=force)
    opened = StoredRun(run)
    missing: list[str] = []
    if table is Table.DRIFT:
        if (other := strangers(opened, reference)) is not None:
            written = unordered_of_phases(opened, other, metric or [], sites=site, phases=phase)
        else:
            metrics = list(METRICS) if metric == ["all"] else metric or ["w1", "w1_sd"]
            written = drift_of_phases(opened, metrics, reference=reference, sites=site, phases=phase)
            missing = without_values(written)
    else:
        if metric or site or phase:
            raise SelectionError(f"--metric, --site and --phase choose among drifts: {table.value} has none of them")
        written = opened.gradient_shift() if table is Table.GRADIENT_SHIFT else opened.smoothness()
    write_file(output, render(written), force=force)
    if not quiet and str(output) != "-":
        doubts = caveats(opened, reference, (phase or [default_phase(opened)])[0]) if table is Table.DRIFT else []
        show(written_report(output, len(written), table.value, missing, doubts), stderr=True)
