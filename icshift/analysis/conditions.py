"""Conditions on a run, as `fc* w1_sd > 3x floor`: their grammar.

    condition  = [SITE] QUANTITY COMPARISON LIMIT
    SITE       = name or glob of sites; all sites where there is none
    QUANTITY   = METRIC, p90(METRIC), max(METRIC)       drift of the site: median, 90th percentile, largest of its units
                 drift, p90(drift), max(drift)          the same by the metric that is shown where none is named
                 moved                                  units that moved beyond noise
                 dead, saturated, constant, nonfinite   units in trouble
    COMPARISON = > >= < <=
    LIMIT      = 0.5         in the metric's unit, or a whole number of units
                 20%         of the units, or of a metric that is a share
                 3x floor    of a metric, in a phase that has sampling noise

`checks.py` evaluates them.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from icshift.analysis.metrics import DEFAULT, METRICS, metric
from icshift.errors import SelectionError, unknown

Scale = Literal["", "%", "x floor"]

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

OVER_UNITS = {"median": 0.5, "p90": 0.9, "max": 1.0}
"""Statistics over the units of a site, and the quantile that each is."""

HEALTH = {
    "dead": "dead",
    "saturated": "saturated",
    "constant": "near_constant",
    "near_constant": "near_constant",
    "nonfinite": "nonfinite",
}
"""Quantities that count units in trouble, each with its field of `Health`."""

DRIFT = "drift"
"""The quantity that is drift by the metric of the report."""

COUNTED = ("moved", *HEALTH)
"""Quantities that are numbers of units."""

_FORM = re.compile(
    r"(?:(?P<site>[^<>=]+?)\s+)?(?P<quantity>[^\s<>=!]+)\s*(?P<comparison>[<>=!]+)\s*(?P<limit>[^<>=!]+)"
)
_STATISTIC = re.compile(r"(?P<over>\w+)\((?P<metric>\w+)\)")
_LIMIT = re.compile(r"(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<scale>%|[x×]\s*floor)?")


@dataclass(frozen=True)
class Condition:
    """One condition: `site`, `quantity`, `comparison` and `limit` are the parts of its text.

    `site` is None for all sites. `over` names the statistic over units, one of `OVER_UNITS`; it is empty for quantities
    that count units. `scale` says what the limit is a multiple of; 20% is a `limit` of 0.2 with the scale `%`.
    """

    site: str | None
    quantity: str
    over: str
    comparison: str
    limit: float
    scale: Scale

    @property
    def measured(self) -> str:
        """The quantity and its statistic as they are written in a condition."""
        return self.quantity if self.over in ("", "median") else f"{self.over}({self.quantity})"

    @property
    def bound(self) -> str:
        """Comparison and limit as they are written in a condition."""
        number = 100 * self.limit if self.scale == "%" else self.limit
        return f"{self.comparison} {number:.12g}{self.scale}"

    def __str__(self) -> str:
        return " ".join([*([self.site] if self.site else []), self.measured, self.bound])


def parse(text: str, drift: str = DEFAULT) -> Condition:
    """Returns the condition that a text states. Raises `SelectionError` for a text that is no condition.

    `drift` names the metric that the word `drift` stands for.
    """
    parts = _FORM.fullmatch(text.strip())
    if parts is None:
        raise SelectionError(
            f"cannot read the condition {text!r}; expected [SITE] QUANTITY > LIMIT in quotes, "
            "as 'fc* w1_sd > 0.5', 'w1_sd > 3x floor' or 'dead > 20%'"
        )
    if parts["comparison"] not in COMPARISONS:
        raise SelectionError(f"no comparison {parts['comparison']!r} in {text!r}; known: {', '.join(COMPARISONS)}")
    quantity, over = _quantity(parts["quantity"], drift)
    number, scale = _limit(parts["limit"].strip(), text)
    _refuse_misfit(quantity, number, scale)
    limit = number / 100 if scale == "%" else number
    return Condition(parts["site"], quantity, over, parts["comparison"], limit, scale)


def _quantity(text: str, drift: str) -> tuple[str, str]:
    """Returns the name of the quantity, and the statistic over units, which is empty where units are counted."""
    statistic = _STATISTIC.fullmatch(text)
    over, name = (statistic["over"], statistic["metric"]) if statistic else ("", text)
    name = drift if name == DRIFT else name
    if over and over not in OVER_UNITS:
        raise unknown("statistic", over, OVER_UNITS)
    if name not in (*COUNTED, *METRICS):
        raise unknown("metric or condition", name, (DRIFT, *COUNTED, *METRICS))
    if over and name in COUNTED:
        raise SelectionError(f"{name} counts units: there is no {over} of it; write {name} alone")
    if over and METRICS[name].of == "site":
        raise SelectionError(f"{name} is one number a site: there is no {over} of it; write {name} alone")
    return name, "" if name in COUNTED else over or "median"


def _limit(text: str, condition: str) -> tuple[float, Scale]:
    """Returns the number that a limit is written with, and its scale; `condition` is shown in the error."""
    matched = _LIMIT.fullmatch(text)
    if matched is None or not math.isfinite(float(matched["number"])):
        raise SelectionError(
            f"no limit {text!r} in {condition!r}; expected a number, a percentage as 20% or a multiple as 3x floor"
        )
    scale: Scale = "" if not matched["scale"] else "%" if matched["scale"] == "%" else "x floor"
    return float(matched["number"]), scale


def _refuse_misfit(quantity: str, number: float, scale: Scale) -> None:
    """Raises `SelectionError` for a limit that the quantity cannot have, or that could never be exceeded."""
    counted = quantity in COUNTED
    unit = "" if counted else metric(quantity).unit
    if number < 0:
        raise SelectionError(f"{quantity} is never below 0 (drift counts in absolute value): no limit {number:g}")
    if counted and scale == "x floor":
        raise SelectionError(f"{quantity} counts units and has no floor: give a number of them or a percentage")
    if scale == "x floor" and metric(quantity).by_example:
        raise SelectionError(f"{quantity} compares the same examples in both windows and has no floor: give a number")
    if counted and not scale and number != int(number):
        raise SelectionError(f"{quantity} counts units: give a whole number or a percentage, not {number:g}")
    if scale == "%" and not counted and unit != "share":
        raise SelectionError(f"{quantity} is no share (its unit: {unit}): give a number or a multiple as 3x floor")
    top = 100 if scale == "%" else 1 if unit in ("share", "0 to 1") and not scale else math.inf
    if number > top:
        raise SelectionError(f"{quantity} is never above {top}{scale}: no limit {number:g}{scale}")
