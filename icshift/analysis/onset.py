"""Onset: the first step at which a site's sd or median leaves the band of its own past.

Two series are followed for every site. Its *sd* is the median over units of the standard deviations of a step, on a
logarithmic scale. Its *median* is the median over units of how far their medians of a step are from where they were in
the first steps, in standard deviations of those: units that go up and units that go down both count.

The *past* of a step is all steps but the last quarter before it, so that what grows over some steps is not taken for
its own past. The *band* reaches from the smallest to the largest value of the past and beyond, at both ends, by a
multiple of the distance between the two. That takes nothing for granted about the noise: a series that wanders, whose
steps depend on each other, has a wide past and with it a wide band.

The multiple is such that of runs in which nothing changes at most some 5 % show any site: it grows with the number of
sites, and is larger where the past is short (`benchmarks/onset.py`). An activation that is not finite has left every
band.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from icshift.analysis.distances import STD_FLOOR, TINY
from icshift.blocks import Floats, Ints
from icshift.errors import unknown
from icshift.runs.format import Site
from icshift.runs.frames import in_model_order
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

FEWEST = 9
"""Steps that a past must have."""

RECENT = 4
"""The past of a step ends where this part of the steps before it begins: a quarter."""

SMALLEST_SD, SMALLEST_MEDIAN = 0.1, 0.1
"""What a band reaches beyond its past at least: 10 % of an sd, and a tenth of an sd of a median. Where all examples go
into every step there is no noise, and the slightest change would be outside."""

SD, MEDIAN, NOT_FINITE = "sd", "median", "not finite"
"""What of a site left."""

COLUMNS = ("site", "type", "phase", "step", "what", "value", "low", "high", "past_first", "past_last", "outside", "n")
"""Columns of the table that `onset` returns, but for the last two, `steps` and `unknown`."""


@dataclass(frozen=True, eq=False)
class Steps:
    """What a site showed in its steps: `number` [steps] and, a column a unit (and process), `sd` and `median`.

    `nonfinite` [steps] counts activations that are not finite, `n` is the median number of those that are, a unit.
    """

    number: Ints
    sd: Floats
    median: Floats
    nonfinite: Ints
    n: int

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Left:
    """That a site left its band: at which `step`, by `what`, with which `value`, outside of `low` to `high`.

    Values of `sd` are in activation units, of `median` in sd of the first steps. The band is that of the steps
    `past_first` to `past_last`. `outside` is the share of all steps from then on that lie outside of this very band: 1
    of a site that never came back, little of a spike.
    """

    step: int
    what: str
    value: float
    low: float
    high: float
    past_first: int | None
    past_last: int | None
    outside: float


def onset(
    run: StoredRun, *, phase: str | None = None, sites: Iterable[str] | None = None, after: int = -1
) -> pd.DataFrame:
    """Returns a data frame with a row a site: those that left first come first, those of which nothing is known last.

    Columns are `COLUMNS`, then `steps`, the number of steps of the site's series, and `unknown`, why nothing can be
    said of it. `step` is NaN, and all that belongs to it, where a site did not leave. Only steps later than `after`
    count as having left; all belong to the past. The phase is `train` or, without it, the first that has a series.

    Raises `SelectionError` for a site or a phase without a series of steps.
    """
    return onset_in(run, run.steps(), phase=phase, sites=sites, after=after)


def onset_in(
    run: StoredRun,
    series: pd.DataFrame,
    *,
    phase: str | None = None,
    sites: Iterable[str] | None = None,
    after: int = -1,
) -> pd.DataFrame:
    """Returns the same, given the step series of the run: `StoredRun.steps`, of all phases and sites."""
    chosen = _phase(series["phase"].unique().tolist(), phase)
    here = dict(tuple(series[series["phase"] == chosen].groupby("site", sort=False, observed=True)))
    rows = []
    for site in choose(run.sites, sites):
        steps = of_steps(here[site.name]) if site.name in here else None
        rows.append(_row(site, chosen, steps, max(len(here), 1), after))
    table = in_model_order(pd.DataFrame(rows), run.sites)
    return table.sort_values(["unknown", "step"], key=_last, kind="stable", ignore_index=True)


def _last(column: pd.Series[float]) -> pd.Series[float]:
    return column.ne("").astype(float) if column.name == "unknown" else column.fillna(np.inf)


def _phase(known: list[str], wanted: str | None) -> str:
    phase = wanted or ("train" if "train" in known else next(iter(known), "train"))
    if phase not in known:
        raise unknown("phase with a step series", phase, known)
    return phase


def of_steps(rows: pd.DataFrame) -> Steps:
    """Returns the steps of one site and phase, from the rows of `StoredRun.steps`."""
    number, place = np.unique(rows["step"].to_numpy(np.int64), return_inverse=True)
    columns = rows[["unit", "rank"]] if "rank" in rows else rows[["unit"]]
    column = columns.groupby(list(columns), sort=True).ngroup().to_numpy()
    wide = np.full((2, len(number), int(column.max(initial=-1)) + 1), np.nan)
    wide[:, place, column] = rows[["sd", "q50"]].to_numpy(float).T
    nonfinite = np.bincount(place, rows["nonfinite"].to_numpy(float), len(number)).astype(np.int64)
    return Steps(number, wide[0], wide[1], nonfinite, int(rows["count"].median()))


def _row(site: Site, phase: str, steps: Steps | None, of: int, after: int) -> dict[str, object]:
    left = None if steps is None else first_left(steps, of, after)
    why = "" if left is not None else _why_unknown(steps, after)
    found = dict.fromkeys(("step", "value", "low", "high", "past_first", "past_last", "outside"), np.nan)
    if left is not None:
        found |= {name: np.nan if (given := getattr(left, name)) is None else given for name in found}
    named = {"site": site.name, "type": site.type, "phase": phase, "what": left.what if left else "", **found}
    row = {name: named.get(name) for name in COLUMNS[:-1]}
    return {**row, "n": 0 if steps is None else steps.n, "steps": 0 if steps is None else len(steps), "unknown": why}


def _why_unknown(steps: Steps | None, after: int) -> str:
    if steps is None:
        return "no series of steps was recorded of it"
    if len(steps) <= shortest():
        return f"{len(steps)} steps: it takes {shortest() + 1}"
    if after >= 0 and not (steps.number > after).any():
        return f"no step after {after}"
    if not np.isfinite(_sd(steps)).any():
        return "no activation of it is finite"
    return ""


def shortest() -> int:
    """Returns the number of steps before the first one that has a past of `FEWEST` steps."""
    return next(count for count in range(FEWEST, 10 * FEWEST) if count - count // RECENT >= FEWEST)


def first_left(steps: Steps, sites: int, after: int = -1) -> Left | None:
    """Returns when a site, one of so many, left its band first, of the steps later than `after`; None where never."""
    logarithm = _of_series(steps, SD, np.log(_sd(steps)), sites, SMALLEST_SD, after)
    of_sd = None if logarithm is None else _in_units(logarithm, float(_sd(steps)[steps.number == logarithm.step][0]))
    found = [
        *([of_sd] if of_sd else []),
        *([moved] if (moved := _of_series(steps, MEDIAN, _moved(steps), sites, SMALLEST_MEDIAN, after)) else []),
        *([gone] if (gone := _not_finite(steps, after)) else []),
    ]
    # Of one step, what is not finite says most, and an sd more than a median.
    return min(found, key=lambda left: (left.step, (NOT_FINITE, SD, MEDIAN).index(left.what)), default=None)


def _sd(steps: Steps) -> Floats:
    """Returns the sd [steps] of the site: the median over its units, NaN where no unit is finite."""
    return np.maximum(_over_units(steps.sd), TINY)


def _moved(steps: Steps) -> Floats:
    """Returns how far the medians are from those of the first steps [steps], in sd of these; the median over units."""
    first = slice(0, FEWEST)
    start, spread = _over_steps(steps.median[first]), np.sqrt(_over_steps(steps.sd[first] ** 2))
    least = STD_FLOOR * float(_over_units(spread[None])[0])
    scale = np.maximum(spread, max(least, TINY) if np.isfinite(least) else TINY)
    return _over_units(np.abs(steps.median - start) / scale)


def _over_units(values: Floats) -> Floats:
    """Returns the medians [rows] of the finite values of every row; NaN where there is none."""
    known = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)  # NaN last
    count = np.isfinite(known).sum(1)
    if not known.shape[1]:
        return np.full(len(known), np.nan)
    rows = np.arange(len(known))
    return (known[rows, np.maximum(count - 1, 0) // 2] + known[rows, np.minimum(count // 2, known.shape[1] - 1)]) / 2


def _over_steps(values: Floats) -> Floats:
    return _over_units(values.T)


def widened_by(past: Ints, sites: int) -> Floats:
    """Returns by how many times the distance from the smallest to the largest value of a past its band reaches beyond.

    `past` are numbers of steps. It is measured (`benchmarks/onset.py`): with it, of frozen networks and of independent
    series at most some 5 % of runs show any site, of an autoregression of 0.9 a step too. Data that wander without end
    leave any band: then the stream did.
    """
    return (1.2 + 0.3 * np.log(sites)) * (1 + 12 / past)


def _of_series(steps: Steps, what: str, series: Floats, sites: int, least: float, after: int) -> Left | None:
    """Returns when a series [steps] left the band of its past first; NaN in it are no step."""
    known = np.flatnonzero(np.isfinite(series))
    values, number = series[known], steps.number[known]
    place = np.arange(shortest(), len(values))
    if not len(place):
        return None
    past = place - place // RECENT
    low, high = np.minimum.accumulate(values)[past - 1], np.maximum.accumulate(values)[past - 1]
    reach = np.maximum(widened_by(past, sites) * (high - low), least)
    low, high = low - reach, high + reach
    if what == MEDIAN:
        low = np.maximum(low, 0.0)  # it is a distance
    outside = ((values[place] < low) | (values[place] > high)) & (number[place] > after)
    if not outside.any():
        return None
    at = int(np.argmax(outside))
    since = values[place[at] :]
    return Left(
        step=int(number[place[at]]),
        what=what,
        value=float(values[place[at]]),
        low=float(low[at]),
        high=float(high[at]),
        past_first=int(number[0]),
        past_last=int(number[past[at] - 1]),
        outside=float(((since < low[at]) | (since > high[at])).mean()),
    )


def _in_units(left: Left, value: float) -> Left:
    """Returns what was found on a logarithmic scale in activation units."""
    low, high = float(np.exp(left.low)), float(np.exp(left.high))
    return Left(left.step, left.what, value, low, high, left.past_first, left.past_last, left.outside)


def _not_finite(steps: Steps, after: int) -> Left | None:
    """Returns when an activation of the site was not finite first."""
    gone = (steps.nonfinite > 0) & (steps.number > after)
    if not gone.any():
        return None
    at = int(np.argmax(gone))
    share = float((steps.nonfinite[at:] > 0).mean())
    return Left(int(steps.number[at]), NOT_FINITE, np.nan, np.nan, np.nan, None, None, share)
