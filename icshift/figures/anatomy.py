"""Anatomy as a figure: of every site and window which share of the drift is change of mean, of sd, of shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from icshift.analysis.anatomy import PARTS
from icshift.figures.frame import WIDTH, Chart, data, facts, named, whole
from icshift.figures.image import DENSE, as_url, png, rgb
from icshift.page import parts
from icshift.page.look import CHANCE, COLOURS_OF_PARTS, exact
from icshift.page.model import Floats, Ints, Page

MOST = 5000
"""Bars that are drawn one by one; of more, all are one picture."""

_FAINT = 3
"""Added to the number of a part where the drift is not above chance."""


def anatomy(page: Page, theme: dict[str, str]) -> Chart:
    """Returns stacked shares by site and window."""
    import altair as alt

    rows, columns = max(len(page.sites), 1), max(len(page.windows), 1)
    wide, high = max(2.0, min(76.0, WIDTH / columns)), 34.0 if len(page.sites) <= 20 else 20.0
    across = named([window.name for window in page.windows])
    down = named([f"{site.name} †" if site.affine else site.name for site in page.sites])
    above = {"titleAngle": 0, "titleAlign": "right", "titleX": -8, "titleY": -8, "labelOverlap": False}
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, columns], nice=False), axis=alt.Axis(**across, title="window"))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[rows, 0], nice=False), axis=alt.Axis(**{**down, **above}, title="site"))
    bars = list(_bars(page))
    layers = _picture(page, theme, wide, high, x, y) if len(bars) > MOST else _rectangles(bars, x, y)
    chart = alt.layer(*layers).properties(width=columns * wide, height=rows * high)
    return whole([chart], parts.TITLE, [facts(page)], [parts.caption(page)], columns * wide + 60)


def _bars(page: Page) -> Iterator[dict[str, Any]]:
    for row, site in enumerate(page.sites):
        for column, window in enumerate(page.windows):
            if not np.isfinite(site.parts[column]).all():
                continue
            top = row + 0.92
            for part, share in zip(PARTS, site.parts[column].tolist(), strict=True):
                said = f"{site.name}, window {window.name}: {part} {exact(share)} of W2 squared"
                weak = int(site.codes[column]) == CHANCE
                yield {
                    **{"x": column + 0.04, "x2": column + 0.96, "y": top, "y2": top - 0.84 * share, "part": part},
                    **{"says": said + "; drift not above chance" * weak, "weak": weak},
                }
                top -= 0.84 * share


def _colour() -> Any:
    import altair as alt

    scale = alt.Scale(domain=list(PARTS), range=list(COLOURS_OF_PARTS))
    words = f"{json.dumps(parts.WORDS)}[datum.label]"
    legend = alt.Legend(
        title=parts.LEGEND,
        orient="bottom",
        titleOrient="left",
        direction="horizontal",
        symbolType="square",
        labelExpr=words,
    )
    return alt.Color("part:N", scale=scale, sort=list(PARTS), legend=legend)


def _rectangles(bars: list[dict[str, Any]], x: Any, y: Any) -> list[Chart]:
    import altair as alt

    around = {"x": x, "x2": "x2", "y": y, "y2": "y2", "color": _colour(), "description": "says:N"}
    opacity = alt.condition("datum.weak", alt.value(parts.FAINT), alt.value(1.0))
    return [alt.Chart(data(bars)).mark_rect().encode(**around, opacity=opacity)]


def _picture(page: Page, theme: dict[str, str], wide: float, high: float, x: Any, y: Any) -> list[Chart]:
    """Returns all bars as one picture, to the pixel."""
    import altair as alt

    across, down = (max(1, round(DENSE * size)) for size in (wide, high))
    columns = [_stacked(site.parts, site.codes == CHANCE, down) for site in page.sites]
    indices = np.concatenate([column.repeat(across, 1) for column in columns]).astype(np.uint8)
    solid = np.array([rgb(colour) for colour in COLOURS_OF_PARTS], float)
    ground = np.array(rgb(theme["ground"]), float)
    colours = np.zeros((256, 3), np.uint8)
    colours[0], colours[1:4], colours[4:7] = ground, solid, np.rint(parts.FAINT * solid + (1 - parts.FAINT) * ground)
    ends = data([{"x": 0, "y": 0, "part": PARTS[0]}])
    scales = alt.Chart(ends).mark_point(opacity=0, aria=False).encode(x=x, y=y, color=_colour())
    mark = alt.Chart(data([{}])).mark_image(
        url=as_url(png(indices, colours.tobytes())),
        width=len(page.windows) * wide,
        height=len(page.sites) * high,
        align="left",
        baseline="top",
        aspect=False,
        smooth=False,
        description=f"stacked shares of {len(page.sites)} sites by {len(page.windows)} windows",
    )
    return [mark.encode(x=alt.value(0), y=alt.value(0)), scales]


def _stacked(shares: Floats, weak: Any, down: int) -> Ints:
    """Returns the numbers of parts, 1 to 3, from the bottom up [pixels, windows]; 0 where nothing is."""
    inner = down - 2
    ends = np.rint(inner * np.cumsum(np.nan_to_num(shares), axis=1)).astype(int)
    place = np.arange(inner)[:, None, None]
    which = (place >= ends[None]).sum(2) + 1 + _FAINT * np.asarray(weak, int)
    column = np.where((place[..., 0] < ends[None, :, -1]) & np.isfinite(shares).all(1), which, 0)
    return np.concatenate([np.zeros((2, len(shares)), int), column[::-1]])
