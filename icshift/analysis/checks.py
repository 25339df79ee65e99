"""Evaluation of conditions on a run: a verdict for every condition and site, and what was measured there.

A check, one condition at one site, fails where the condition is met. Drift is what `icshift report` shows: in absolute
value, without near-constant units, in the last window that has the reference. The floor of p90 and max is the 90th
percentile and the largest of the units' floors. Units in trouble are looked for in every window.

What cannot be known never passes: a site with nothing to compare, units without a finite activation, windows too short
to know their noise, dead units where nobody saw what reads the site, a site that could not be recorded to the end.
Such a check is unmeasured unless what is known fails already. A check is skipped where it has no meaning, as dead units
where no ReLU follows; a condition that is skipped everywhere is a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np

from icshift.analysis.comparison import Comparison, Comparisons, floor_of
from icshift.analysis.conditions import COMPARISONS, HEALTH, OVER_UNITS, Condition
from icshift.analysis.drift import by_site, default_phase, movements, refuse_without_examples
from icshift.analysis.health import Health, health, silenced_by, typical_std
from icshift.analysis.metrics import DEFAULT, METRICS
from icshift.analysis.over_units import quantile
from icshift.distribution import Distribution
from icshift.errors import SelectionError
from icshift.noise.movement import DEPENDENT, FALSE_ALARMS, UNTOLD_UNITS, Movement
from icshift.runs.format import Site, Window
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

State = Literal["failed", "unmeasured", "ok", "skipped"]

_SKIPPED = {"dead": "no ReLU reads it", "saturated": "no sigmoid or tanh reads it"}


_NOTHING = "nothing to compare in phase {}; drift needs a second window, or a reference with the same sites"


@dataclass(frozen=True)
class Measurement:
    """The quantity of a condition, measured at one site in one window.

    `value` is in the metric's unit, or a number of units. `level` is the same quantity in the scale of the limit: as
    it is, as a share of the units, or as a multiple of the `floor`. These three are NaN where they are not known or do
    not exist. `window` and `reference` are names; the former is empty where there is but one window, the latter where
    nothing is compared. `n` is the number of activations a unit, `units` the number of units of the site. `gap` says
    why a unit, or all of them, could not be measured; it is empty where all could.
    """

    window: str
    reference: str
    value: float = math.nan
    level: float = math.nan
    floor: float = math.nan
    n: int = 0
    units: int = 0
    gap: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check: of one condition at the site with the name `site`.

    `measurement` is that of the window that decided, None where the check was skipped. `reason` says why it was
    skipped, or what could not be measured; it is empty otherwise.
    """

    condition: Condition
    site: str
    state: State
    measurement: Measurement | None
    reason: str = ""


@dataclass(frozen=True)
class _Scope:
    """The part of a run that conditions are checked on.

    `compared` are the comparisons of each site in order of windows. `last` is the last window that has the reference,
    None where there is none. With `all_windows`, drift is checked in every window and not in the last one alone.
    `movements` are those of the windows that are checked, all of them together held to the level of one.
    """

    run: StoredRun
    phase: str
    compared: Mapping[Site, Comparisons]
    last: Window | None
    all_windows: bool
    movements: Mapping[int, Movement]


def evaluate(
    run: StoredRun,
    conditions: Sequence[Condition],
    *,
    reference: str | int = "previous",
    phase: str | None = None,
    all_windows: bool = False,
) -> list[Verdict]:
    """Returns one verdict for every condition and site that it names: condition after condition, sites in model order.

    Drift is checked in the last window that has the reference or, with `all_windows`, in all that have it; of several
    windows the worst decides. Raises `SelectionError` for a site, phase or reference that is not there, and for a
    condition that can be checked at no site.
    """
    phase = default_phase(run) if phase is None else run.phase(phase)
    compared = dict(by_site(run, reference=reference, phase=phase))
    ends = [comparisons.windows[-1][0] for comparisons in compared.values()]
    last = max(ends, key=lambda window: window.index) if ends else None
    checked = {window.index for comparisons in compared.values() for window, *_ in comparisons.windows}
    if not all_windows:
        checked &= {last.index} if last else set()
    moved = movements(run, reference=reference, phase=phase, windows=checked, level=FALSE_ALARMS / max(len(checked), 1))
    scope = _Scope(run, phase, compared, last, all_windows, moved)
    return [verdict for condition in conditions for verdict in _checked(condition, scope)]


def _checked(condition: Condition, scope: _Scope) -> list[Verdict]:
    sites = choose(scope.run.sites, None if condition.site is None else [condition.site])
    if condition.quantity in METRICS:
        ends = [scope.compared[site][-1] for site in sites if site in scope.compared]
        refuse_without_examples(METRICS[condition.quantity], scope.run, scope.phase, ends)
    verdicts = [_verdict(condition, site, scope) for site in sites]
    if all(verdict.state == "skipped" for verdict in verdicts):
        raise SelectionError(f"cannot check {str(condition)!r} at {verdicts[0].site}: {verdicts[0].reason}")
    return verdicts


def _verdict(condition: Condition, site: Site, scope: _Scope) -> Verdict:
    recorded = [
        (window, distribution)
        for window in scope.run.window_list
        if (distribution := scope.run.distribution(scope.phase, site.name, window.index)) is not None
    ]
    if not recorded:
        return Verdict(condition, site.name, "skipped", None, f"nothing recorded in phase {scope.phase}")
    if condition.quantity in HEALTH:
        spreads = accumulate((typical_std(distribution) for _, distribution in recorded), max, initial=0.0)
        troubles = [
            _trouble(condition, window, distribution, health(site, distribution, usual))
            for (window, distribution), usual in zip(recorded, spreads, strict=False)
        ]
        measured = [trouble for trouble in troubles if trouble is not None]
        if not measured:
            silent = silenced_by(site, condition.quantity)
            reason = f"not {silent[0]} alone reads it" if silent else _SKIPPED[condition.quantity]
            return Verdict(condition, site.name, "skipped", None, reason)
    else:
        measured = _drifts(condition, site, scope)
    return judged(condition, site, measured + _broken_off(scope.run, site))


def _broken_off(run: StoredRun, site: Site) -> list[Measurement]:
    """Returns a gap where a site was not recorded to the end, in whatever process."""
    module = site.name.partition("#")[0]
    entries = run.manifest.get("ledger", [])
    failed = [entry["reason"] for entry in entries if entry["module"] == module and entry["state"] == "failed"]
    return [Measurement("", "", units=site.recorded, gap=f"its recording failed: {failed[0]}")] if failed else []


def judged(condition: Condition, site: Site, measured: list[Measurement]) -> Verdict:
    """Returns the verdict on the worst window: of those that fail, else of those with a gap, else of all."""
    fails = COMPARISONS[condition.comparison]
    failed = [measurement for measurement in measured if fails(measurement.level, condition.limit)]
    gaps = [measurement for measurement in measured if measurement.gap]
    if gaps and not failed:
        where = f" in window {gaps[0].window}" if gaps[0].window else ""
        return Verdict(condition, site.name, "unmeasured", gaps[0], gaps[0].gap + where)
    worst = most_extreme(condition, failed or measured)
    return Verdict(condition, site.name, "failed" if failed else "ok", worst, worst.gap)


def most_extreme(condition: Condition, measured: Sequence[Measurement]) -> Measurement:
    """Returns the measurement furthest to the side on which the condition is met; of several, the first."""
    pick = max if condition.comparison.startswith(">") else min
    return pick(measured, key=lambda measurement: measurement.level)


def _drifts(condition: Condition, site: Site, scope: _Scope) -> list[Measurement]:
    """Returns one measurement for each window to be checked, and one with a gap if the site lacks the last window."""
    if scope.last is None:
        return [Measurement("", "", gap=_NOTHING.format(scope.phase))]
    comparisons: Iterable[Comparison] = scope.compared.get(site, [])
    current = [comparison for comparison in comparisons if comparison.window == scope.last]
    chosen = comparisons if scope.all_windows else current
    measure = _moved if condition.quantity == "moved" else _drift
    measured = [measure(condition, comparison, scope.movements[comparison.window.index]) for comparison in chosen]
    if not current:
        measured.append(Measurement(scope.last.name, "", gap="nothing to compare"))
    return measured


def _drift(condition: Condition, comparison: Comparison, movement: Movement) -> Measurement:
    if condition.scale == "x floor":
        _refuse_noiseless(condition, comparison)
    metric, probability = METRICS[condition.quantity], OVER_UNITS[condition.over]
    before, after = comparison.before, comparison.after
    values = np.abs(metric.function(before, after))
    steady = ~metric.near_constant(before, after)
    value = quantile(values[steady], probability)
    noises = floor_of(metric, comparison)[steady]
    noise = math.nan if comparison.noiseless else quantile(noises, probability)
    level = multiple(value, noise) if condition.scale == "x floor" else value
    gap = (_incomparable if metric.by_example else _undefined)(~np.isfinite(values))
    if not gap and math.isnan(value):
        gap = f"all {after.units} units are near-constant"
    elif not gap and condition.scale == "x floor":
        gap = _without_floor(~np.isfinite(noises), movement.unknown.get(comparison.site.name, ""))
    n = int(np.median(metric.n(before, after)))
    return Measurement(comparison.window.name, comparison.reference, value, level, noise, n, after.units, gap)


def _moved(condition: Condition, comparison: Comparison, movement: Movement) -> Measurement:
    name, units = comparison.site.name, comparison.after.units
    gap = _undefined(~np.isfinite(METRICS[DEFAULT].function(comparison.before, comparison.after)))
    gap = gap or movement.unknown.get(name, "") or _untold(movement.untold(name), units)
    count = round(movement.share(name) * units) if name in movement.moved else math.nan
    level = _of_units(condition, count, units)
    n = activations(comparison)
    return Measurement(comparison.window.name, comparison.reference, count, level, n=n, units=units, gap=gap)


def _trouble(condition: Condition, window: Window, distribution: Distribution, counts: Health) -> Measurement | None:
    """Returns the units in trouble in one window; None where the quantity does not apply."""
    count = getattr(counts, HEALTH[condition.quantity])
    if count is None:
        gap = f"not known: {counts.unknown}"
        return Measurement(window.name, "", units=counts.units, gap=gap) if counts.unknown else None
    # A unit that never was finite is not seen to be dead, saturated or constant.
    unseen = (distribution.sampled == 0) & (condition.quantity != "nonfinite")
    count = math.nan if unseen.all() else count
    return Measurement(
        window.name,
        "",
        count,
        _of_units(condition, count, counts.units),
        n=int(np.median(distribution.count + distribution.nonfinite)),
        units=counts.units,
        gap=_undefined(unseen),
    )


def _undefined(units: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    return f"{units.sum()} of {len(units)} units had no finite activation" if units.any() else ""


def _untold(count: int, units: int) -> str:
    return f"{count} of {units} units {UNTOLD_UNITS}" if count else ""


def _without_floor(units: np.ndarray[tuple[int], np.dtype[np.bool_]], unknown: str) -> str:
    """Returns why there is no floor of some units, or none that holds; `unknown` says why nothing is told to move."""
    if unknown == DEPENDENT or (unknown and units.all()):
        return f"no floor: {unknown}"
    return f"no floor: {units.sum()} of {len(units)} units are missing in too many steps" if units.any() else ""


def _incomparable(values: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    where = f"{values.sum()} of {len(values)} units" if len(values) > 1 else "it"
    return f"no finite rows of {where} are paired, or none of them differ" if values.any() else ""


def _of_units(condition: Condition, count: float, units: int) -> float:
    return count / max(units, 1) if condition.scale == "%" else count


def multiple(value: float, noise: float) -> float:
    """Returns a value as a multiple of its noise; infinity where there is no noise and yet a value."""
    if noise == 0:
        return math.inf if value > 0 else value
    return value / noise


def _refuse_noiseless(condition: Condition, comparison: Comparison) -> None:
    if comparison.noiseless:
        raise SelectionError(
            f"cannot check {str(condition)!r}: phase {comparison.phase} has the same inputs in every window, "
            "so no sampling noise and no floor; give a number"
        )


def activations(comparison: Comparison) -> int:
    """Returns the number of activations a unit that a comparison rests on."""
    return int(np.median(np.minimum(comparison.before.sampled, comparison.after.sampled)))
