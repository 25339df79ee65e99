"""The atlas: every site in every window, and of every site its units, as arrays; what a page of a run is drawn from.

What is asked for here is what `by_site.summary` says of the last window, for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icshift.analysis import over_units
from icshift.analysis.anatomy import shares
from icshift.analysis.comparison import Comparison, floor_of
from icshift.analysis.drift import by_site, movements
from icshift.analysis.health import health, typical_std
from icshift.analysis.metrics import Metric
from icshift.analysis.pictures import Recorded
from icshift.distribution import Distribution, Floats, Ints
from icshift.noise.movement import Movement
from icshift.runs.format import QUANTILE_COLUMNS, STEP_QUANTILES, Site, kept_units
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

STRETCHES = 400
"""Stretches of steps of a site, at most."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Row:
    """A site in every window; arrays [windows] or, of its units, [units, windows].

    `values` and `floors` are the drifts of units without their sign and the floors of these, `near` marks near-
    constant units, `lost` those of which something was not finite in the window or its reference, `still` those that
    are known not to have moved. `drift`, `floor` and `ratio` are the medians over units that are not near-constant
    and how many times the one is the other; `moved` is the share of units that moved, and `why` says why it is not
    known. `parts` [windows, 3] are the shares of location, scale and shape in the drift (`anatomy.shares`). `compared`
    marks windows that have data, and a reference that has. `dead`, `constant` and `nonfinite` count
    units, -1 where they are not known; `n` is the number of sampled activations a unit in the last window.
    """

    site: Site
    compared: Flags
    values: Floats
    floors: Floats
    near: Flags
    lost: Flags
    still: Flags
    drift: Floats
    floor: Floats
    ratio: Floats
    moved: Floats
    why: tuple[str, ...]
    parts: Floats
    dead: Ints
    constant: Ints
    nonfinite: Ints
    n: int


@dataclass(frozen=True, eq=False)
class Series:
    """A site's percentiles (5, 15, 50, 85, 95; medians over units) over its steps, joined where there are too many.

    `number` [n] is the first step of those that are joined, `quantiles` [n, 5] the lowest of the lower two, the median
    of the median and the highest of the upper two, so that spikes stay.
    """

    number: Ints
    quantiles: Floats


def atlas(
    run: StoredRun, metric: Metric, *, reference: str | int, phase: str, sites: Iterable[str] | None = None
) -> Iterator[tuple[Row, Recorded]]:
    """Yields the chosen sites in model order, each with what was recorded of it, which is forgotten with the next.

    In each window all sites of the run are judged together. Raises `SelectionError` for a site, phase or reference that
    is not there.
    """
    names = None if sites is None else list(sites)
    chosen = choose(run.sites, names)
    moved = movements(run, reference=reference, phase=phase)
    compared = {site.name: each for site, each in by_site(run, reference=reference, phase=phase, sites=names)}
    for site in chosen:
        recorded = distributions(run, phase, site)
        yield _row(run, metric, site, recorded, compared.pop(site.name, []), moved), recorded


def _row(
    run: StoredRun,
    metric: Metric,
    site: Site,
    recorded: Recorded,
    comparisons: Iterable[Comparison],
    moved: Mapping[int, Movement],
) -> Row:
    place = {window.index: at for at, window in enumerate(run.window_list)}
    shape = len(kept_units(site)), len(place)
    values, floors = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    near, lost, still = (np.zeros(shape, bool) for _ in range(3))
    there = np.zeros(len(place), bool)
    drift, level, share = (np.full(len(place), np.nan) for _ in range(3))
    why, parts = [""] * len(place), np.full((len(place), 3), np.nan)
    for comparison in comparisons:
        at, judged = place[comparison.window.index], moved[comparison.window.index]
        if not (_has_data(comparison.before) and _has_data(comparison.after)):
            continue
        there[at] = True
        lost[:, at] = (comparison.before.nonfinite > 0) | (comparison.after.nonfinite > 0)
        shown = metric.function(comparison.before, comparison.after)
        values[:, at], floors[:, at] = np.abs(shown), floor_of(metric, comparison, shown)
        near[:, at] = metric.near_constant(comparison.before, comparison.after)
        usual = ~near[:, at]
        drift[at], level[at] = over_units.median(values[usual, at]), over_units.median(floors[usual, at])
        share[at], why[at], parts[at] = judged.share(site.name), judged.unknown.get(site.name, ""), shares(comparison)
        if site.name in judged.moved:
            still[:, at] = judged.told[site.name] & ~judged.moved[site.name]
    ratio = np.divide(drift, level, out=np.full(len(drift), np.nan), where=level > 0)
    known = [one for one in recorded if one is not None]
    n = int(np.median(known[-1].sampled)) if known and known[-1].units else 0
    dead, constant, nonfinite = _troubles(site, recorded)
    return Row(
        site=site,
        compared=there,
        values=values,
        floors=floors,
        near=near,
        lost=lost,
        still=still,
        drift=drift,
        floor=level,
        ratio=ratio,
        moved=share,
        why=tuple(why),
        parts=parts,
        dead=dead,
        constant=constant,
        nonfinite=nonfinite,
        n=n,
    )


def _has_data(distribution: Distribution) -> bool:
    return bool((distribution.count + distribution.nonfinite).any())


def distributions(run: StoredRun, phase: str, site: Site) -> list[Distribution | None]:
    """Returns what was recorded of a site in every window, None where nothing was."""
    return [run.distribution(phase, site.name, window.index) for window in run.window_list]


def _troubles(site: Site, recorded: Recorded) -> Ints:
    """Returns how many units are dead, near-constant and not finite [3, windows], -1 where that is not known."""
    counts: Ints = np.full((3, len(recorded)), -1, np.int64)
    usual = 0.0
    for at, distribution in enumerate(recorded):
        if distribution is not None:
            found = health(site, distribution, usual)
            known = (found.dead, found.near_constant, found.nonfinite)
            counts[:, at] = [-1 if count is None else count for count in known]
            usual = max(usual, typical_std(distribution))
    return counts


def series_of(steps: pd.DataFrame | None) -> Series:
    """Returns the percentiles of a site over steps, from rows of `StoredRun.steps`; empty where there is none."""
    if steps is None or not len(steps):
        return joined([], np.zeros((0, len(STEP_QUANTILES))), STRETCHES)
    medians = steps.groupby("step")[list(QUANTILE_COLUMNS)].median()
    return joined(medians.index.tolist(), medians.to_numpy(float), STRETCHES)


def joined(numbers: Sequence[int], quantiles: Floats, most: int) -> Series:
    """Returns a series [steps, 5] of at most so many stretches of steps."""
    number = np.asarray(numbers, np.int64)
    if not len(number):
        return Series(number, np.zeros((0, 5)))
    count = min(most, len(number))
    starts = np.array([part[0] for part in np.array_split(np.arange(len(number)), count)])
    known = np.where(np.isfinite(quantiles).all(axis=1, keepdims=True), quantiles, np.nan)
    length = np.diff(starts, append=len(number))
    rows = np.empty((count, 5))
    for steps in np.unique(length):  # There are at most two.
        here = length == steps
        rows[here] = _joined(known[starts[here, None] + np.arange(steps)])
    return Series(number[starts], rows)


def _joined(parts: Floats) -> Floats:
    """Returns what stands for stretches [stretches, steps, 5] of as many steps; those that are NaN do not count."""
    if parts.shape[1] == 1:
        return parts[:, 0]
    joined = np.full((len(parts), 5), np.nan)
    some = np.isfinite(parts[..., 0]).any(1)
    known = parts[some]
    joined[some, :2] = np.nanmin(known[..., :2], 1)
    joined[some, 2] = np.nanmedian(known[..., 2], 1)
    joined[some, 3:] = np.nanmax(known[..., 3:], 1)
    return joined
