"""The table of ratios of two groups of runs: of every pair of sites, and over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class _Row:
    """A row before it is tested: what it is of, one value a run of A [runs] and of B [runs], and the `noise` in them."""

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


def ratios(design: Design, alignment: Alignment, values: pd.DataFrame) -> pd.DataFrame:
    """Returns a data frame of `COLUMNS`, with one row per pair of sites `by` role and `by` layer, and per value of `values`.

    There are the rows of pairs, in the order of A, and after them those over all pairs, without names of sites: of these
    the value of a run is the geometric mean over the pairs, without pairs that have a value of 0, or an unknown one, in
    any run. `sites` says of how many pairs a row is.

    `a` and `b` are geometric means over the runs and `ratio` is a / b, between `low` and `high` (see `inference`). `p`
    stands for itself. `p_adjusted` is adjusted for all pairs of the same phase, metric and window; over all pairs, for all
    phases and metrics of both path and last window, or for all windows of a phase and metric. Intervals are one by one.

    `noise` is the share of measurement error in the values, floor / value: the median over runs, in the group with the
    larger one, and over all pairs the median of theirs. Without rows where a group has too few runs.
    """
    if not design.enough:
        return pd.DataFrame(columns=list(COLUMNS))
    by_run = {name: values.pivot(index=["group", *_KEY, "site"], columns="number", values=name) for name in ("value", "floor")}
    found: list[dict[str, Any]] = []
    for by in alignment.ways:
        over_all = []
        for _, where in values[_KEY].drop_duplicates().iterrows():
            rows = [_row(by, pair, where.to_dict(), by_run, design) for pair in alignment.pairs(by)]
            found += _tested(design, rows)
            over_all.append(_over_all(rows))
        for family in _families(over_all):
            found += _tested(design, family)
    return pd.DataFrame(found, columns=list(COLUMNS))


def _row(
    by: By, pair: SitePair, where: dict[str, Any], by_run: Mapping[str, pd.DataFrame], design: Design
) -> _Row:
    names = (pair.a.name, pair.b.name)
    places = [(group, *where.values(), name) for group, name in zip(GROUPS, names, strict=True)]
    values, floors = (
        [_of_runs(by_run[column], place, runs) for place, runs in zip(places, (design.a, design.b), strict=True)]
        for column in ("value", "floor")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = max(float(np.median(floor / value)) for floor, value in zip(floors, values, strict=True))
    return _Row(by, **where, site_a=names[0], site_b=names[1], sites=1, a=values[0], b=values[1], noise=noise)


def _of_runs(table: pd.DataFrame, place: tuple[object, ...], runs: int) -> Floats:
    """Returns the values of a row, one a run; NaN where there are none."""
    return table.loc[place].to_numpy(float)[:runs] if place in table.index else np.full(runs, np.nan)


def _over_all(rows: Sequence[_Row]) -> _Row:
    first, known = rows[0], [row for row in rows if row.known]
    a, b = (
        np.exp(np.mean(np.log([getattr(row, group) for row in known]), axis=0)) if known else np.full(len(getattr(first, group)), np.nan)
        for group in ("a", "b")
    )
    noise = float(np.median([row.noise for row in known])) if known else np.nan
    return _Row(first.by, first.phase, first.metric, first.span, first.window, "", "", len(known), a, b, noise)


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
