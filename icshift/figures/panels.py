"""Which panels a fan has: of the runs, sites and unit that were asked for, or that are chosen for want of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icshift.analysis.atlas import Series, distributions, series_of
from icshift.analysis.units import median_ranges, unit_series
from icshift.errors import SelectionError
from icshift.figures.fan import Panel
from icshift.page.model import Page, SiteOnPage
from icshift.replicates.alignment import align
from icshift.runs.format import STEP_QUANTILES, kept_units, units_in_steps

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun

ALL = "all"
"""What stands for a unit where a site as a whole is meant: medians over its units."""

_ROWS = 4
"""Sites that are chosen where none is named, at most."""


def panels_of(runs: Sequence[tuple[StoredRun, Page]], sites: Sequence[str] | None, unit: str | None) -> list[Panel]:
    """Returns a row of panels a site, in it one a run.

    Sites of several runs are paired by role. Where no site is named, it is the last hidden layer of several runs, and
    of one run those that went farthest; where no unit is named, it is the typical one of every site.
    """
    first = runs[0]
    chosen: list[tuple[SiteOnPage, ...]]
    if len(runs) == 1:
        chosen = [(site,) for site in (first[1].sites if sites else _farthest(first[1]))]
    else:
        chosen = _paired(runs, sites)
    return [
        _panel(run, page, site, unit, row, len(runs) > 1)
        for row, group in enumerate(chosen)
        for (run, page), site in zip(runs, group, strict=True)
    ]


def about(page: Page, unit: str | None, runs: int, *, named: bool) -> str:
    """Returns what is shown of what, and what was chosen."""
    what = {
        None: "a typical unit of a site (its median ranges as far as that of the middle one)",
        ALL: "medians over units",
    }
    shown = what.get(unit, f"unit {unit}")
    of = [page.title] * (runs == 1)
    chosen = ["sites chosen: --site names others"] * (not named)
    return " · ".join([*of, f"phase {page.phase}", shown, *chosen])


def _farthest(page: Page) -> list[SiteOnPage]:
    def worst(site: SiteOnPage) -> float:
        values = site.ratio if page.scale.of_floor else site.drift
        return float(np.max(values[np.isfinite(values)], initial=-1.0))

    kept = sorted(page.sites, key=worst, reverse=True)[:_ROWS]
    return [site for site in page.sites if site in kept]


def _paired(runs: Sequence[tuple[StoredRun, Page]], sites: Sequence[str] | None) -> list[tuple[SiteOnPage, ...]]:
    """Returns sites that have the same role in all runs, each in the order of the runs."""
    (first, _), *others = runs
    alignments = [align(first.sites, run.sites) for run, _ in others]
    roles = [alignment.only(list(sites)).roles if sites else alignment.roles for alignment in alignments]
    known = [{site.name: site for site in page.sites} for _, page in runs]
    rows = []
    for pairs in zip(*roles, strict=False):
        names = [pairs[0].a.name, *(pair.b.name for pair in pairs)]
        rows.append((pairs[0].a, names))
    if not rows:
        raise SelectionError("no site of the first run has the place of one of the others: name sites with --site")
    if not sites:
        hidden = [row for row in rows if row[0].feeds] or rows
        rows = hidden[-1:]
    return [tuple(of_run[name] for of_run, name in zip(known, names, strict=True)) for _, names in rows]


def _panel(run: StoredRun, page: Page, site: SiteOnPage, unit: str | None, row: int, several: bool) -> Panel:
    series, which, count = _series(run, page, site, unit)
    over = "step of the optimizer"
    onset = site.onset
    windows = page.windows
    if not len(series.number):
        series, which = _over_windows(run, page, site, which)
        over, onset, windows, count = "window", None, (), site.n
    name = f"{site.name} †" if site.affine else site.name
    n = f"n = {count:,} a {'step' if over.startswith('step') else 'window'}"
    return Panel(
        title=f"{page.title}: {name}" if several else name,
        subtitle=f"{'medians over units' if which is None else f'unit {which}'} · {n}",
        row=row,
        series=series,
        windows=windows,
        onset=onset,
        over=over,
    )


def _series(run: StoredRun, page: Page, site: SiteOnPage, unit: str | None) -> tuple[Series, int | None, int]:
    """Returns the percentiles over steps, the unit they are of (None of a site as a whole), and the n of a step."""
    if unit == ALL:
        return site.series, None, _n(run.steps(phase=page.phase, sites=[site.name]))
    number = _unit(run, page, site, unit)
    if number is None or not len(site.series.number):
        return site.series, number, 0
    if number not in units_in_steps(run.site(site.name)):
        return series_of(None), number, 0
    steps = unit_series(run, run.site(site.name), number, page.phase)
    return series_of(steps), number, _n(steps)


def _n(steps: pd.DataFrame) -> int:
    """Returns how many activations a unit and step has, typically."""
    return int(steps["count"].median()) if len(steps) else 0


def _unit(run: StoredRun, page: Page, site: SiteOnPage, unit: str | None) -> int | None:
    known = kept_units(run.site(site.name)).tolist()
    if unit is not None:
        if not unit.isascii() or not unit.isdigit() or int(unit) not in known:
            raise SelectionError(
                f"no unit {unit} in site {site.name}: it has units 0 to {site.of - 1}"
                f"{'' if len(known) == site.of else f', {len(known)} of them recorded'}; {ALL} takes medians over units"
            )
        return int(unit)
    if not known:
        return None
    series = run.steps(phase=page.phase, sites=[site.name])
    if not len(series):
        windows = run.windows()
        series = windows[(windows["site"] == site.name) & (windows["phase"] == page.phase)]
    ranges = median_ranges(series).sort_values()
    return int(ranges.index[len(ranges) // 2]) if len(ranges) else known[0]


def _over_windows(run: StoredRun, page: Page, site: SiteOnPage, unit: int | None) -> tuple[Series, int | None]:
    """Returns percentiles by window, where there is no series of steps."""
    known = kept_units(run.site(site.name)).tolist()
    numbers, rows = [], []
    for window, recorded in zip(page.windows, distributions(run, page.phase, run.site(site.name)), strict=True):
        if recorded is not None and recorded.units == len(known) and recorded.units:
            quantiles = recorded.quantile(STEP_QUANTILES)
            numbers.append(window.index)
            rows.append(np.nanmedian(quantiles, 0) if unit is None else quantiles[known.index(unit)])
    return Series(np.array(numbers, np.int64), np.array(rows, float).reshape(-1, len(STEP_QUANTILES))), unit
