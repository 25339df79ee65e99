"""From a run to its `Page`: what is read, and what is asked of `analysis/`, for which place on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.analysis import over_units
from icshift.analysis.by_site import summary
from icshift.analysis.drift import Comparison, by_site, choose_sites, default_phase, floor_of, movements
from icshift.analysis.health import health, typical_std
from icshift.analysis.metrics import Metric
from icshift.analysis.onset import onset
from icshift.analysis.outcome import outcome
from icshift.errors import SelectionError
from icshift.reports.drift import drift_report, site_label
from icshift.reports.onset import onset_cells, onset_in_words
from icshift.reports.outcome import verdict
from icshift.reports.page import look
from icshift.reports.page.model import (
    BINS,
    LEVELS,
    Densities,
    Fans,
    Floats,
    Ints,
    Line,
    Page,
    Series,
    SiteOnPage,
    Table,
    Units,
    WindowOnPage,
    block_of,
    half_and_half,
    joined,
    spread,
)
from icshift.reports.run import coverage, overhead
from icshift.reports.tables import number, records, share, times
from icshift.runs.format import QUANTILE_COLUMNS, STEP_QUANTILES, Site, kept_units

if TYPE_CHECKING:
    import pandas as pd

    from icshift.distribution import Distribution
    from icshift.noise.movement import Movement
    from icshift.runs.reader import StoredRun

FANS = 32
"""Units whose percentiles and densities can be on a page."""

STRETCHES, RIDGES = 400, 25
"""Stretches of steps of a site, and windows whose densities are drawn, at most."""

_PROBABILITIES = (np.arange(256) + 0.5) / 256


@dataclass(frozen=True)
class Asked:
    """What the page is to show: a metric, the reference, the phase, globs of sites, and the command that asked."""

    metric: Metric
    reference: str
    phase: str | None
    sites: Sequence[str] | None
    command: str
    doubts: Sequence[str] = ()


def page_of(run: StoredRun, chosen: Asked) -> Page:
    """Returns the page of a run. Raises `SelectionError` for what is not there, and for metrics without units."""
    if chosen.metric.of == "site" or chosen.metric.by_example:
        raise SelectionError(f"a page shows metrics of units, as w1_sd or ks; {chosen.metric.name} is none")
    phase = chosen.phase or default_phase(run)
    table = summary(
        run, metric_name=chosen.metric.name, reference=chosen.reference, phase=chosen.phase, sites=chosen.sites
    )
    said = outcome(run, reference=chosen.reference, phase=phase)
    report = drift_report(run, table, chosen.metric, said, reference=chosen.reference, caveats=chosen.doubts)
    left = _onset(run, phase, chosen.sites)
    compared = "window" in table and bool(table["window"].notna().any())
    words = verdict(said, table, chosen.metric) if said is not None and compared else []
    sites, scale = _sites(run, chosen, phase, left)
    return Page(
        title=run.name,
        subtitle=report.heading,
        command=chosen.command,
        sentences=(
            *([] if left is None else onset_in_words(left)),
            *(words or ["One window: nothing to compare."]),
            *_farthest(run, sites, scale),
        ),
        facts=tuple(_facts(run)),
        warnings=tuple(filter(None, [coverage(run), "" if run.finished else "The recording is not finished."])),
        notes=report.notes,
        versions=f"icshift {run.manifest.get('icshift', '–')}, torch {run.manifest.get('torch', '–')}, recorded "
        f"{run.manifest.get('created', '–')}",
        metric=chosen.metric.name,
        unit=chosen.metric.unit,
        scale=scale,
        windows=tuple(WindowOnPage(w.index, w.name, w.first_step, w.last_step) for w in run.window_list),
        lines=tuple(_lines(run)),
        sites=tuple(sites),
        tables=(_sites_table(table, left), *([_onset_table(left)] if left is not None else [])),
    )


def _farthest(run: StoredRun, sites: Sequence[SiteOnPage], scale: look.Scale) -> list[str]:
    """Returns a sentence on the cell of the atlas that is farthest over its floor; none where none is above chance."""
    if not scale.of_floor or not run.window_list:
        return []
    above = [np.where((site.codes >= look.LOWEST) & np.isfinite(site.ratio), site.ratio, 0.0) for site in sites]
    most = np.array(above).reshape(len(sites), -1)
    if not most.size or not most.max() > 0:
        return []
    site, at = divmod(int(most.argmax()), most.shape[1])
    name, window = sites[site].name, run.window_list[at].name
    return [f"Of all windows, {name} in window {window} is farthest over its floor: {times(most[site, at])} times."]


def _onset(run: StoredRun, phase: str, sites: Sequence[str] | None) -> pd.DataFrame | None:
    """Returns when sites left the bands of their past; None in a phase without a series of steps."""
    try:
        return onset(run, phase=phase, sites=sites)
    except SelectionError:
        return None


def _facts(run: StoredRun) -> list[tuple[str, str]]:
    manifest = run.manifest
    recorded = sum(entry["state"] == "observed" for entry in manifest.get("ledger", []))
    return [
        ("Cost", overhead(run)),
        ("Coverage", f"{len(run.sites)} sites of {recorded} modules" if recorded else f"{len(run.sites)} sites"),
        ("Recorded", f"{manifest.get('steps', 0):,} steps in {len(run.window_list)} windows"),
    ]


def _lines(run: StoredRun) -> list[Line]:
    """Returns the means by window of what was logged: losses first, at most three."""
    logged = run.logged()
    names = sorted(dict.fromkeys(logged["name"]), key=lambda name: "loss" not in str(name).lower())
    lines = []
    for name in names[:3]:
        means = logged[logged["name"] == name].groupby("window")["value"].mean()
        lines.append(Line(str(name), np.array([means.get(w.index, np.nan) for w in run.window_list], float)))
    return lines


def _sites(run: StoredRun, chosen: Asked, phase: str, left: pd.DataFrame | None) -> tuple[list[SiteOnPage], look.Scale]:
    place = {window.index: at for at, window in enumerate(run.window_list)}
    compared = {
        site.name: each for site, each in by_site(run, reference=chosen.reference, phase=phase, sites=chosen.sites)
    }
    moved = movements(run, reference=chosen.reference, phase=phase) if compared else {}
    found = [
        _Measured(site, chosen.metric, compared.get(site.name, []), place) for site in choose_sites(run, chosen.sites)
    ]
    drift, floor = (np.array([getattr(one, name) for one in found]).reshape(-1) for name in ("drift", "floor"))
    scale = look.scale_of(chosen.metric, drift, floor)
    series = run.steps(phase=phase)
    steps: Mapping[Any, pd.DataFrame] = dict(tuple(series.groupby("site", sort=False))) if len(series) else {}
    onsets = {} if left is None else {row["site"]: row for row in records(left)}
    return [_site(run, phase, one, scale, moved, steps.get(one.site.name), onsets) for one in found], scale


class _Measured:
    """The drifts of one site: `values` and `floors` [units, windows], and medians over its units that are not constant.

    `near` marks near-constant units, `drift` and `floor` [windows] are the medians.
    """

    def __init__(self, site: Site, metric: Metric, comparisons: Sequence[Comparison], place: Mapping[int, int]) -> None:
        self.site = site
        self.compared = {place[comparison.window.index]: comparison for comparison in comparisons}
        shape = len(kept_units(site)), len(place)
        self.values, self.floors = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        self.near = np.zeros(shape, bool)
        self.drift, self.floor = np.full(len(place), np.nan), np.full(len(place), np.nan)
        for at, comparison in self.compared.items():
            value = np.abs(metric.function(comparison.before, comparison.after))
            level = floor_of(metric, comparison)
            near = metric.near_constant(comparison.before, comparison.after)
            self.values[:, at], self.floors[:, at], self.near[:, at] = value, level, near
            self.drift[at], self.floor[at] = over_units.median(value[~near]), over_units.median(level[~near])


def _site(
    run: StoredRun,
    phase: str,
    one: _Measured,
    scale: look.Scale,
    moved: Mapping[int, Movement],
    steps: pd.DataFrame | None,
    onsets: Mapping[str, Mapping[str, Any]],
) -> SiteOnPage:
    site = one.site
    recorded = [run.distribution(phase, site.name, window.index) for window in run.window_list]
    known = [distribution for distribution in recorded if distribution is not None]
    judged = [moved.get(window.index) if at in one.compared else None for at, window in enumerate(run.window_list)]
    shares = np.array([np.nan if each is None else each.share(site.name) for each in judged])
    troubles = _troubles(site, recorded)
    units = _units(one, scale, judged)
    row = onsets.get(site.name, {})
    step = float(row.get("step", np.nan))
    return SiteOnPage(
        name=site.name,
        block=block_of(site.name),
        type=site.type,
        of=site.units,
        n=int(np.median(known[-1].sampled)) if known and known[-1].units else 0,
        note="" if site.kept is None else f"{len(site.kept):,} of {site.units:,} units recorded",
        onset=int(step) if np.isfinite(step) else None,
        onset_unknown=str(row.get("unknown", "")),
        drift=one.drift,
        floor=one.floor,
        ratio=np.divide(one.drift, one.floor, out=np.full(len(one.drift), np.nan), where=one.floor > 0),
        moved=shares,
        why=tuple("" if each is None else each.unknown.get(site.name, "") for each in judged),
        dead=troubles[0],
        constant=troubles[1],
        nonfinite=troubles[2],
        codes=_site_codes(one, scale, shares, troubles),
        units=units,
        **_pictures(units, recorded),
        series=_series(steps),
    )


def _troubles(site: Site, recorded: Sequence[Distribution | None]) -> Ints:
    """Returns how many units are dead, near-constant and not finite [3, windows], -1 where that is not known."""
    counts: Ints = np.full((3, len(recorded)), -1, np.int64)
    usual = 0.0
    for at, distribution in enumerate(recorded):
        if distribution is not None:
            found = health(site, distribution, usual)
            counts[:, at] = -1 if found.dead is None else found.dead, found.near_constant, found.nonfinite
            usual = max(usual, typical_std(distribution))
    return counts


def _site_codes(one: _Measured, scale: look.Scale, shares: Floats, troubles: Ints) -> look.Codes:
    codes = scale.codes(one.drift, one.floor, shares == 0)
    there = np.array([at in one.compared for at in range(len(codes))], bool)
    gone = there & ~np.isfinite(one.drift)
    codes[gone] = np.where(one.near.all(0), look.CONSTANT, look.UNKNOWN)[gone]
    codes[gone & (troubles[2] > 0)] = look.NOT_FINITE
    return codes


def _units(one: _Measured, scale: look.Scale, judged: Sequence[Movement | None]) -> Units:
    chance = np.zeros(one.values.shape, bool)
    for at, each in enumerate(judged):
        flags = None if each is None else each.moved.get(one.site.name)
        if flags is not None:
            chance[:, at] = ~flags
    codes = scale.codes(one.values, one.floors, chance)
    codes[one.near & np.isfinite(one.values)] = look.CONSTANT
    there = np.array([at in one.compared for at in range(codes.shape[1])], bool)
    codes[~np.isfinite(one.values) & there] = look.NOT_FINITE
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(one.floors > 0, one.values / one.floors, np.nan) if scale.of_floor else one.values
    size = np.where(np.isfinite(size) & ~one.near, size, -1.0)
    worst = size.max(1, initial=-1.0)
    order = np.argsort(-worst, kind="stable")
    at = np.where(worst >= 0, size.argmax(1), -1) if size.shape[1] else np.full(len(size), -1)
    ids = kept_units(one.site)
    return Units(ids[order], np.where(worst >= 0, worst, np.nan)[order], at[order].astype(np.int64), codes[order])


def _pictures(units: Units, recorded: Sequence[Distribution | None]) -> dict[str, Any]:
    """Returns fans and densities of some units: half of them those that went farthest."""
    places = half_and_half(len(units.ids), FANS)
    by_number = np.argsort(np.argsort(units.ids))  # the place of every unit among the recorded ones
    rows = by_number[places]
    fans = np.full((len(places), len(recorded), len(STEP_QUANTILES)), np.nan)
    some = [at for at, one in enumerate(recorded) if one is not None]
    ridges = [some[place] for place in spread(len(some), RIDGES)]
    drawn = np.full((len(places), len(ridges), len(_PROBABILITIES)), np.nan)
    for at in some:
        distribution = recorded[at]
        assert distribution is not None
        if distribution.units != len(units.ids):
            continue
        taken = distribution.take(rows)
        fans[:, at] = taken.quantile(STEP_QUANTILES)
        if at in ridges:
            drawn[:, ridges.index(at)] = taken.quantile(_PROBABILITIES.tolist())
    return {"fans": Fans(places, fans), "densities": _densities(places, np.array(ridges, np.int64), drawn)}


def _densities(places: Ints, windows: Ints, drawn: Floats) -> Densities:
    edges = np.zeros((len(places), 2))
    heights = np.zeros((*drawn.shape[:2], BINS), np.uint8)
    for unit, of_windows in enumerate(drawn):
        known = of_windows[np.isfinite(of_windows)]
        if not len(known):
            continue
        low, high = float(np.nanmin(of_windows[:, 1])), float(np.nanmax(of_windows[:, -2]))
        high = high if high > low else low + max(abs(low), 1.0) * 1e-3
        edges[unit] = low, high
        inside = np.clip(of_windows, low, high)
        counts = np.array([np.histogram(row[np.isfinite(row)], BINS, (low, high))[0] for row in inside], float)
        heights[unit] = np.rint(LEVELS * counts / max(counts.max(), 1.0))
    return Densities(places, windows, edges, heights)


def _series(steps: pd.DataFrame | None) -> Series:
    if steps is None or not len(steps):
        return joined([], np.zeros((0, 5)), STRETCHES)
    medians = steps.groupby("step")[list(QUANTILE_COLUMNS)].median()
    return joined(medians.index.tolist(), medians.to_numpy(float), STRETCHES)


def _sites_table(table: pd.DataFrame, left: pd.DataFrame | None) -> Table:
    steps = {} if left is None else dict(zip(left["site"], left["step"], strict=True))
    columns = ("site", "type", "units", "drift", "floor", "×floor", "p90", "max", "moved", "dead", "constant")
    rows = []
    for row in records(table):
        cells = [(site_label(row), None), (str(row["type"]), None), _count(row["units"])]
        cells += [_cell(number, row.get(name)) for name in ("median", "floor")]
        cells += [_cell(times, row.get("ratio")), *(_cell(number, row.get(name)) for name in ("p90", "max"))]
        cells += [_cell(share, row.get("moved")), _count(row["dead"]), _count(row["near_constant"])]
        cells += [_count(row["nonfinite"]), _count(steps.get(row["site"]))]
        rows.append(tuple(cells))
    return Table("Sites in the last window", (*columns, "not finite", "left band at step"), tuple(rows))


def _onset_table(left: pd.DataFrame) -> Table:
    names = ("step", "value", "low", "past_first", "outside")
    rows = []
    for row in records(left):
        step, what, value, band, past, outside = onset_cells(row)
        at, size, low, first, since = (_sorted_by(row[name]) for name in names)
        shown = ((step, at), (what, None), (value, size), (band, low), (past, first), (outside, since))
        rows.append(((str(row["site"]), None), *shown))
    columns = ("site", "step", "what", "value", "band of its past", "past steps", "outside since")
    return Table("When sites left the band of their past", columns, tuple(rows))


def _cell(words: Any, value: Any) -> tuple[str, float | None]:
    known = _sorted_by(value)
    return ("–" if known is None else words(known)), known


def _count(value: Any) -> tuple[str, float | None]:
    known = _sorted_by(value)
    return ("–" if known is None else f"{int(known):,}"), known


def _sorted_by(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
