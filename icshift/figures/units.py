"""Units as a figure: those of one site by windows, and of one of them its percentiles and densities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.analysis.atlas import distributions
from icshift.analysis.pictures import BINS, LEVELS, Densities, pictures
from icshift.errors import SelectionError
from icshift.figures.cells import Axes, Grid, drawn, framed
from icshift.figures.fan import PERCENTILES
from icshift.figures.frame import Chart, data, elided, facts, named, plain_numbers, whole
from icshift.page.build import rows_of
from icshift.page.look import LEVELS as STEPS
from icshift.page.look import LOWEST, exact, states
from icshift.page.model import Floats, Page, SiteOnPage

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun

_ROWS = 120
"""Rows of units at most; of more units some share a row, which shows the farthest."""

_WIDE = 400.0


def chosen(page: Page) -> tuple[SiteOnPage, str]:
    """Returns the site whose units are shown: the one that is named, or of several that which went farthest."""
    if not page.sites:
        raise SelectionError("the run has no site")
    if len(page.sites) == 1:
        return page.sites[0], ""
    worst = [float(site.units.worst[0]) if len(site.units.worst) else np.nan for site in page.sites]
    at = int(np.argmax(np.nan_to_num(worst, nan=-1.0)))
    return page.sites[at], "site chosen: its unit went farthest of all; --site names another"


def units(run: StoredRun, page: Page, unit: str | None, theme: dict[str, str]) -> Chart:
    """Returns the units of a site by windows, and the percentiles and densities of one unit."""
    import altair as alt

    site, how = chosen(page)
    place = _place(site, unit)
    grid = grid_of(page, site)
    shown = grid.codes.shape[0]
    a_row = -(-len(site.units.ids) // _ROWS) if len(site.units.ids) else 1
    title = "unit, the farthest first" if a_row == 1 else f"unit, the farthest first ({a_row} a row)"
    rows = {"title": title, "titleAlign": "left", "titleX": -50, "labelOverlap": "parity"}
    axes = Axes(grid, {"title": "window"}, rows)
    layers = drawn(grid, theme, axes)
    left = alt.layer(*layers, *framed(page, axes, theme)).properties(width=grid.width, height=grid.height)
    parts: list[Chart] = [left]
    about = [facts(page, "of every unit"), _counted(site), how]
    if place is not None:
        order = rows_of(run, site)
        fans, densities = pictures(distributions(run, page.phase, run.site(site.name)), order, np.array([place]))
        name = f"unit {site.units.ids[place]}"
        parts.append(
            alt.vconcat(_fan(page, fans.quantiles[0], name, theme), _ridges(page, densities, name, theme), spacing=16)
        )
        if unit is None:
            about.append(f"{name} chosen: it went farthest; --unit names another")
    caption = _caption(page, shown)
    both = alt.hconcat(*parts, spacing=34)
    heading = f"Units of {elided(site.name)}{' †' if site.affine else ''}"
    return whole([both], heading, [" · ".join(filter(None, about))], caption)


def _counted(site: SiteOnPage) -> str:
    return site.note or f"{site.of:,} {'unit' if site.of == 1 else 'units'}"


def _place(site: SiteOnPage, unit: str | None) -> int | None:
    """Returns the place of a unit in the order of those of a site; of the first where none is named."""
    ids = site.units.ids.tolist()
    if unit is None:
        return 0 if ids else None
    if not unit.isascii() or not unit.isdigit() or int(unit) not in ids:
        recorded = "" if len(ids) == site.of else f", {len(ids):,} of them recorded"
        raise SelectionError(f"no unit {unit} in site {site.name}: it has units 0 to {site.of - 1}{recorded}")
    return ids.index(int(unit))


def grid_of(page: Page, site: SiteOnPage) -> Grid:
    """Returns the units of a site as cells; of many, some share a row, which shows the farthest of them."""
    codes, ids = site.units.codes, site.units.ids
    a_row = max(1, -(-len(ids) // _ROWS))
    if len(ids):
        codes = np.maximum.reduceat(codes, np.arange(0, len(ids), a_row), axis=0)
    rows, columns = codes.shape
    places = page.scale.low + (codes.astype(float) - LOWEST) / (STEPS - 1) * (page.scale.high - page.scale.low)
    firsts = ids[::a_row]

    def says(row: int, column: int) -> str:
        code, here = int(codes[row, column]), slice(row * a_row, (row + 1) * a_row)
        which = f"unit {firsts[row]}" if a_row == 1 else f"units {', '.join(map(str, ids[here]))}"
        if code < LOWEST:
            return f"{which}, window {page.windows[column].name}: {states(page.scale)[code][1]}"
        about = (
            f"about {exact(2.0 ** places[row, column])} times its floor"
            if page.scale.of_floor
            else f"drift about {exact(10.0 ** places[row, column])} {page.unit}"
        )
        return f"{which}, window {page.windows[column].name}: {about}; at most {exact(site.units.worst[here][0])}"

    return Grid(
        codes=codes,
        places=np.where(codes >= LOWEST, places, np.nan),
        scale=page.scale,
        wide=max(2.0, min(40.0, _WIDE / max(columns, 1))),
        high=max(3.5, min(16.0, 420 / max(rows, 1))),
        rows=[str(unit) for unit in firsts],
        columns=[window.name for window in page.windows],
        says=says,
    )


def _fan(page: Page, quantiles: Floats, name: str, theme: dict[str, str]) -> Chart:
    import altair as alt

    rows = [
        {
            **{"x": at + 0.5, **{f"q{p}": float(v) for p, v in zip(PERCENTILES, five, strict=True)}},
            "says": f"{name}, window {page.windows[at].name}: "
            + ", ".join(f"percentile {p} {exact(v)}" for p, v in zip(PERCENTILES, five, strict=True)),
        }
        for at, five in enumerate(quantiles)
        if np.isfinite(five).all()
    ]
    scale = alt.Scale(domain=[0, max(len(page.windows), 1)], nice=False)
    x = alt.X("x:Q", scale=scale, axis=alt.Axis(**named([window.name for window in page.windows]), title="window"))

    def y(field: str) -> Any:
        return alt.Y(
            f"{field}:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="activation", tickCount=5, **plain_numbers())
        )

    base, blue, ink = alt.Chart(data(rows)), alt.value(theme["accent"]), alt.value(theme["ink"])
    layers = [
        base.mark_area(opacity=0.15, aria=False).encode(x=x, y=y("q5"), y2="q95", color=blue),
        base.mark_area(opacity=0.25, aria=False).encode(x=x, y=y("q15"), y2="q85", color=blue),
        base.mark_line(strokeWidth=2, aria=False).encode(x=x, y=y("q50"), color=ink),
        base.mark_point(size=12, filled=True, opacity=1).encode(x=x, y=y("q50"), color=ink, description="says:N"),
    ]
    title = alt.TitleParams(
        text=f"{name}: percentiles 5, 15, 50, 85, 95", fontSize=12, anchor="start", frame="group", offset=4
    )
    return alt.layer(*layers).properties(width=280, height=130, title=title)


def _ridges(page: Page, densities: Densities, name: str, theme: dict[str, str]) -> Chart:
    """Returns densities above each other, the first window at the top, all to one scale."""
    import altair as alt

    count = len(densities.windows)
    if not count:
        return alt.Chart(data([])).mark_point()
    low, high = densities.edges[0].tolist()
    edges = np.linspace(low, high, BINS + 1)
    rows = [
        {"x": float(edge), "y": at + 1.0 - 1.8 * int(height) / LEVELS, "y2": at + 1.0, "ridge": at}
        for at, heights in enumerate(densities.heights[0])
        for bin_, height in enumerate(heights)
        for edge in (edges[bin_], edges[bin_ + 1])
    ]
    names = [page.windows[at].name for at in densities.windows]
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(domain=[count, -0.9], nice=False),
        axis=alt.Axis(**{**named(names, first=0.85), "labelSeparation": 0}, title=None),
    )
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(title="activation", tickCount=4, **plain_numbers(), grid=False),
    )
    layers = []
    for at in range(count):
        heights = " ".join(map(str, densities.heights[0][at]))
        span = f"{BINS} bins from {exact(low)} to {exact(high)}, heights of {LEVELS}"
        said = f"{name}, window {names[at]}: density, {span}: {heights}"
        base = alt.Chart(data([row for row in rows if row["ridge"] == at]))
        mark = base.mark_area(
            fill=theme["band"], fillOpacity=0.85, stroke=theme["accent"], strokeWidth=1, description=said
        )
        layers.append(mark.encode(x=x, y=y, y2="y2"))
    title = alt.TitleParams(text=f"{name}: densities by window", fontSize=12, anchor="start", frame="group", offset=4)
    return alt.layer(*layers).properties(width=280, height=max(60.0, min(18.0 * count, 200.0)), title=title)


def _caption(page: Page, rows: int) -> list[str]:
    if not rows:
        return ["No unit of the site was recorded."]
    hatched = "; hatched or grey: not above what chance shows" * page.scale.of_floor
    return [f"Colour: {page.scale.label}{hatched}. Densities are all to one scale."]
