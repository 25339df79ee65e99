"""`icshift check`: conditions on a run, for CI."""

from __future__ import annotations

import math
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icshift.cli import options
from icshift.cli.info import coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from icshift.analysis.checks import Measurement, Verdict
    from icshift.analysis.conditions import Condition
    from icshift.reports.junit import Case
    from icshift.runs.reader import Run

_LABELS = {
    "failed": ("FAILED", "bold red"),
    "unmeasured": ("not measured", "yellow"),
    "ok": ("ok", "green"),
    "skipped": ("skipped", "dim"),
}
"""How states are shown, in this order."""

_OUTCOMES: dict[str, Literal["passed", "failure", "error", "skipped"]] = {
    "failed": "failure",
    "unmeasured": "error",
    "ok": "passed",
    "skipped": "skipped",
}


def check(
    run: options.RunPath,
    fail_on: Annotated[
        list[str],
        typer.Option(
            "--fail-on", metavar="CONDITION", help="Fail where this is so; may be repeated.", show_default=False
        ),
    ],
    reference: options.Reference = "previous",
    phase: options.Phase = None,
    all_windows: Annotated[
        bool, typer.Option("--all-windows", help="Check the drift of every window, not of the last one alone.")
    ] = False,
    json: options.AsJson = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", help="A JUnit XML file to write, or - for stdout.", show_default=False),
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Fail if a run meets a condition, for CI.

    Exits with 0 if no condition is met, 1 if one is or could not be measured, 2 for a mistake. A condition is

    \b
    [SITE] QUANTITY COMPARISON LIMIT
      SITE        name or glob of sites; all sites where there is none
      QUANTITY    a metric (w1_sd, ks, …): the median of a site's units,
                  p90(METRIC), max(METRIC): their 90th percentile, the largest;
                  moved: units that moved beyond noise;
                  dead, saturated, constant, nonfinite: units, in any window
      COMPARISON  > >= < <=
      LIMIT       0.5, 20%, or for a metric 3x floor

    \b
    icshift check RUN --fail-on 'nonfinite > 0' --fail-on 'dead > 20%'
    icshift check RUN --fail-on 'fc* w1_sd > 3x floor' --junit drift.xml
    """
    from icshift.analysis.checks import evaluate
    from icshift.analysis.conditions import parse
    from icshift.analysis.drift import default_phase
    from icshift.cli.output import print_text, screen, write_file
    from icshift.reports.junit import as_junit
    from icshift.reports.tabular import to_json
    from icshift.runs.reader import Run

    to_stdout = str(junit) == "-"
    if json and to_stdout:
        raise typer.BadParameter("--json and --junit - both go to stdout: give --junit the path of a file")
    conditions = list(dict.fromkeys(parse(text) for text in fail_on))
    opened = Run(run)
    phase = default_phase(opened) if phase is None else phase
    verdicts = evaluate(opened, conditions, reference=reference, phase=phase, all_windows=all_windows)
    passed = all(one.state in ("ok", "skipped") for one in verdicts)
    if junit is not None:
        suite = f"icshift check {run}, phase {phase}, reference {reference}"
        write_file(junit, as_junit(suite, [_case(one) for one in verdicts]), force=force)
    if json:
        asked = {"run": str(run), "phase": phase, "reference": reference}
        print_text(to_json({**asked, "passed": passed, "checks": [_row(one) for one in verdicts]}))
    elif not to_stdout:
        console = screen(no_color=no_color)
        console.print(_heading(opened, phase, reference), style="bold", soft_wrap=True)
        print_verdicts(console, verdicts)
        if missed := coverage(opened):
            console.print(missed, style="yellow", soft_wrap=True)
        if not passed and not quiet:
            console.print(_next_step(opened, verdicts, phase), style="dim", soft_wrap=True)
    if not passed:
        raise typer.Exit(1)


def print_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    """What failed, what could not be measured, what is well, and how many of each."""
    from rich.text import Text

    for state, line in _lines(verdicts):
        label, style = _LABELS[state]
        console.print(Text.assemble((f"{label:<12}", style), f"  {line}"), soft_wrap=True)
    console.print(_count(verdicts), style="bold")


def _heading(run: Run, phase: str, reference: str) -> str:
    state = "" if run.finished else " · unfinished"
    return f"{run.path} · {run.manifest['model']} · phase {phase} · reference {reference}{state}"


def _lines(verdicts: list[Verdict]) -> Iterator[tuple[str, str]]:
    """States and lines, what fails first: a line for each that fails, and a line a condition for the rest."""
    for state in ("failed", "unmeasured"):
        yield from ((state, f"{one.site}: {_told(one)}") for one in verdicts if one.state == state)
    for condition in dict.fromkeys(one.condition for one in verdicts):
        ok = {
            one.site: one.measurement
            for one in verdicts
            if one.condition == condition and one.state == "ok" and one.measurement
        }
        if ok:
            yield "ok", f"{condition}: {_nearest(condition, ok)}"
    skipped = [one for one in verdicts if one.state == "skipped"]
    for condition, reason in dict.fromkeys((one.condition, one.reason) for one in skipped):
        sites = [one.site for one in skipped if (one.condition, one.reason) == (condition, reason)]
        more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
        yield "skipped", f"{condition}: {', '.join(sites[:3])}{more}: {reason}"


def _nearest(condition: Condition, ok: dict[str, Measurement]) -> str:
    """The site that came nearest to failing, of so many."""
    from icshift.analysis.checks import most_extreme

    nearest = most_extreme(condition, list(ok.values()))
    site = next(site for site, one in ok.items() if one is nearest)
    sites = f"{len(ok)} sites, nearest {site}" if len(ok) > 1 else site
    return f"{sites} with {_value(condition, nearest)} {_basis(nearest)}"


def _told(verdict: Verdict) -> str:
    """What a verdict says of its site."""
    condition, measurement = verdict.condition, verdict.measurement
    if measurement is None or verdict.state == "unmeasured":
        return f"{condition.measured} {condition.bound}: {verdict.reason}"
    sign = "" if verdict.state == "failed" else "not "
    found = f"{condition.measured} {_value(condition, measurement)} {sign}{condition.bound} {_basis(measurement)}"
    return f"{found}; {verdict.reason}" if verdict.reason else found


def _value(condition: Condition, measurement: Measurement) -> str:
    """What was measured, in its unit and, where that is another, in that of the limit."""
    from icshift.analysis.conditions import COUNTED
    from icshift.analysis.metrics import METRICS
    from icshift.reports.drift import number

    share = f"{100 * measurement.level:.3g}%" if condition.scale == "%" else ""
    if condition.quantity in COUNTED:
        return f"{measurement.value:.0f} of {measurement.units} units" + (f" = {share}" if share else "")
    unit = METRICS[condition.quantity].unit
    value = share or number(measurement.value) + ("" if unit in ("share", "0 to 1") else f" {unit}")
    return f"{value} = {measurement.level:.3g}x floor" if condition.scale == "x floor" else value


def _basis(measurement: Measurement) -> str:
    """What the number rests on."""
    from icshift.reports.drift import number

    noise = "" if math.isnan(measurement.floor) else f"floor {number(measurement.floor)}, "
    return f"({noise}n = {measurement.n:,}, window {measurement.window})"


def _count(verdicts: list[Verdict]) -> str:
    failed, unmeasured, ok, skipped = (sum(one.state == state for one in verdicts) for state in _LABELS)
    total = failed + unmeasured + ok
    parts = [f"{failed} of {total} checks failed" if failed or unmeasured else f"{total} checks ok"]
    parts += [f"{unmeasured} not measured"] if unmeasured else []
    parts += [f"{skipped} skipped"] if skipped else []
    return ", ".join(parts)


def _next_step(run: Run, verdicts: list[Verdict], phase: str) -> str:
    from icshift.analysis.drift import default_phase

    failed = [one.site for one in verdicts if one.state == "failed"]
    elsewhere = "" if phase == default_phase(run) else f" --phase {phase}"
    return (
        f"Next: icshift units {run.path} --site {quote(failed[0])}{elsewhere}"
        if failed
        else f"Next: icshift info {run.path}"
    )


def _case(verdict: Verdict) -> Case:
    from icshift.reports.junit import Case

    return Case(verdict.site, str(verdict.condition), _OUTCOMES[verdict.state], _told(verdict))


def _row(verdict: Verdict) -> dict[str, object]:
    """For JSON: the condition, what was measured of it (`level` as `limit` has it), and the verdict."""
    from icshift.analysis.conditions import COUNTED
    from icshift.analysis.metrics import METRICS

    condition, measurement = verdict.condition, verdict.measurement
    unit = "units" if condition.quantity in COUNTED else METRICS[condition.quantity].unit
    measured = ("window", "reference", "value", "level", "floor", "n", "units")
    return {
        "condition": str(condition),
        "site": verdict.site,
        "state": verdict.state,
        "reason": verdict.reason,
        "unit": unit,
        "limit": condition.limit,
        **{name: getattr(measurement, name, None) for name in measured},
    }
