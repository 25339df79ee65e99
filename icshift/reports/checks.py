"""The outcome of checks, of `icshift check` and `icshift shift`: on the screen, as JSON and as cases of JUnit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from icshift.analysis.ancestry import ending_data, missing_there
from icshift.analysis.checks import most_extreme
from icshift.analysis.conditions import COUNTED
from icshift.analysis.metrics import METRICS
from icshift.analysis.windows import ALL, LAST, WORST
from icshift.reports.junit import Case
from icshift.reports.next_step import next_step
from icshift.reports.report import Report
from icshift.reports.run import coverage
from icshift.reports.tables import counted, number, site_named

if TYPE_CHECKING:
    from icshift.analysis.checks import Measurement, Verdict
    from icshift.analysis.conditions import Condition
    from icshift.runs.format import Window
    from icshift.runs.reader import StoredRun

_LABELS = {
    "failed": ("FAILED", "bold red"),
    "unmeasured": ("not measured", "yellow"),
    "ok": ("ok", "green"),
    "skipped": ("skipped", "dim"),
}
"""The label and style of each state; the order is that of the report."""

_OUTCOMES: dict[str, Literal["passed", "failure", "error", "skipped"]] = {
    "failed": "failure",
    "unmeasured": "error",
    "ok": "passed",
    "skipped": "skipped",
}


def checks_report(
    run: StoredRun,
    verdicts: Sequence[Verdict],
    *,
    phase: str,
    reference: str,
    window: str = LAST,
    caveats: Sequence[str] = (),
    allow_unfinished: bool = False,
) -> Report:
    """Returns the report of a check: what failed, what could not be measured, what is well, and how many of each.

    `window` is what was asked for: a window's name, or one of `LAST`, `WORST` and `ALL`.
    `caveats` are what the comparison with another run takes for granted (`analysis.ancestry.caveats`).
    """
    passed = all_passed(verdicts) and (run.ending.complete or allow_unfinished)
    return Report(
        heading=f"{run.path} · {run.manifest['model']} · phase {phase} · reference {reference}{_which(window)}"
        + run.ending.heading,
        # Modules that were not recorded come after the outcome, since there is none for them.
        body=(outcome_of_checks(verdicts), *_not_whole(run, allowed=allow_unfinished)),
        notes=tuple(caveats),
        warnings=tuple(filter(None, [coverage(run)])),
        next_step="" if passed else _next_step(run, verdicts, phase, reference),
        data={
            "run": str(run.path),
            **ending_data(run, missing_there(reference)),
            "phase": phase,
            "reference": reference,
            "looked_at": window,
            "passed": passed,
            "checks": check_rows(verdicts, run.window_list),
        },
    )


def outcome_of_checks(verdicts: Sequence[Verdict]) -> Report:
    """Returns the lines of a check: what failed, what could not be measured, what is well, and how many of each."""
    return Report(body=tuple(_labelled(*line) for line in _lines(verdicts)), verdict=_count(verdicts))


def check_rows(verdicts: Sequence[Verdict], windows: Iterable[Window] = ()) -> list[dict[str, object]]:
    """Returns the verdicts for JSON, one a row; `windows` are those of the run."""
    numbers = {window.name: window.index for window in windows}
    return [_row(verdict, numbers) for verdict in verdicts]


def _which(window: str) -> str:
    """Returns in words which windows were checked, for the heading: nothing for the last one, which is the rule."""
    if window == LAST:
        return ""
    return " · the worst of all windows" if window in (ALL, WORST) else f" · window {window}"


def all_passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether every check is ok or skipped: none failed, and none could not be measured."""
    return all(verdict.state in ("ok", "skipped") for verdict in verdicts)


def _not_whole(run: StoredRun, *, allowed: bool) -> list[Text]:
    """Returns lines on what is missing of a run; they say that the check fails for it, unless that is allowed."""
    if run.ending.complete:
        return []
    lines = [Text(sentence, style="yellow") for sentence in run.ending.sentences]
    if not allowed:
        lines.append(
            Text("The check fails: the run is not whole. --allow-unfinished judges what is there.", "bold red")
        )
    return lines


def whole(run: StoredRun, *, allowed: bool) -> list[Case]:
    """Returns a case of a JUnit suite that fails where the run is not whole; none where it is, or need not be."""
    if run.ending.complete or allowed:
        return []
    return [Case(run.name, "the run is whole", "failure", " ".join(run.ending.sentences))]


def cases(verdicts: Sequence[Verdict]) -> list[Case]:
    """Returns the verdicts as cases of a JUnit suite, in the same order."""
    return [
        Case(verdict.site, str(verdict.condition), _OUTCOMES[verdict.state], _in_words(verdict)) for verdict in verdicts
    ]


def _labelled(state: str, line: str) -> Text:
    label, style = _LABELS[state]
    return Text.assemble((f"{label:<12}", style), f"  {line}", no_wrap=True)


def _lines(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    """Yields states and lines: first one for each check that failed or was not measured, then one per condition."""
    for state in ("failed", "unmeasured"):
        yield from (
            (state, f"{site_named(verdict.site)}: {_in_words(verdict)}")
            for verdict in verdicts
            if verdict.state == state
        )
    for condition in dict.fromkeys(verdict.condition for verdict in verdicts):
        ok = {
            verdict.site: verdict.measurement
            for verdict in verdicts
            if verdict.condition == condition and verdict.state == "ok" and verdict.measurement
        }
        if ok:
            yield "ok", f"{condition}: {_nearest(condition, ok)}"
    skipped = [verdict for verdict in verdicts if verdict.state == "skipped"]
    for condition, reason in dict.fromkeys((verdict.condition, verdict.reason) for verdict in skipped):
        sites = [verdict.site for verdict in skipped if (verdict.condition, verdict.reason) == (condition, reason)]
        more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
        yield "skipped", f"{condition}: {', '.join(map(site_named, sites[:3]))}{more}: {reason}"


def _nearest(condition: Condition, ok: dict[str, Measurement]) -> str:
    """Returns the site that came nearest to failing, and how many sites it is one of; `ok` is by site."""
    nearest = most_extreme(condition, list(ok.values()))
    site = next(site for site, measurement in ok.items() if measurement is nearest)
    named = site_named(site)
    sites = f"{len(ok)} sites, nearest {named}" if len(ok) > 1 else named
    return f"{sites} with {_value(condition, nearest)} {_basis(nearest)}"


def _in_words(verdict: Verdict) -> str:
    """Returns in words what was measured at a site, and whether that meets the condition."""
    condition, measurement = verdict.condition, verdict.measurement
    if measurement is None or verdict.state == "unmeasured":
        return f"{condition.measured} {condition.bound}: {verdict.reason}"
    sign = "" if verdict.state == "failed" else "not "
    measured = f"{condition.measured} {_value(condition, measurement)} {sign}{condition.bound} {_basis(measurement)}"
    return f"{measured}; {verdict.reason}" if verdict.reason else measured


def _value(condition: Condition, measurement: Measurement) -> str:
    """Returns the measured value in its unit and, where the limit has another scale, in that scale too."""
    share = f"{100 * measurement.level:.3g}%" if condition.scale == "%" else ""
    if condition.quantity in COUNTED:
        return f"{measurement.value:.0f} of {measurement.units} units" + (f" = {share}" if share else "")
    unit = METRICS[condition.quantity].unit
    value = share or number(measurement.value) + ("" if unit in ("share", "0 to 1") else f" {unit}")
    return f"{value} = {measurement.level:.3g}x floor" if condition.scale == "x floor" else value


def _basis(measurement: Measurement) -> str:
    """Returns, in brackets, what a value rests on: its floor if known, the number of activations a unit, the window."""
    noise = "" if math.isnan(measurement.floor) else f"floor {number(measurement.floor)}, "
    window = f", window {measurement.window}" if measurement.window else ""
    return f"({noise}n = {measurement.n:,}{window})"


def _count(verdicts: Sequence[Verdict]) -> str:
    failed, unmeasured, ok, skipped = (sum(verdict.state == state for verdict in verdicts) for state in _LABELS)
    total = failed + unmeasured + ok
    parts = [
        f"{failed} of {counted(total, 'check')} failed" if failed or unmeasured else f"{counted(total, 'check')} ok"
    ]
    parts += [f"{unmeasured} not measured"] if unmeasured else []
    parts += [f"{skipped} skipped"] if skipped else []
    return ", ".join(parts)


def _next_step(run: StoredRun, verdicts: Sequence[Verdict], phase: str, reference: str) -> str:
    failed = next((verdict for verdict in verdicts if verdict.state == "failed"), None)
    if failed is None:
        return next_step("info", run)
    window = failed.measurement.window if failed.measurement is not None and failed.measurement.reference else ""
    quantity = failed.condition.quantity
    of_site = quantity in METRICS and METRICS[quantity].of == "site"
    return next_step(
        "report" if of_site else "units",
        run,
        site=failed.site,
        phase=phase,
        metric=quantity if quantity in METRICS else "",
        reference=reference if window else "",
        window="" if run.whole and window == run.window_list[-1].name else window,
    )


def _row(verdict: Verdict, numbers: Mapping[str, int]) -> dict[str, object]:
    """Returns a verdict for JSON; `level` is the measured value in the scale of `limit`."""
    condition, measurement = verdict.condition, verdict.measurement
    unit = "units" if condition.quantity in COUNTED else METRICS[condition.quantity].unit
    measured = ("reference", "value", "level", "floor", "n", "units")
    return {
        "condition": str(condition),
        "site": verdict.site,
        "state": verdict.state,
        "reason": verdict.reason,
        "metric_unit": unit,
        "limit": condition.limit,
        "window": numbers.get(getattr(measurement, "window", "")),
        "name": getattr(measurement, "window", "") or None,
        **{name: getattr(measurement, name, None) for name in measured},
    }
