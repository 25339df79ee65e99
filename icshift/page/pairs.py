"""Two groups of runs side by side: what `icshift compare` computes, as what is drawn, pair of sites by pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icshift.replicates.alignment import GROUPS
from icshift.replicates.values import PATH
from icshift.reports.comparison import comparison_report
from icshift.reports.comparison_verdict import NOISY, verdict
from icshift.reports.tables import records

if TYPE_CHECKING:
    import pandas as pd

    from icshift.replicates.compare import RunComparison

METRIC = "w1_sd"


@dataclass(frozen=True)
class Mark:
    """How far a site of one run went: the run's `group` and `number`, its path and the floor of that."""

    group: str
    number: int
    value: float
    floor: float


@dataclass(frozen=True)
class Ratio:
    """What all runs say of a pair: A / B, its 95 % interval, the adjusted p, and whether it is of `noise` as much."""

    ratio: float
    low: float
    high: float
    p: float
    noisy: bool


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
        sentence=verdict(compared),
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
