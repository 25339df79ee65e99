"""From a run to its `Page`: what is read, and what is asked of `analysis/`, for which place on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from icshift.analysis import by_site
from icshift.analysis.atlas import Row, Series, atlas, series_of
from icshift.analysis.drift import default_phase, movements
from icshift.analysis.metrics import Metric
from icshift.analysis.onset import onset_in
from icshift.analysis.outcome import outcome
from icshift.analysis.pictures import Densities, Fans, Recorded, no_pictures, pictures
from icshift.analysis.windows import ALL, LAST, AsOf, as_of
from icshift.errors import SelectionError
from icshift.page import look
from icshift.page.model import Floats, Ints, Line, Page, SiteOnPage, Table, Units, WindowOnPage, block_of
from icshift.reports.drift import alone, drift_report, of_columns, site_label
from icshift.reports.onset import how_it_left, onset_cells, onset_in_words
from icshift.reports.outcome import verdict
from icshift.reports.run import coverage, overhead
from icshift.reports.tables import counted, moved, number, records, searched, times
from icshift.reports.thinned import budget_in_words
from icshift.runs.format import Site, kept_units
from icshift.runs.phases import normalises_by_its_own_inputs

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun


_Pictures: TypeAlias = "Mapping[bool, tuple[Fans, Densities]]"
"""Pictures of units, by whether the scale is of floors: which units these are depends on it."""

_Picture: TypeAlias = "Callable[[Row, Recorded], _Pictures]"


@dataclass(frozen=True)
class Asked:
    """What is to be shown: a metric, the reference, the phase, globs of sites, the command that asked, and a window.

    `window` is a name or number, or one of `analysis.windows`; all of a page but its atlas is of that one.
    """

    metric: Metric
    reference: str
    phase: str | None
    sites: Sequence[str] | None
    command: str
    doubts: Sequence[str] = ()
    window: str = LAST

    def seen(self, run: StoredRun) -> AsOf:
        """Returns the run up to the window that is looked at; of all windows, that is the last."""
        window = LAST if self.window == ALL else self.window
        how: dict[str, Any] = {"reference": self.reference, "phase": self.phase, "sites": self.sites}
        return as_of(run, window, metric_name=self.metric.name, **how)


def page_of(run: StoredRun, asked: Asked) -> Page:
    """Returns the page of a run. Raises `SelectionError` for what is not there, and for metrics without units."""
    return _page(run, asked, _pictured)


def outline_of(run: StoredRun, asked: Asked) -> Page:
    """Returns the page of a run but percentiles and densities by window, which no figure needs.

    Raises `SelectionError` as `page_of` does.
    """
    return _page(run, asked, _without_pictures)


def _page(run: StoredRun, asked: Asked, picture: _Picture) -> Page:
    if asked.metric.of == "site" or asked.metric.by_example:
        raise SelectionError(f"a page shows metrics of units, as w1_sd or ks; {asked.metric.name} is none")
    phase = asked.phase or default_phase(run)
    seen = asked.seen(run)
    how: dict[str, Any] = {"reference": asked.reference, "phase": phase, "level": seen.level}
    movements(run, reference=asked.reference, phase=phase)  # Of all sites together, before any is read for itself.
    said = outcome(seen.run, **how)
    last = by_site.rows(seen.run, metric_name=asked.metric.name, sites=asked.sites, **how)
    rows = atlas(run, asked.metric, reference=asked.reference, phase=phase, sites=asked.sites)
    summed, drawn = [], []
    for (row, recorded), of_last in zip(rows, last, strict=True):  # Both take what is read of a site while it is here.
        drawn.append((row, picture(row, recorded)))
        summed += [] if of_last is None else [of_last]
    table = by_site.table(seen.run, summed)
    doubts = [*asked.doubts, *searched(seen.searched)]
    report = drift_report(seen.run, table, asked.metric, said, reference=asked.reference, caveats=doubts)
    series = run.steps()
    left = _onset(run, series, phase, asked.sites)
    compared = "window" in table and bool(table["window"].notna().any())
    words = verdict(said, table, asked.metric) if said is not None and compared else []
    sites, scale = _sites(run, asked, series[series["phase"] == phase], left, drawn)
    return Page(
        title=run.name,
        subtitle=report.heading,
        command=asked.command,
        sentences=(
            *([] if left is None else onset_in_words(left)),
            *(words or [f"{'One window: n' if alone(table) else 'N'}othing to compare."]),
            *_farthest(run, sites, scale),
        ),
        facts=tuple(_facts(run)),
        warnings=tuple(filter(None, [coverage(run), *run.ending.sentences])),
        notes=tuple(note for note in report.notes if note not in of_columns(table)),
        versions=f"icshift {run.manifest.get('icshift', '–')}, torch {run.manifest.get('torch', '–')}, recorded "
        f"{run.manifest.get('created', '–')}",
        metric=asked.metric.name,
        unit=asked.metric.unit,
        phase=phase,
        reference=asked.reference,
        window=len(seen.run.window_list) - 1,
        scale=scale,
        windows=tuple(WindowOnPage(w.index, w.name, w.first_step, w.last_step) for w in run.window_list),
        lines=tuple(_lines(run)),
        sites=tuple(sites),
        tables=(
            _sites_table(table, left, _which(seen.run, len(run.window_list))),
            *([_onset_table(left)] if left is not None else []),
        ),
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


def _onset(run: StoredRun, series: pd.DataFrame, phase: str, sites: Sequence[str] | None) -> pd.DataFrame | None:
    """Returns when sites left the bands of their past; None in a phase without a series of steps."""
    try:
        return onset_in(run, series, phase=phase, sites=sites)
    except SelectionError:
        return None


def _facts(run: StoredRun) -> list[tuple[str, str]]:
    manifest = run.manifest
    recorded = sum(entry["state"] == "observed" for entry in manifest.get("ledger", []))
    sites = counted(len(run.sites), "site")
    return [
        ("Cost", overhead(run)),
        ("Coverage", f"{sites} of {counted(recorded, 'module')}" if recorded else sites),
        ("Recorded", f"{counted(manifest['steps'] or 0, 'step')} in {counted(len(run.window_list), 'window')}"),
        *([("Budget", told)] if (told := budget_in_words(run)) else []),
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


def _sites(
    run: StoredRun,
    asked: Asked,
    series: pd.DataFrame,
    left: pd.DataFrame | None,
    drawn: Sequence[tuple[Row, _Pictures]],
) -> tuple[list[SiteOnPage], look.Scale]:
    drift, floor = (np.array([getattr(row, name) for row, _ in drawn]).reshape(-1) for name in ("drift", "floor"))
    scale = look.scale_of(asked.metric, drift, floor)
    phase = asked.phase or default_phase(run)
    steps: Mapping[Any, pd.DataFrame] = (
        dict(tuple(series.groupby("site", sort=False, observed=True))) if len(series) else {}
    )
    # Of a phase without a series nothing is known: that a site stayed cannot be said.
    onsets = {} if left is None else {row["site"]: row for row in records(left)}
    nothing = {"unknown": f"no series of steps was recorded in phase {phase}"}
    by_own = normalises_by_its_own_inputs(phase, run.settings)
    sites = []
    for row, pictures_of in drawn:
        onset_of, name = onsets.get(row.site.name, nothing), row.site.name
        affine = row.site.batch_statistics and by_own
        shown = pictures_of[scale.of_floor]
        sites.append(_site(row, scale, series_of(steps.get(name)), onset_of, shown, affine=affine))
    return sites, scale


def _some_units(site: Site) -> str:
    """Returns of how many units there are windows and steps, where these are not all."""
    recorded = "" if site.kept is None else f"{len(site.kept):,} of {site.units:,} units recorded"
    steps = "" if site.in_steps is None else f"steps of {len(site.in_steps):,} of {site.units:,} units"
    return "; ".join(filter(None, [recorded, steps]))


def _site(
    row: Row,
    scale: look.Scale,
    series: Series,
    onset_of: Mapping[str, Any],
    shown: tuple[Fans, Densities],
    *,
    affine: bool,
) -> SiteOnPage:
    site, (fans, densities) = row.site, shown
    step = float(onset_of.get("step", np.nan))
    return SiteOnPage(
        name=site.name,
        block=block_of(site.name),
        type=site.type,
        of=site.units,
        n=row.n,
        note=_some_units(site),
        affine=affine,
        onset_how=how_it_left(onset_of) if np.isfinite(step) else "",
        onset=int(step) if np.isfinite(step) else None,
        onset_unknown=str(onset_of.get("unknown", "")),
        **{name: getattr(row, name) for name in _SAME},
        codes=_site_codes(row, scale),
        units=_units(row, scale),
        fans=fans,
        densities=densities,
        series=series,
    )


_SAME = ("drift", "floor", "ratio", "moved", "why", "parts", "dead", "constant", "nonfinite")


def _site_codes(row: Row, scale: look.Scale) -> look.Codes:
    codes = scale.codes(row.drift, row.floor, row.moved == 0)
    gone = row.compared & ~np.isfinite(row.drift)
    codes[gone] = np.where(row.near.all(0), look.CONSTANT, look.UNKNOWN)[gone]
    codes[gone & row.lost.any(0)] = look.NOT_FINITE
    return codes


def _pictured(row: Row, recorded: Recorded) -> _Pictures:
    """Returns percentiles and densities of some units, those that went farthest first of all.

    A site that has a floor tells that the scale is of floors; of others it is known once all sites are.
    """
    scales = (True,) if (row.floor > 0).any() else (True, False)
    return {of_floor: pictures(recorded, _farthest_first(row, of_floor)[0]) for of_floor in scales}


def _without_pictures(_: Row, recorded: Recorded) -> _Pictures:
    return dict.fromkeys((True, False), no_pictures(len(recorded)))


def rows_of(run: StoredRun, site: SiteOnPage) -> Ints:
    """Returns in which row of what was recorded every unit is, in the order of the page."""
    return np.searchsorted(kept_units(run.site(site.name)), site.units.ids).astype(np.int64)


def _units(row: Row, scale: look.Scale) -> Units:
    """Returns the units: the one that went farthest first."""
    codes = scale.codes(row.values, row.floors, row.still)
    codes[row.near & np.isfinite(row.values)] = look.CONSTANT
    codes[~np.isfinite(row.values) & row.lost] = look.NOT_FINITE
    order, worst, at = _farthest_first(row, scale.of_floor)
    return Units(kept_units(row.site)[order], np.where(worst >= 0, worst, np.nan), at, codes[order])


def _farthest_first(row: Row, of_floor: bool) -> tuple[Ints, Floats, Ints]:
    """Returns the order [units] of units by how far they went, over their floors or not, and in this order how far.

    That is -1 where it is not known; and the place of the window in which they did, or -1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(row.floors > 0, row.values / row.floors, np.nan) if of_floor else row.values
    size = np.where(np.isfinite(size) & ~row.near, size, -1.0)
    worst = size.max(1, initial=-1.0)
    order = np.argsort(-worst, kind="stable")
    at = np.where(worst >= 0, size.argmax(1), -1) if size.shape[1] else np.full(len(size), -1)
    return order, worst[order], at[order].astype(np.int64)


def _which(seen: StoredRun, windows: int) -> str:
    """Returns in words which of so many windows is looked at."""
    return "the last window" if len(seen.window_list) == windows else f"window {seen.window_list[-1].name}"


def _sites_table(table: pd.DataFrame, left: pd.DataFrame | None, which: str) -> Table:
    steps = {} if left is None else dict(zip(left["site"], left["step"], strict=True))
    noiseless = "noiseless" in table and bool(table["noiseless"].dropna().all())
    noise: dict[str, tuple[str, Any]] = {} if noiseless else {"floor": ("floor", number), "×floor": ("ratio", times)}
    shown = {"drift": ("drift", number), **noise, "p90": ("p90", number), "max": ("max", number)}
    troubles = {"dead": "dead", "constant": "near_constant", "not finite": "nonfinite"}
    rows = [
        (
            (site_label(row), None),
            (str(row["type"]), None),
            _count(row["units"]),
            *(_cell(words, row.get(column)) for column, words in shown.values()),
            (moved(row), _sorted_by(row.get("moved"))),
            *(_count(row[column]) for column in troubles.values()),
            _count(steps.get(row["site"])),
        )
        for row in records(table)
    ]
    columns = ("site", "type", "units", *shown, "moved", *troubles, "left band at step")
    return Table(f"Sites in {which}", columns, tuple(rows))


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
