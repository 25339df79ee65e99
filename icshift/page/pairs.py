"""Two groups of runs side by side: what `icshift compare` computes, as what is drawn, pair of sites by pair.

A `Panel` is one picture of all pairs; page and figure take its axis, its ticks and the words of every mark from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.page.look import exact
from icshift.replicates.alignment import GROUPS
from icshift.replicates.values import PATH
from icshift.reports.comparison import comparison_report
from icshift.reports.comparison_verdict import NOISY, verdict
from icshift.reports.tables import counted, records

if TYPE_CHECKING:
    import pandas as pd

    from icshift.replicates.compare import RunComparison

METRIC = "w1_sd"

PATHS, RATIOS = "paths", "ratios"
"""Kinds of panels: how far every site went in every run, and what all runs say together."""


@dataclass(frozen=True)
class Mark:
    """How far a site of one run went: the run's `group` and `number`, its path and the floor of that."""

    group: str
    number: int
    value: float
    floor: float

    @property
    def has_floor(self) -> bool:
        """Whether sampling noise alone shows anything: a probe has none."""
        return self.floor > 0


@dataclass(frozen=True)
class Ratio:
    """What all runs say of a pair: A / B, its 95 % interval, the adjusted p, and whether it is of `noise` as much."""

    ratio: float
    low: float
    high: float
    p: float
    noisy: bool

    @property
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return bool(np.isfinite([self.ratio, self.low, self.high]).all())


@dataclass(frozen=True)
class Pair:
    """Two sites that have the same role, and by phase the paths of all runs and what they say together, if they do."""

    name: str
    sites: tuple[str, str]
    marks: Mapping[str, tuple[Mark, ...]]
    ratios: Mapping[str, Ratio]


@dataclass(frozen=True)
class Pairs:
    """Two `groups` of runs, by their paths, in some phases; `sentence` is what `icshift compare` says first."""

    groups: tuple[tuple[str, ...], tuple[str, ...]]
    phases: tuple[str, ...]
    metric: str
    unit: str
    sentence: str
    notes: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @property
    def tested(self) -> bool:
        """Whether there are enough runs for ratios."""
        return any(pair.ratios for pair in self.pairs)


@dataclass(frozen=True)
class Panel:
    """One picture: its kind, phase, title, and its logarithmic axis from `low` to `high`, with `ticks` on it."""

    kind: str
    phase: str
    title: str
    axis: str
    low: float
    high: float

    @property
    def ticks(self) -> tuple[float, ...]:
        """Some round numbers on the axis."""
        return _ticks(self.low, self.high)


def pairs_of(compared: RunComparison) -> Pairs:
    """Returns the paths of all pairs by role, in sd of one yardstick a unit."""
    values = compared.values[(compared.values["metric"] == METRIC) & (compared.values["span"] == PATH)]
    ratios = compared.ratios
    if len(ratios):
        ratios = ratios[(ratios["by"] == "role") & (ratios["metric"] == METRIC) & (ratios["span"] == PATH)]
    a, b = (tuple(compared.runs.loc[compared.runs["group"] == group, "run"]) for group in GROUPS)
    return Pairs(
        groups=(a, b),
        phases=compared.phases,
        metric=METRIC,
        unit="sd",
        sentence=f"{verdict(compared).rstrip(':.')}.",
        notes=comparison_report(compared).notes,
        pairs=tuple(
            Pair(
                name=pair.name,
                sites=(pair.a.name, pair.b.name),
                marks={phase: _marks(values, phase, (pair.a.name, pair.b.name)) for phase in compared.phases},
                ratios=_ratios(ratios, pair.a.name, pair.b.name),
            )
            for pair in compared.alignment.roles
        ),
    )


def _marks(values: pd.DataFrame, phase: str, sites: tuple[str, str]) -> tuple[Mark, ...]:
    found = []
    for group, site in zip(GROUPS, sites, strict=True):
        here = values[(values["phase"] == phase) & (values["group"] == group) & (values["site"] == site)]
        found += [Mark(group, int(row["number"]), float(row["value"]), float(row["floor"])) for row in records(here)]
    return tuple(found)


def _ratios(ratios: pd.DataFrame, a: str, b: str) -> dict[str, Ratio]:
    if not len(ratios):
        return {}
    here = ratios[(ratios["site_a"] == a) & (ratios["site_b"] == b)]
    return {str(row["phase"]): _ratio(row) for row in records(here)}


def _ratio(row: dict[str, Any]) -> Ratio:
    ratio, low, high, p = (float(row[name]) for name in ("ratio", "low", "high", "p_adjusted"))
    return Ratio(ratio, low, high, p, noisy=not row["noise"] < NOISY)


def panels(pairs: Pairs) -> tuple[Panel, ...]:
    """Returns a panel a phase with the paths of all runs, and one a phase with ratios where there are any."""
    paths = [
        Panel(PATHS, phase, phase, f"path [{pairs.unit}]", *_ends(_drawn_paths(pairs, phase))) for phase in pairs.phases
    ]
    ratios = [
        Panel(RATIOS, phase, f"{phase}: A / B", "A / B, 95 % interval", *_ends(_drawn_ratios(pairs, phase)))
        for phase in pairs.phases
        if pairs.tested
    ]
    return (*paths, *ratios)


def _drawn_paths(pairs: Pairs, phase: str) -> list[float]:
    return [value for pair in pairs.pairs for mark in pair.marks[phase] for value in (mark.value, mark.floor)]


def _drawn_ratios(pairs: Pairs, phase: str) -> list[float]:
    found = [1.0]
    for pair in pairs.pairs:
        ratio = pair.ratios.get(phase)
        if ratio is not None and ratio.known:
            found += [ratio.ratio] if ratio.noisy else [ratio.ratio, ratio.low, ratio.high]
    return found


def _ends(values: Iterable[float]) -> tuple[float, float]:
    known = [value for value in values if np.isfinite(value) and value > 0]
    return (min(known) / 1.3, max(known) * 1.3) if known else (0.1, 1.0)


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Returns three to six round numbers from `low` to `high`.

    >>> _ticks(0.4, 30), _ticks(0.9, 1.3), _ticks(1e-6, 1e6)
    ((0.5, 1.0, 2.0, 5.0, 10.0, 20.0), (0.9, 1.0, 1.1, 1.2, 1.3), (1e-06, 0.001, 1.0, 1000.0, 1000000.0))
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for among in ((1, 2, 5), (1, 3), (1,)):
        found = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in among]
        inside = [value for value in found if low <= value <= high]
        if len(inside) < 3:
            break
        if len(inside) <= 6 or among == (1,):
            return tuple(inside[:: math.ceil(len(inside) / 6)])
    power = math.floor(math.log10((high - low) / 3))
    step = next(digit * 10.0**power for digit in (1, 2, 5, 10) if (high - low) / (digit * 10.0**power) <= 6)
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return tuple(float(f"{place * step:.6g}") for place in places)


def farther(pair: Pair, phase: str) -> float:
    """Returns by what pairs are sorted: how many times as far A went as B, of all runs or of their means."""
    if phase in pair.ratios:
        return pair.ratios[phase].ratio
    values = {group: [mark.value for mark in pair.marks[phase] if mark.group == group] for group in GROUPS}
    a, b = (float(np.mean(found)) if found else math.nan for found in values.values())
    return a / b if b > 0 else math.nan


def mark_in_words(name: str, mark: Mark) -> str:
    """Returns what a mark says of a run, in full."""
    floor = f", floor {exact(mark.floor)}" if mark.has_floor else ""
    return f"{name}, {mark.group} run {mark.number}: path {exact(mark.value)}{floor}"


def ratio_in_words(name: str, ratio: Ratio) -> str:
    """Returns what a mark says of all runs, in full."""
    if ratio.noisy:
        return f"{name}: A / B {exact(ratio.ratio)}, of noise as much as of drift: no statement"
    interval = f"95 % interval {exact(ratio.low)} to {exact(ratio.high)}"
    return f"{name}: A / B {exact(ratio.ratio)}, {interval}, p {exact(ratio.p)}"


def title(pairs: Pairs) -> str:
    """Returns what the picture of all pairs shows."""
    a, b = (counted(len(group), "run") for group in pairs.groups)
    return f"How far every site went: A ({a}) against B ({b})"


def about(pairs: Pairs) -> str:
    """Returns what a reader must know of the paths: what they are, of what, and which runs are which."""
    return (
        f"path: sum of the drifts over all windows, {pairs.metric} [{pairs.unit}], median over units · sites paired by "
        f"role · A: {_named(pairs.groups[0])} · B: {_named(pairs.groups[1])}"
    )


def _named(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def caption(pairs: Pairs) -> str:
    """Returns what the marks are."""
    said = ["A dot = a run"]
    if any(mark.has_floor for pair in pairs.pairs for marks in pair.marks.values() for mark in marks):
        said.append("a bar of its colour = its floor, what sampling noise alone shows (a probe has none)")
    if pairs.tested:
        said.append("A / B: geometric means over runs; a hollow dot is of noise as much as of drift: no statement")
    else:
        said.append("of fewer than 5 runs of each no statement about the methods is made: no interval")
    return f"{'; '.join(said)}."
