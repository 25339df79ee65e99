"""Conditions on the shift between two data sets: the grammar and the verdicts of `icshift check`.

What differs is the noise. The floor of a condition is that of `icshift shift`: the drift that sampling alone would
show, from splits of each data set by example, and not from blocks of steps. A site of too few examples to tell its
noise never passes: its checks are unmeasured unless they fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from icshift.analysis import over_units
from icshift.analysis.checks import Measurement, Verdict, activations, evaluate, judged, multiple
from icshift.analysis.conditions import HEALTH, OVER_UNITS, Condition
from icshift.analysis.metrics import DEFAULT, metric
from icshift.analysis.two_data_sets import Parts, SiteShift, shifts
from icshift.errors import SelectionError
from icshift.runs.format import Site
from icshift.runs.phases import DATA, REFERENCE
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

FLOOR = "splits of each data set by example"
"""What the floor of `icshift shift` is made of."""


def refuse(conditions: Sequence[Condition]) -> None:
    """Raises `SelectionError` for a condition on what two data sets do not have; to be called before any work."""
    for condition in conditions:
        if condition.over:
            metric(condition.quantity, among="data sets")


def verdicts(
    run: StoredRun, parts: Parts, conditions: Sequence[Condition], known: Mapping[str, Mapping[str, SiteShift]]
) -> list[Verdict]:
    """Returns one verdict for every condition and site: condition after condition, sites in model order.

    `run` holds both data sets as phases and `parts` their activations by parts of the examples; `known` are the shifts
    by metrics that were computed before. Units in trouble are those of the data. Raises `SelectionError` for a site
    that is not there, and for a condition that can be checked at no site.
    """
    found = []
    shifted = dict(known)
    for condition in conditions:
        if condition.quantity in HEALTH:
            found += evaluate(run, [condition], reference=f"phase:{REFERENCE}", phase=DATA)
            continue
        name = condition.quantity if condition.over else DEFAULT
        if name not in shifted:
            shifted[name] = shifts(run, parts, metric_name=name)
        sites = choose(run.sites, None if condition.site is None else [condition.site])
        of_sites = [_verdict(condition, site, shifted[name].get(site.name)) for site in sites]
        if all(verdict.state == "skipped" for verdict in of_sites):
            raise SelectionError(f"cannot check {str(condition)!r} at {sites[0].name}: {of_sites[0].reason}")
        found += of_sites
    return found


def _verdict(condition: Condition, site: Site, site_shift: SiteShift | None) -> Verdict:
    if site_shift is None:
        return Verdict(condition, site.name, "skipped", None, "only one data set reaches it")
    measurement = _drift(condition, site_shift) if condition.over else _moved(condition, site_shift)
    verdict = judged(condition, site, [measurement])
    if verdict.state == "failed" and condition.over and not site_shift.shifted and not math.isnan(site_shift.p):
        return Verdict(condition, site.name, "failed", measurement, "no shift beyond noise")
    return verdict


def _drift(condition: Condition, site_shift: SiteShift) -> Measurement:
    steady, probability = site_shift.steady, OVER_UNITS[condition.over]
    value = over_units.quantile(np.abs(site_shift.values)[steady], probability)
    floor = over_units.quantile(site_shift.noise.floor[steady], probability)
    gap = _gap(site_shift)
    if not gap and math.isnan(value):
        gap = f"all {len(steady)} units are near-constant"
    level = multiple(value, floor) if condition.scale == "x floor" else value
    return _measurement(site_shift, value, level, floor, gap)


def _moved(condition: Condition, site_shift: SiteShift) -> Measurement:
    count, units = int(site_shift.moved.sum()), len(site_shift.moved)
    level = count / max(units, 1) if condition.scale == "%" else count
    return _measurement(site_shift, count, level, math.nan, _gap(site_shift) or _rounded(site_shift))


def _measurement(site_shift: SiteShift, value: float, level: float, floor: float, gap: str) -> Measurement:
    """Returns what was measured; there is but one window, so that none is named."""
    comparison = site_shift.comparison
    n, units = activations(comparison), comparison.after.units
    return Measurement("", comparison.reference, value, level, floor, n, units, gap)


def _gap(site_shift: SiteShift) -> str:
    unseen = site_shift.unseen
    if unseen.any():
        return f"{unseen.sum()} of {len(unseen)} units had no finite value in one data set"
    if not math.isnan(site_shift.p):
        return ""
    return _rounded(site_shift) if site_shift.rounded.all() else "too few examples to tell noise"


def _rounded(site_shift: SiteShift) -> str:
    rounded = site_shift.rounded
    return f"{rounded.sum()} of {len(rounded)} units are constants that differ by rounding" if rounded.any() else ""
