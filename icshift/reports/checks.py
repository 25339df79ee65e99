"""What became of the conditions of `icshift check`: on the screen, as JSON and as cases of JUnit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from icshift.analysis.checks import most_extreme
from icshift.analysis.conditions import COUNTED
from icshift.analysis.drift import default_phase
from icshift.analysis.metrics import METRICS
from icshift.reports.junit import Case
from icshift.reports.report import Report
from icshift.reports.run import coverage
from icshift.reports.tables import number

if TYPE_CHECKING:
    from icshift.analysis.checks import Measurement, Verdict
    from icshift.analysis.conditions import Condition
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


def checks_report(run: Run, verdicts: Sequence[Verdict], *, phase: str, reference: str) -> Report:
    """What failed, what could not be measured, what is well, and how many of each."""
    state = "" if run.finished else " · unfinished"
    passed = all_passed(verdicts)
    return Report(
        heading=f"{run.path} · {run.manifest['model']} · phase {phase} · reference {reference}{state}",
        # What was not recorded comes after the outcome: it says of what there is no outcome.
        body=(Report(body=tuple(_labelled(*line) for line in _lines(verdicts)), verdict=_count(verdicts)),),
        warnings=tuple(filter(None, [coverage(run)])),
        next_step="" if passed else _next_step(run, verdicts, phase),
        data={
            "run": str(run.path),
            "phase": phase,
            "reference": reference,
            "passed": passed,
            "checks": [_row(one) for one in verdicts],
        },
    )


def all_passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether no condition was met and all could be measured, as far as that was asked for."""
    return all(one.state in ("ok", "skipped") for one in verdicts)


def cases(verdicts: Sequence[Verdict]) -> list[Case]:
    """The same as cases of a JUnit suite."""
    return [Case(one.site, str(one.condition), _OUTCOMES[one.state], _in_words(one)) for one in verdicts]


def _labelled(state: str, line: str) -> Text:
    label, style = _LABELS[state]
    return Text.assemble((f"{label:<12}", style), f"  {line}", no_wrap=True)


def _lines(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    """States and lines, what fails first: a line for each that fails, and a line a condition for the rest."""
    for state in ("failed", "unmeasured"):
        yield from ((state, f"{one.site}: {_in_words(one)}") for one in verdicts if one.state == state)
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
    nearest = most_extreme(condition, list(ok.values()))
    site = next(site for site, one in ok.items() if one is nearest)
    sites = f"{len(ok)} sites, nearest {site}" if len(ok) > 1 else site
    return f"{sites} with {_value(condition, nearest)} {_basis(nearest)}"


def _in_words(verdict: Verdict) -> str:
    """What was measured of a site, and whether that meets the condition."""
    condition, measurement = verdict.condition, verdict.measurement
    if measurement is None or verdict.state == "unmeasured":
        return f"{condition.measured} {condition.bound}: {verdict.reason}"
    sign = "" if verdict.state == "failed" else "not "
    found = f"{condition.measured} {_value(condition, measurement)} {sign}{condition.bound} {_basis(measurement)}"
    return f"{found}; {verdict.reason}" if verdict.reason else found


def _value(condition: Condition, measurement: Measurement) -> str:
    """What was measured, in its unit and, where that is another, in that of the limit."""
    share = f"{100 * measurement.level:.3g}%" if condition.scale == "%" else ""
    if condition.quantity in COUNTED:
        return f"{measurement.value:.0f} of {measurement.units} units" + (f" = {share}" if share else "")
    unit = METRICS[condition.quantity].unit
    value = share or number(measurement.value) + ("" if unit in ("share", "0 to 1") else f" {unit}")
    return f"{value} = {measurement.level:.3g}x floor" if condition.scale == "x floor" else value


def _basis(measurement: Measurement) -> str:
    """What the number rests on."""
    noise = "" if math.isnan(measurement.floor) else f"floor {number(measurement.floor)}, "
    return f"({noise}n = {measurement.n:,}, window {measurement.window})"


def _count(verdicts: Sequence[Verdict]) -> str:
    failed, unmeasured, ok, skipped = (sum(one.state == state for one in verdicts) for state in _LABELS)
    total = failed + unmeasured + ok
    parts = [f"{failed} of {total} checks failed" if failed or unmeasured else f"{total} checks ok"]
    parts += [f"{unmeasured} not measured"] if unmeasured else []
    parts += [f"{skipped} skipped"] if skipped else []
    return ", ".join(parts)


def _next_step(run: Run, verdicts: Sequence[Verdict], phase: str) -> str:
    failed = [one.site for one in verdicts if one.state == "failed"]
    elsewhere = "" if phase == default_phase(run) else f" --phase {phase}"
    return (
        f"Next: icshift units {run.path} --site {quote(failed[0])}{elsewhere}"
        if failed
        else f"Next: icshift info {run.path}"
    )


def _row(verdict: Verdict) -> dict[str, object]:
    """For JSON: the condition, what was measured of it (`level` as `limit` has it), and the verdict."""
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
