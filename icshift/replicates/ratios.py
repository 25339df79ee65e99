"""The table of ratios of two groups of runs: of every pair of sites, and over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from icshift.distribution import Floats
from icshift.replicates.alignment import GROUPS, Alignment, By, SitePair
from icshift.replicates.inference import Design, evidence
from icshift.replicates.values import WINDOW

COLUMNS = (
    *("by", "phase", "metric", "span", "window", "site_a", "site_b", "sites"),
    *("a", "b", "ratio", "low", "high", "p", "p_adjusted", "noise"),
)

_KEY = ["phase", "metric", "span", "window"]
_MEASURED = ("value", "floor")


@dataclass(frozen=True, eq=False)
class _Row:
    """A row before it is tested: what it is of, the values of both groups [runs], and the `noise` in them."""

    by: By
    phase: str
    metric: str
    span: str
    window: int
    site_a: str
    site_b: str
    sites: int
    a: Floats
    b: Floats
    noise: float

    @property
    def known(self) -> bool:
        """Whether all its values have logarithms."""
        values = np.concatenate([self.a, self.b])
        return bool((np.isfinite(values) & (values > 0)).all())


def ratios(design: Design, alignment: Alignment, values: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the table of ratios, and that of the values of every run over all sites.

    The first has the columns `COLUMNS` and one row per pair of sites `by` role and `by` layer, and per phase, metric,
    span and window of `values`: the pairs in the order of A, and after them rows over all pairs, without names of
    sites. It is empty where a group has too few runs. `a` and `b` are geometric means over the runs, `ratio` is a / b,
    between `low` and `high`; `p` is that of the test (see `inference`), of the row by itself. `p_adjusted` is adjusted
    for all pairs of the same phase, metric and window; over all pairs, for all phases and metrics of both path and last
    window, or for all windows of a phase and metric. Intervals are not adjusted.

    `noise` is the share of measurement error in the values, floor / value: the median over runs, in the group with the
    larger one, and over all pairs the median of theirs.

    Over all pairs, the value of a run is the geometric mean over the pairs, without those that have a value of 0 or an
    unknown one in any run; `sites` says of how many pairs it is. These values are the second table: a row a run, in the
    columns `group`, `number`, `by`, `phase`, `metric`, `span`, `window`, `sites` and `value`.
    """
    by_run = {name: values.pivot(index=["group", *_KEY, "site"], columns="number", values=name) for name in _MEASURED}
    found: list[dict[str, Any]] = []
    of_runs: list[dict[str, Any]] = []
    for by in alignment.ways:
        over_all = []
        for key in values[_KEY].drop_duplicates().itertuples(index=False, name=None):
            rows = [_row(by, pair, key, by_run, design) for pair in alignment.pairs(by)]
            found += _tested(design, rows)
            over_all.append(_over_all(rows))
        for family in _families(over_all):
            found += _tested(design, family)
        of_runs += [of_run for row in over_all for of_run in _of_each_run(row)]
    return pd.DataFrame(found if design.enough else [], columns=list(COLUMNS)), pd.DataFrame(of_runs)


def _row(by: By, pair: SitePair, key: tuple[Any, ...], by_run: Mapping[str, pd.DataFrame], design: Design) -> _Row:
    phase, metric, span, window = key
    names = (pair.a.name, pair.b.name)
    places = [(group, *key, name) for group, name in zip(GROUPS, names, strict=True)]
    (a, b), floors = (
        [_of_runs(by_run[column], place, runs) for place, runs in zip(places, (design.a, design.b), strict=True)]
        for column in _MEASURED
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = float(np.max([np.median(floor / value) for floor, value in zip(floors, (a, b), strict=True)]))
    return _Row(by, phase, metric, span, window, *names, sites=1, a=a, b=b, noise=noise)


def _of_runs(table: pd.DataFrame, place: tuple[Any, ...], runs: int) -> Floats:
    """Returns the values of a row, one a run; NaN where there are none."""
    return table.loc[place].to_numpy(float)[:runs] if place in table.index else np.full(runs, np.nan)


def _over_all(rows: Sequence[_Row]) -> _Row:
    known = [row for row in rows if row.known]
    if not known:
        a, b = (np.full(len(values), np.nan) for values in (rows[0].a, rows[0].b))
        return replace(rows[0], site_a="", site_b="", sites=0, a=a, b=b, noise=np.nan)
    a, b = (np.exp(np.log([getattr(row, group) for row in known]).mean(0)) for group in ("a", "b"))
    noise = float(np.median([row.noise for row in known]))
    return replace(rows[0], site_a="", site_b="", sites=len(known), a=a, b=b, noise=noise)


def _of_each_run(row: _Row) -> list[dict[str, Any]]:
    where = {name: getattr(row, name) for name in ("by", *_KEY, "sites")}
    return [
        {"group": group, "number": number, **where, "value": value}
        for group, values in zip(GROUPS, (row.a, row.b), strict=True)
        for number, value in enumerate(values, start=1)
    ]


def _families(rows: Iterable[_Row]) -> list[list[_Row]]:
    """Returns rows over all sites by what they are tested together with: see `ratios`."""
    families: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        families.setdefault((row.phase, row.metric) if row.span == WINDOW else (), []).append(row)
    return list(families.values())


def _tested(design: Design, rows: Sequence[_Row]) -> list[dict[str, Any]]:
    a, b = np.stack([row.a for row in rows]), np.stack([row.b for row in rows])
    said = evidence(design, a, b)
    return [
        {
            **{name: getattr(row, name) for name in COLUMNS[:8]},
            "a": _geometric_mean(row.a),
            "b": _geometric_mean(row.b),
            "ratio": said.ratio[place],
            "low": said.low[place],
            "high": said.high[place],
            "p": said.p[place],
            "p_adjusted": said.adjusted[place],
            "noise": row.noise,
        }
        for place, row in enumerate(rows)
    ]


def _geometric_mean(values: Floats) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.exp(np.log(values).mean()))
