"""`icshift export`: a table of a run as a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options
from icshift.errors import SelectionError

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import Run


class Table(StrEnum):
    """What can be written."""

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
    from icshift.cli.output import screen, write_file
    from icshift.reports.tabular import as_csv, by_suffix
    from icshift.runs.reader import Run

    render = as_csv if str(output) == "-" else by_suffix(output.suffix)
    opened = Run(run)
    if table is Table.DRIFT:
        written, nothing = drift_table(opened, metric, reference, site, phase), "one window leaves nothing to compare"
    else:
        if metric or site or phase:
            raise SelectionError(f"--metric, --site and --phase choose among drifts: {table.value} has none of them")
        written = opened.gradient_shift() if table is Table.GRADIENT_SHIFT else opened.smoothness()
        nothing = f"recorder.{table.value.replace('-', '_')}(closure) was not called while it was recorded"
    write_file(output, render(written), force=force)
    if not quiet and str(output) != "-":
        what = f"{len(written):,} rows" if len(written) else f"no rows: {nothing}"
        if table is Table.DRIFT and (missing := unpaired(written)):
            what += f"; {', '.join(missing)} without values: they compare the same examples, which takes a probe"
        screen(no_color=False, stderr=True).print(f"{output}: {what}", style="dim", soft_wrap=True)


def drift_table(
    run: Run, metric: list[str] | None, reference: str, site: list[str] | None, phase: list[str] | None
) -> pd.DataFrame:
    """The drift of all chosen phases, one after the other."""
    import pandas as pd

    from icshift.analysis.drift import default_phase, drift
    from icshift.analysis.metrics import METRICS

    metrics = list(METRICS) if metric == ["all"] else metric or ["w1", "w1_sd"]
    # With nothing to choose from, the default phase tells what is missing.
    phases = phase or [name for name in run.phases if reference != f"phase:{name}"] or [default_phase(run)]
    frames = [drift(run, metrics=metrics, reference=reference, phase=name, sites=site) for name in phases]
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def unpaired(drifts: pd.DataFrame) -> list[str]:
    """Metrics of paired rows that have none in any of these phases."""
    from icshift.analysis.metrics import METRICS

    found = drifts[drifts["metric"].map(lambda name: METRICS[name].paired).astype(bool)]
    return [str(name) for name, rows in found.groupby("metric", sort=False) if not rows["n"].any()]
