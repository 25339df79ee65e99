"""Onset as a figure: when each site left the band of its own past, the first one at the top."""

from __future__ import annotations

import numpy as np

from icshift.figures.frame import WIDTH, Chart, data, elided, named, whole
from icshift.page.model import Page, SiteOnPage


def onset(page: Page, theme: dict[str, str]) -> Chart:
    """Returns the sites of a page by the step at which they left their band."""
    import altair as alt

    sites = sorted(page.sites, key=lambda site: np.inf if site.onset is None else site.onset)
    first, last = _span(page)
    height = max(len(sites), 1) * (20.0 if len(sites) <= 40 else 13.0)
    wide = WIDTH * 0.5
    steps = alt.Scale(domain=[first, max(last, first + 1)], nice=False, zero=False)
    step_axis = alt.Axis(title="step of the optimizer", tickCount=8, grid=False, format=",d")
    x = alt.X("x:Q", scale=steps, axis=step_axis)
    axis = {**named([site.name for site in sites]), "title": "site", "titleAngle": 0, "titleAlign": "right"}
    y_axis = alt.Axis(**{**axis, "titleX": -8, "titleY": -8, "labelOverlap": False})
    y = alt.Y("y:Q", scale=alt.Scale(domain=[max(len(sites), 1), 0], nice=False), axis=y_axis)
    lines = [_line(site, at, first, last) for at, site in enumerate(sites)]
    left = [line for line in lines if line["left"]]
    base = alt.Chart(data(lines))
    rule = base.mark_rule(strokeWidth=3).encode(x=x, x2="x2", y=y, color=alt.value(theme["line"]), description="says:N")
    mark = alt.Chart(data(left)).mark_point(
        shape="triangle-down", filled=True, size=75, opacity=1, aria=False, stroke=theme["ground"], strokeWidth=0.8
    )
    said = base.mark_text(align="left", dx=8, fontSize=10.5, limit=430, aria=False)
    layers = [
        _shades(page, theme, height, x),
        rule,
        mark.encode(x=alt.X("x2:Q", axis=step_axis), y=y, color=alt.value(theme["mark"])),
        said.encode(x=alt.value(wide), y=y, text="text:N", color=alt.value(theme["quiet"])),
    ]
    chart = alt.layer(*layers).properties(width=wide, height=height)
    return whole([chart], _title(sites), _about(page), _caption())


def _span(page: Page) -> tuple[int, int]:
    """Returns the first and the last step of the series of the sites, of the windows where there is none."""
    numbers = [site.series.number for site in page.sites if len(site.series.number)]
    steps = [int(each[0]) for each in numbers], [int(each[-1]) for each in numbers]
    ends = [window.first for window in page.windows], [window.last for window in page.windows]
    return min([*steps[0], *ends[0]], default=0), max([*steps[1], *ends[1]], default=1)


def _line(site: SiteOnPage, at: int, first: int, last: int) -> dict[str, object]:
    left = site.onset is not None
    what = f"step {site.onset}: {site.onset_how}" if left else "stayed in its band"
    if site.onset_unknown:
        what = f"? {site.onset_unknown}"
    return {
        **{"x": first, "x2": site.onset if left else last if not site.onset_unknown else first, "y": at + 0.5},
        **{"left": left, "text": what, "says": f"{site.name}: {what}"},
    }


def _shades(page: Page, theme: dict[str, str], height: float, x: object) -> Chart:
    """Returns every other window as a band over all rows."""
    import altair as alt

    bands = [{"x": window.first, "x2": window.last + 1} for window in page.windows[1::2]]
    mark = alt.Chart(data(bands)).mark_rect(aria=False, clip=True)
    return mark.encode(x=x, x2="x2", y=alt.value(0), y2=alt.value(height), color=alt.value(theme["panel"]))


def _title(sites: list[SiteOnPage]) -> str:
    if sites and sites[0].onset is not None:
        return f"{elided(sites[0].name)} left the band of its past first, at step {sites[0].onset}"
    return "No site left the band of its past" if any(not site.onset_unknown for site in sites) else "Onset is unknown"


def _about(page: Page) -> list[str]:
    return [
        f"{page.title} · phase {page.phase} · first step at which the sd (median over units, in activation units) or "
        "the median (in sd of the first steps, from where it was then) of a site lies outside of the band of its past"
    ]


def _caption() -> list[str]:
    return [
        "Triangle = the first step outside; grey = steps within the band; shades = windows. Band: from the smallest to "
        "the largest value of all steps but the last quarter before, widened: of runs in which nothing changes at most "
        "some 5 % show any site. What left first need not be the cause."
    ]
