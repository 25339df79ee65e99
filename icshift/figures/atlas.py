"""The atlas as a figure: every site in every window, and above it what was logged."""

from __future__ import annotations

import numpy as np

from icshift.figures.cells import SIGNS, Axes, Grid, drawn, framed, places_of
from icshift.figures.frame import WIDTH, Chart, data, facts, plain_numbers, whole
from icshift.page.look import ABSENT, CHANCE, CONSTANT, LOWEST, NOT_FINITE, UNKNOWN, exact, states
from icshift.page.model import Page, SiteOnPage


def atlas(page: Page, theme: dict[str, str]) -> Chart:
    """Returns the atlas of a page."""
    import altair as alt

    grid = grid_of(page)
    axes = Axes(grid, {"title": "window"}, {"title": "site"})
    layers = drawn(grid, theme, axes)
    marks = [*_blocks(page, axes, theme), *_triangles(page, axes, theme), *_troubles(page, axes, theme)]
    marks += framed(page, axes, theme)
    cells = alt.layer(*layers, *marks).properties(width=grid.width, height=grid.height)
    above = [logged(page, grid.width, theme)] if any(np.isfinite(line.values).any() for line in page.lines) else []
    title = f"Drift of {len(page.sites):,} sites in {len(page.windows):,} windows"
    return whole([*above, cells], title, [facts(page)], _caption(page), grid.width + 60)


def grid_of(page: Page) -> Grid:
    """Returns the cells of the atlas: rows of 12 pixels or more, columns as wide as there is room for."""
    sites, windows = page.sites, page.windows
    codes = np.array([site.codes for site in sites], np.uint8).reshape(len(sites), len(windows))
    drift, floor = (np.array([getattr(site, name) for site in sites], float) for name in ("drift", "floor"))
    return Grid(
        codes=codes,
        places=places_of(page.scale, drift, floor).reshape(codes.shape),
        scale=page.scale,
        wide=max(2.0, min(76.0, WIDTH / max(len(windows), 1))),
        high=18.0 if len(sites) <= 40 else 12.0,
        rows=[f"{site.name} †" if site.affine else site.name for site in sites],
        columns=[window.name for window in windows],
        says=lambda row, column: in_words(page, sites[row], column),
    )


def in_words(page: Page, site: SiteOnPage, at: int) -> str:
    """Returns what a cell of the atlas says, its numbers with all their digits."""
    window, code = page.windows[at], int(site.codes[at])
    said = [f"{site.name}, window {window.name} (steps {window.first} to {window.last})"]
    if code in (ABSENT, NOT_FINITE, CONSTANT):
        return f"{said[0]}: {states(page.scale)[code][1]}"
    said.append(f"drift {exact(site.drift[at])} {page.unit}")
    if page.scale.of_floor and np.isfinite(site.floor[at]):
        said.append(f"floor {exact(site.floor[at])}, ratio {exact(site.ratio[at])}")
    if site.why[at]:
        said.append(f"whether it moved cannot be told: {site.why[at]}")
    elif code in (CHANCE, UNKNOWN):
        said.append(states(page.scale)[code][1])
    else:
        said.append(f"moved {exact(site.moved[at])} of its units")
    counts = {"dead": site.dead, "near-constant": site.constant, "not finite": site.nonfinite}
    return "; ".join(
        [
            *said,
            *(
                f"{count[at]} unit{'' if count[at] == 1 else 's'} {what}"
                for what, count in counts.items()
                if count[at] > 0
            ),
        ]
    )


def logged(page: Page, width: float, theme: dict[str, str]) -> Chart:
    """Returns what was logged first, by window, as wide as the cells below it."""
    import altair as alt

    line = page.lines[0]
    known = [(at, float(value)) for at, value in enumerate(line.values) if np.isfinite(value)]
    rows = [
        {"x": at + 0.5, "y": value, "says": f"{line.name}, window {page.windows[at].name}: {exact(value)}"}
        for at, value in known
    ]
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, len(page.windows)], nice=False))
    y = alt.Y(
        "y:Q",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(title=line.name, tickCount=3, **plain_numbers(), titleLimit=120),
    )
    base = alt.Chart(data(rows)).encode(x=x, y=y)
    parts = base.mark_line(aria=False), base.mark_point(size=14, filled=True, opacity=1).encode(description="says:N")
    return alt.layer(*(part.encode(color=alt.value(theme["accent"])) for part in parts)).properties(
        width=width, height=56
    )


def step_place(page: Page, step: int) -> float:
    """Returns the place of a step along the windows: 1.5 is the middle of the second one."""
    for at, window in enumerate(page.windows):
        if step <= window.last:
            return at + max(0.0, (step - window.first + 0.5) / (window.last - window.first + 1))
    return float(len(page.windows))


def _blocks(page: Page, axes: Axes, theme: dict[str, str]) -> list[Chart]:
    import altair as alt

    sites = page.sites
    rows = [{"y": at} for at in range(1, len(sites)) if sites[at].block != sites[at - 1].block]
    if not rows or len(rows) == len(sites) - 1:
        return []
    rule = (
        alt.Chart(data(rows)).mark_rule(strokeWidth=1, aria=False).encode(y=axes.y(), color=alt.value(theme["hatch"]))
    )
    return [rule]


def _triangles(page: Page, axes: Axes, theme: dict[str, str]) -> list[Chart]:
    import altair as alt

    rows = [
        {
            "x": step_place(page, site.onset),
            "y": at + 0.15,
            "says": f"{site.name} left the band of its past at step {site.onset}: {site.onset_how}",
        }
        for at, site in enumerate(page.sites)
        if site.onset is not None
    ]
    mark = alt.Chart(data(rows)).mark_point(
        shape="triangle-down", filled=True, size=60, opacity=1, stroke=theme["ground"], strokeWidth=0.8
    )
    return [mark.encode(x=axes.x(), y=axes.y(), color=alt.value(theme["mark"]), description="says:N")] if rows else []


def _troubles(page: Page, axes: Axes, theme: dict[str, str]) -> list[Chart]:
    """Returns a dot in cells with dead units and a bar in those with near-constant ones, as on the page."""
    import altair as alt

    if axes.grid.wide < 6:
        return []
    layers = []
    for shape, across, counts in (("circle", 0.2, "dead"), ("square", 0.8, "constant")):
        rows = [
            {"x": column + across, "y": row + 0.72}
            for row, site in enumerate(page.sites)
            for column, count in enumerate(getattr(site, counts))
            if count > 0
        ]
        path = "M-3,-1L3,-1L3,1L-3,1Z" if shape == "square" else "circle"
        mark = alt.Chart(data(rows)).mark_point(
            shape=path, size=4 if shape == "square" else 18, filled=True, opacity=1, strokeWidth=1, aria=False
        )
        layers += (
            [mark.encode(x=axes.x(), y=axes.y(), fill=alt.value(theme["ink"]), stroke=alt.value(theme["ground"]))]
            if rows
            else []
        )
    return layers


def _caption(page: Page) -> list[str]:
    used = {int(code) for site in page.sites for code in site.codes}
    words = states(page.scale)
    signs = {CHANCE: "hatched", **{code: f"'{sign}'" for code, sign in SIGNS.items()}}
    said = [f"{sign} = {words[code][1]}" for code, sign in signs.items() if code in used]
    if ABSENT in used:
        said.append(f"empty = {words[ABSENT][1]}")
    if any(code >= LOWEST for code in used):
        said.insert(0, f"colour = {page.scale.label}, bright is far")
    if any(site.onset is not None for site in page.sites):
        said.append("triangle = the step at which a site left the band of its own past")
    if any((site.dead > 0).any() for site in page.sites):
        said.append("dot = dead units")
    if any((site.constant > 0).any() for site in page.sites):
        said.append("bar = near-constant units")
    if any(site.affine for site in page.sites):
        said.append("† = mean and sd are set by the layer's own weight and bias")
    if 0 <= page.window < len(page.windows) - 1:
        said.append(f"frame = window {page.windows[page.window].name}")
    return [f"{'; '.join(said)}."] if said else []
