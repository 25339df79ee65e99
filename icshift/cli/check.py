"""`icshift check`: conditions on a run, for CI."""

from __future__ import annotations

from typing import Annotated

import typer

from icshift.cli import options


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
    window: options.Windows = "last",
    allow_unfinished: Annotated[
        bool,
        typer.Option(
            "--allow-unfinished",
            help="Judge what is there of a run that is unfinished, was cut short, stopped, or lacks steps.",
        ),
    ] = False,
    json: options.AsJson = False,
    junit: options.Junit = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Fail if a run meets a condition, for CI.

    Exits with 0 if no condition is met, 1 if one is or could not be measured, or the run is not whole (unfinished,
    ended by an exception or Ctrl-C, stopped, never closed, without some steps), 2 for a mistake. A condition is

    \b
    [SITE] QUANTITY COMPARISON LIMIT
      SITE        name or glob of sites; all sites where there is none
      QUANTITY    a metric (drift, which is w1_sd, ks, …): the median of a
                  site's units,
                  p90(METRIC), max(METRIC): their 90th percentile, the largest;
                  moved: units that moved beyond noise;
                  dead, saturated, constant, nonfinite: units, in any window
                  up to the one that --window names
      COMPARISON  > >= < <=
      LIMIT       0.5, 20%, or for a metric 3x floor

    \b
    icshift check RUN --fail-on 'nonfinite > 0' --fail-on 'dead > 20%'
    icshift check RUN --fail-on 'fc* drift > 3x floor' --junit drift.xml
    """
    from icshift.analysis.ancestry import caveats, missing_there
    from icshift.analysis.checks import evaluate
    from icshift.analysis.conditions import parse
    from icshift.analysis.drift import as_asked
    from icshift.analysis.windows import ALL, LAST, WORST, as_of
    from icshift.cli.output import one_on_stdout, refuse_file, show, write_file
    from icshift.reports.checks import all_passed, cases, checks_report, whole
    from icshift.reports.junit import as_junit
    from icshift.runs.reader import StoredRun

    to_stdout = str(junit) == "-"
    one_on_stdout("--json" * json, "--junit -" * to_stdout)
    conditions = list(dict.fromkeys(parse(text) for text in fail_on))
    if junit is not None:
        refuse_file(junit, force=force)
    opened = StoredRun(run)
    phase, reference = as_asked(opened, phase, reference)
    every = window in (ALL, WORST)  # Of all windows the worst decides.
    seen = as_of(opened, LAST if every else window, reference=reference, phase=phase).run
    named = window if window == LAST or every else seen.window_list[-1].name
    verdicts = evaluate(seen, conditions, reference=reference, phase=phase, all_windows=every)
    if junit is not None:
        suite = f"icshift check {run}, phase {phase}, reference {reference}" + (
            "" if window == LAST else f", window {window}"
        )
        write_file(junit, as_junit(suite, [*whole(opened, allowed=allow_unfinished), *cases(verdicts)]), force=force)
    if not to_stdout:
        doubts = [*caveats(opened, reference, phase), *missing_there(reference)]
        asked = {"phase": phase, "reference": reference, "window": named}
        report = checks_report(opened, verdicts, **asked, caveats=doubts, allow_unfinished=allow_unfinished)
        show(report, json=json, quiet=quiet, no_color=no_color)
    if not all_passed(verdicts) or not (opened.ending.complete or allow_unfinished):
        raise typer.Exit(1)
