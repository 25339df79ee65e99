"""`icshift compare`: two groups of runs."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icshift.cli import options
from icshift.cli.command import Command

if TYPE_CHECKING:
    import pandas as pd

    from icshift.replicates.compare import RunComparison
    from icshift.runs.reader import StoredRun


class Table(StrEnum):
    """The tables that can be written."""

    RATIOS = "ratios"
    VALUES = "values"


class WithMany(Command):
    """A command whose option `--with` takes all the arguments that follow it, up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with `--with` put before each of those that it takes."""
        spread: list[str] = []
        taking = False
        for argument in args:
            if argument.startswith("-") and argument != "-":
                taking = argument == "--with"
                spread += [] if taking else [argument]
            else:
                spread += ["--with", argument] if taking else [argument]
        return super().parse_args(ctx, spread)


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="A…", help="Runs of group A.", show_default=False)],
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="B…", help="Runs of group B, in the order of A's seeds.", show_default=False),
    ] = None,
    site: options.SiteGlobs = None,
    phase: Annotated[
        list[str] | None,
        typer.Option("--phase", help="May be repeated; train and probe by default.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .csv, .json or .parquet file, or - for CSV on stdout; .html is a page, .svg, .png, .pdf a figure.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        Table | None,
        typer.Option(
            "--table",
            help="What -o writes: ratios of all runs, or the values of each; ratios where there are any by default.",
            show_default=False,
        ),
    ] = None,
    json: options.AsJson = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Compare two groups of runs, as of two methods.

    \b
    icshift compare A B
    icshift compare A1 A2 A3 A4 A5 --with B1 B2 B3 B4 B5

    The replicate is the training run. Give runs of the same seed at the same place: they are pairs. From 5 runs of each
    on there are ratios A / B with 95 % intervals and exact tests; of fewer, the values of each and no statement.
    Compared are the path, how far a site went over all windows, and the last window.
    """
    from icshift.cli.output import one_on_stdout, refuse_file, show, warn_of_missing, write_file
    from icshift.document import PAGE, document_report
    from icshift.figures.frame import FORMATS as PICTURES
    from icshift.figures.frame import require
    from icshift.replicates.compare import compare as compare_runs
    from icshift.reports.comparison import comparison_report
    from icshift.reports.tabular import as_csv, by_suffix, written_report
    from icshift.runs.reader import StoredRun

    if not others and len(runs) != 2:
        what = "1 run is no comparison" if len(runs) == 1 else f"{len(runs)} runs are one group"
        raise typer.BadParameter(f"{what}: give the other one, --with B1 B2 …")
    to_stdout = str(output) == "-"
    one_on_stdout("--json" * json, "-o -" * to_stdout)
    suffix = "" if output is None else output.suffix.lower()
    pictured = suffix in (PAGE, *PICTURES)
    if suffix in PICTURES:
        require()
    if pictured and table is not None:
        what = "page" if suffix == PAGE else "figure"
        raise typer.BadParameter(f"--table chooses rows and {output} is a {what}: leave one of them out")
    render = as_csv if output is None or to_stdout or pictured else by_suffix(output.suffix)
    if output is not None:
        refuse_file(output, force=force)
    groups = [[StoredRun(path) for path in paths] for paths in ((runs, others) if others else (runs[:1], runs[1:]))]
    if output is not None:
        warn_of_missing([run for group in groups for run in group], no_color=no_color)
    compared = compare_runs(*groups, phases=phase, sites=site)
    if output is not None:
        if pictured:
            content, told = _pictured(compared, groups, site, suffix), document_report(output)
        else:
            written = _rows(compared, table)
            content, told = render(written), written_report(output, len(written))
        write_file(output, content, force=force)
        if not quiet and not to_stdout:
            show(told, stderr=True, no_color=no_color)
    if not to_stdout:
        show(comparison_report(compared), json=json, quiet=quiet, no_color=no_color)


def _pictured(compared: RunComparison, groups: list[list[StoredRun]], sites: list[str] | None, suffix: str) -> bytes:
    """Returns the page, or the figure, of two groups of runs."""
    from icshift.analysis.metrics import DEFAULT, metric
    from icshift.document import PAGE, page_of_groups
    from icshift.figures.figure import drawn_comparison
    from icshift.page.build import Asked

    if suffix != PAGE:
        return drawn_comparison(compared, suffix)
    command = join(["icshift", *sys.argv[1:]])
    return page_of_groups(
        compared, [runs[0] for runs in groups], Asked(metric(DEFAULT), "previous", None, sites, command)
    )


def _rows(compared: RunComparison, table: Table | None) -> pd.DataFrame:
    from icshift.errors import SelectionError

    chosen = table or (Table.RATIOS if compared.design.enough else Table.VALUES)
    written = compared.ratios if chosen is Table.RATIOS else compared.values
    if not len(written):
        raise SelectionError("there are no ratios of so few runs; --table values writes the values of each")
    return written
