"""`icshift export`: a table of a run as a file, or a run for a dashboard of experiments."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options
from icshift.errors import SelectionError

if TYPE_CHECKING:
    from icshift.trackers.series import Asked


class Table(StrEnum):
    """The tables that can be written."""

    DRIFT = "drift"
    GRADIENT_SHIFT = "gradient-shift"
    SMOOTHNESS = "smoothness"


class Tracker(StrEnum):
    """The dashboards that a run can be written for."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"


def export(
    run: options.RunPath,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .csv, .json or .parquet file, or - for CSV on stdout; with --to a directory.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Tracker | None,
        typer.Option(
            "--to", help="Write series and histograms of sites for a dashboard, not a table.", show_default=False
        ),
    ] = None,
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
    no_color: options.NoColor = False,
) -> None:
    """Write the drift of every unit to a file, or what was measured with gradients.

    Of drift a row a unit, window and metric, in every phase. The suffix tells the format. With --to a directory is
    written that TensorBoard, Weights & Biases or MLflow shows: drift, floor and health of every site by window, its sd
    by step, and histograms of its activations.
    """
    from icshift.analysis.metrics import METRICS

    metrics = list(METRICS) if metric == ["all"] else metric or ["w1", "w1_sd"]
    if to is not None:
        from icshift.trackers.series import Asked

        if table is not Table.DRIFT:
            raise SelectionError(f"--table {table.value} is for files: leave it out, or --to {to.value}")
        asked = Asked(tuple(metrics), reference, tuple(site) if site else None, tuple(phase) if phase else None)
        _track(run, output, to, asked, force=force, quiet=quiet, no_color=no_color)
        return
    from icshift.analysis.ancestry import caveats, other_run, strangers
    from icshift.analysis.drift import default_phase
    from icshift.analysis.units import drift_of_phases, rows_of_phases, without_values
    from icshift.analysis.unordered import unordered_of_phases
    from icshift.cli.output import refuse_file, show, warn_of_missing, write_file, write_pieces
    from icshift.reports.drift_csv import drift_csv
    from icshift.reports.drift_parquet import drift_parquet
    from icshift.reports.in_pieces import Written
    from icshift.reports.tabular import as_csv, as_parquet, by_suffix, no_rows, written_report
    from icshift.runs.reader import StoredRun

    render = as_csv if str(output) == "-" else by_suffix(output.suffix)
    refuse_file(output, force=force)
    opened = StoredRun(run)
    warn_of_missing([opened, other_run(reference)], no_color=no_color)
    missing: list[str] = []
    streamed = None
    if table is Table.DRIFT:
        if (other := strangers(opened, reference)) is not None:
            written = unordered_of_phases(opened, other, metric or [], sites=site, phases=phase)
        elif render in (as_csv, as_parquet):
            streamed = Written()
            rows = rows_of_phases(opened, metrics, reference=reference, sites=site, phases=phase)
            parquet = render is as_parquet
            written_as = drift_parquet(rows, streamed, opened.sites) if parquet else drift_csv(rows, streamed)
            write_pieces(output, written_as, force=force)
            missing = streamed.missing
        else:
            written = drift_of_phases(opened, metrics, reference=reference, sites=site, phases=phase)
            missing = without_values(written)
    else:
        if metric or site or phase:
            raise SelectionError(f"--metric, --site and --phase choose among drifts: {table.value} has none of them")
        written = opened.gradient_shift() if table is Table.GRADIENT_SHIFT else opened.smoothness()
    if streamed is None:
        if written.empty and table is not Table.DRIFT:
            raise SelectionError(f"nothing to write to {output}: {no_rows(table.value)}")
        write_file(output, render(written), force=force)
    if not quiet and str(output) != "-":
        doubts = caveats(opened, reference, (phase or [default_phase(opened)])[0]) if table is Table.DRIFT else []
        show(
            written_report(output, len(written) if streamed is None else streamed.rows, missing, doubts),
            stderr=True,
            no_color=no_color,
        )


def _track(run: Path, folder: Path, to: Tracker, asked: Asked, *, force: bool, quiet: bool, no_color: bool) -> None:
    """Write a run for a dashboard."""
    from icshift.analysis.ancestry import caveats, other_run, strangers
    from icshift.cli.output import progress, show, warn_of_missing
    from icshift.reports.tracked import Tracked, tracked_report
    from icshift.runs.reader import StoredRun
    from icshift.trackers.folder import refuse_folder, write_folder, writer
    from icshift.trackers.series import by_steps, phases_of, sent

    write = writer(to.value)
    refuse_folder(folder, force=force)
    opened = StoredRun(run)
    warn_of_missing([opened, other_run(asked.reference)], no_color=no_color)
    if strangers(opened, asked.reference) is not None:
        raise SelectionError(
            f"nothing can be written of {run} against {asked.reference.partition(':')[2]}: their units have no order "
            "in common"
        )
    phases = phases_of(opened, asked)
    with progress("{task.description}", quiet=quiet, no_color=no_color) as bar:
        series = list(bar.track(sent(opened, asked), total=len(phases), description=f"Reading {run}"))
    written = write_folder(folder, lambda target: write(target, opened, series), force=force)
    if not quiet:
        told = Tracked(
            written.scalars, written.histograms, tuple(one.phase for one in series), by_steps(opened.window_list)
        )
        show(
            tracked_report(folder, to.value, told, caveats(opened, asked.reference, phases[0])),
            stderr=True,
            no_color=no_color,
        )
