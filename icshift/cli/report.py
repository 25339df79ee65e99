"""`icshift report`: a row a site."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options
from icshift.cli.command import Command
from icshift.errors import SelectionError

if TYPE_CHECKING:
    from icshift.figures.figure import Wanted
    from icshift.page.build import Asked
    from icshift.runs.reader import StoredRun


@dataclass(frozen=True)
class Manner:
    """How a file is written and told of."""

    force: bool
    quiet: bool
    no_color: bool


class WithOthers(Command):
    """A command that takes more runs than one, and says itself what to do with them."""

    allow_extra_args = True


def report(
    ctx: typer.Context,
    run: options.RunPath,
    metric: options.Metric = "w1_sd",
    reference: options.Reference = "previous",
    window: options.Windows = "last",
    site: options.SiteGlobs = None,
    phase: options.Phase = None,
    top: options.Top = 200,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write a file instead: .html is a page to look at, also of two runs side by side, .svg, .png and .pdf "
            "a figure, .md, .csv and .json hold the table of all sites.",
            show_default=False,
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            help="Which figure -o draws: atlas (the usual one), onset, fan, units, anatomy, or of two runs compare.",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", help="Unit of the figures fan and units; all in a fan: medians over units.", show_default=False
        ),
    ] = None,
    theme: Annotated[
        str | None, typer.Option("--theme", help="light or dark, of a figure; light by default.", show_default=False)
    ] = None,
    force: options.Force = False,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show the drift of every site.

    A row a site in model order, with the noise floor of its drift, the trend over windows and the health of its units.
    """
    from icshift.analysis.ancestry import caveats, missing_there, strangers
    from icshift.analysis.by_site import summary
    from icshift.analysis.drift import as_asked
    from icshift.analysis.furthest import furthest
    from icshift.analysis.measured import gradient_shift_summary, smoothness_summary
    from icshift.analysis.metrics import DEFAULT
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.outcome import outcome
    from icshift.analysis.unordered import measures, unordered
    from icshift.analysis.windows import ALL, as_of, by_window, uncompared
    from icshift.cli.output import show
    from icshift.reports.drift import drift_report
    from icshift.reports.measured import measured_reports
    from icshift.reports.report import together
    from icshift.reports.tables import not_shown, searched
    from icshift.reports.unordered import unordered_report
    from icshift.reports.windows import windows_report
    from icshift.runs.reader import StoredRun

    if output is not None:
        from icshift.page.build import Asked  # Which a report in the terminal need not wait for.

        asked = Asked(metric_named(metric), reference, phase, site, join(["icshift", *sys.argv[1:]]), window=window)
        wanted = _wanted(figure, site, unit, theme)
        _write([run, *map(Path, ctx.args)], output, asked, wanted, Manner(force=force, quiet=quiet, no_color=no_color))
        return
    _refuse_what_takes_a_file(_wanted(figure, site, unit, theme), [run, *map(Path, ctx.args)])
    opened = StoredRun(run)
    phase, reference = as_asked(opened, phase, reference)
    if (other := strangers(opened, reference)) is not None:
        measures([] if metric == DEFAULT else [metric])
        seen = _named(opened, other, window)
        units = unordered(seen, other, phase=phase, sites=site)
        shown = unordered_report(seen, units, caveats(seen, reference, phase), missing=missing_there(reference))
    elif window == ALL:
        drifts = by_window(opened, metric_name=metric, reference=reference, phase=phase, sites=site)
        doubts = [*caveats(opened, reference, phase), *missing_there(reference)]
        lacking = uncompared(opened, drifts, phase=phase, sites=site)
        shown = windows_report(
            *(opened, drifts, metric_named(metric), phase),
            top=top,
            uncompared=lacking,
            reference=reference,
            caveats=doubts,
        )
    else:
        of = as_of(opened, window, metric_name=metric, reference=reference, phase=phase, sites=site)
        sites = summary(of.run, metric_name=metric, reference=reference, phase=phase, sites=site, level=of.level)
        table = furthest(sites, top, "ratio", "drift")
        layers = gradient_shift_summary(opened, layers=site)
        shift = furthest(layers, top, "relative")
        doubts = [
            *caveats(of.run, reference, phase),
            *missing_there(reference),
            *searched(of.searched),
            *not_shown(len(table), len(sites), "sites", "those that drifted furthest"),
            *not_shown(len(shift), len(layers), "layers", "those with the largest gradient shift"),
        ]
        said = outcome(of.run, reference=reference, phase=phase, level=of.level)
        of_drift = drift_report(of.run, table, metric_named(metric), said, reference=reference, caveats=doubts)
        shown = together(of_drift, *measured_reports(opened, shift, smoothness_summary(opened)))
    show(shown, json=json, quiet=quiet, no_color=no_color)


def _wanted(figure: str | None, site: list[str] | None, unit: str | None, theme: str | None) -> Wanted | None:
    """Returns the figure that was asked for; None where no option asks for one."""
    if (figure, unit, theme) == (None, None, None):
        return None
    from icshift.figures.figure import ATLAS, FAN, Wanted  # Which imports SciPy's statistics: a second.

    usual = ATLAS if unit is None else FAN
    return Wanted(figure or usual, site, unit, theme or "light")


def _refuse_what_takes_a_file(wanted: Wanted | None, paths: list[Path]) -> None:
    if wanted is not None:
        raise SelectionError("--figure, --unit and --theme are for a figure: name its file, -o FILE.svg, .png or .pdf")
    if len(paths) > 1:
        given = " ".join(quote(str(path)) for path in paths)
        raise SelectionError(f"a report is of one run; icshift compare {given} compares two")


def _named(run: StoredRun, other: StoredRun, window: str) -> StoredRun:
    """Returns a run up to a window that is named: there is no worst one of networks whose units have no order."""
    from icshift.analysis.ancestry import PAIRED_RUN
    from icshift.analysis.windows import ALL, LAST, WORST

    if window in (WORST, ALL):
        raise SelectionError(
            f"--window {window} takes one drift to compare windows by, and units of {run.path} and {other.path} have "
            f"no order in common: name a window, or pair units by number with --reference {PAIRED_RUN}:{other.path}"
        )
    return run if window == LAST else run.until(run.window(window))


def _write(paths: list[Path], output: Path, asked: Asked, wanted: Wanted | None, manner: Manner) -> None:
    """Write the report as a file, which its suffix tells how."""
    from icshift.analysis.ancestry import caveats, missing_there, other_run, strangers
    from icshift.analysis.drift import default_phase
    from icshift.cli.output import refuse_file, show, warn_of_missing, write_file
    from icshift.document import check, content, document_report
    from icshift.runs.reader import StoredRun

    check(output.suffix, len(paths), wanted)
    refuse_file(output, force=manner.force)
    runs = [StoredRun(path) for path in paths]
    warn_of_missing([*runs, other_run(asked.reference)], no_color=manner.no_color)
    strange = [run.path for run in runs if strangers(run, asked.reference) is not None]
    if strange:
        raise SelectionError(
            f"no file can be written of {strange[0]} against {asked.reference.partition(':')[2]}: their units have no "
            "order in common; leave out -o to see what does not depend on one"
        )
    doubts = caveats(runs[0], asked.reference, asked.phase or default_phase(runs[0]))
    doubts += missing_there(asked.reference)
    written = content(runs, replace(asked, doubts=tuple(doubts)), wanted, output.suffix)
    write_file(output, written, force=manner.force)
    if not manner.quiet:
        show(document_report(output), stderr=True, no_color=manner.no_color)
