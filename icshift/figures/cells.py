"""Cells of sites or units by windows, in the colours, hatches and signs of the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icshift.figures.frame import Chart, data, named
from icshift.figures.image import DENSE, as_url, palette, png, stretched
from icshift.page.look import ABSENT, CHANCE, CONSTANT, LOWEST, NOT_FINITE, PALETTES, UNKNOWN, Codes, Scale
from icshift.page.model import Floats, Page

MOST = 5000
"""Cells that are drawn one by one; of more, all are one picture."""

SIGNS = {NOT_FINITE: "!", CONSTANT: "=", UNKNOWN: "?"}
"""What stands in cells that have no place on the scale."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells of `codes` [rows, columns] of a `scale`, each so wide and high in pixels.

    `places` are where on the scale they lie, in its logarithms (NaN where nowhere); `says` gives what a cell says, by
    row and column.
    """

    codes: Codes
    places: Floats
    scale: Scale
    wide: float
    high: float
    rows: Sequence[str]
    columns: Sequence[str]
    says: Callable[[int, int], str]

    @property
    def width(self) -> float:
        """Pixels across."""
        return max(self.codes.shape[1], 1) * self.wide

    @property
    def height(self) -> float:
        """Pixels down."""
        return max(self.codes.shape[0], 1) * self.high


def places_of(scale: Scale, drift: Floats, floor: Floats) -> Floats:
    """Returns drifts in the logarithms of a scale, NaN where they have none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.log2(np.abs(drift) / floor) if scale.of_floor else np.log10(np.abs(drift))
    return np.where(np.isfinite(place), place, np.nan)


def drawn(grid: Grid, theme: dict[str, str], across: dict[str, Any], down: dict[str, Any]) -> list[Chart]:
    """Returns the layers of a grid; `across` and `down` are options of its two axes."""
    import altair as alt

    rows, columns = grid.codes.shape
    x_axis = alt.Axis(**{**named(grid.columns), **across})
    above = {"titleAngle": 0, "titleAlign": "right", "titleX": -8, "titleY": -8, "labelOverlap": False}
    y_axis = alt.Axis(**{**named(grid.rows), **above, **down})
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, max(columns, 1)], nice=False, zero=False), axis=x_axis)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[max(rows, 1), 0], nice=False, zero=False), axis=y_axis)
    if rows * columns > MOST:
        return _as_picture(grid, theme, x, y)
    cells = _cells(grid)
    base = alt.Chart(data(cells)).mark_rect()
    around = {"x": x, "x2": "x2", "y": y, "y2": "y2", "description": "says:N"}
    plain = base.transform_filter(f"datum.code < {LOWEST}").encode(**around, color=alt.value(theme["absent"]))
    coloured = base.transform_filter(f"datum.code >= {LOWEST}").encode(**around, color=colour(grid.scale))
    signs = alt.Chart(data([cell for cell in cells if cell["sign"]])).mark_text(
        fontSize=11, fontWeight="bold", aria=False
    )
    middle = {"x": alt.X("cx:Q", axis=x_axis), "y": alt.Y("cy:Q", axis=y_axis)}
    return [
        plain,
        coloured,
        _hatch(grid, theme, cells, middle),
        signs.encode(**middle, text="sign:N", color=alt.value(theme["ink"])),
    ]


def colour(scale: Scale, field: str = "place:Q") -> Any:
    """Returns the colour of a place on the scale, with a legend in its own words."""
    import altair as alt

    ticks = [place for place, _ in scale.ticks]
    words = json.dumps({f"{place:.6g}": text for place, text in scale.ticks})
    return alt.Color(
        field,
        scale=alt.Scale(
            domain=[scale.low, scale.high], range=list(PALETTES["viridis"]), interpolate="rgb", clamp=True, nice=False
        ),
        legend=alt.Legend(
            title=scale.label,
            orient="bottom",
            direction="horizontal",
            titleOrient="left",
            titleAnchor="middle",
            gradientLength=220,
            gradientThickness=10,
            values=ticks,
            labelExpr=f"{words}[format(datum.value, '.6~g')]",
            labelOverlap="greedy",
        ),
    )


def _cells(grid: Grid) -> list[dict[str, Any]]:
    across, down = min(1 / grid.wide, 0.15) * (grid.wide > 8), min(1 / grid.high, 0.15)
    return [
        {
            **{"x": column, "x2": column + 1 - across, "y": row, "y2": row + 1 - down},
            **{"cx": column + 0.5 - across / 2, "cy": row + 0.5 - down / 2, "code": int(code)},
            "place": None if np.isnan(place := float(grid.places[row, column])) else place,
            "sign": SIGNS.get(int(code), "") if min(grid.wide, grid.high) >= 8 else "",
            "says": grid.says(row, column),
        }
        for (row, column), code in np.ndenumerate(grid.codes)
        if code != ABSENT
    ]


def _hatch(grid: Grid, theme: dict[str, str], cells: Sequence[dict[str, Any]], middle: dict[str, Any]) -> Chart:
    """Returns stripes over what is not above chance: a shape of lines in pixels, for a size of 4 is a scale of 1."""
    import altair as alt

    wide, high = grid.wide - (grid.wide > 8), grid.high - 1
    here = [cell for cell in cells if cell["code"] == CHANCE and min(wide, high) >= 5]
    mark = alt.Chart(data(here)).mark_point(shape=stripes(wide, high), size=4, filled=False, strokeWidth=1, aria=False)
    return mark.encode(**middle, stroke=alt.value(theme["hatch"]), color=alt.value(theme["hatch"]))


def stripes(wide: float, high: float, gap: float = 5.0) -> str:
    """Returns the path of diagonals within a rectangle around 0."""
    lines = []
    place = gap / 2
    while place < wide + high:
        x1, y1 = (place, 0.0) if place < wide else (wide, place - wide)
        x2, y2 = (0.0, place) if place < high else (place - high, high)
        lines.append(f"M{x1 - wide / 2:.1f},{y1 - high / 2:.1f}L{x2 - wide / 2:.1f},{y2 - high / 2:.1f}")
        place += gap
    return "".join(lines)


def framed(page: Page, rows: int, theme: dict[str, str]) -> list[Chart]:
    """Returns a frame around the window that is looked at; none around the last one."""
    import altair as alt

    if not 0 <= page.window < len(page.windows) - 1:
        return []
    said = f"window {page.windows[page.window].name}"
    frame = {"x": page.window, "x2": page.window + 1, "y": 0, "y2": max(rows, 1), "says": said}
    mark = alt.Chart(data([frame])).mark_rect(filled=False, strokeWidth=2)
    return [mark.encode(x="x:Q", x2="x2", y="y:Q", y2="y2", stroke=alt.value(theme["ink"]), description="says:N")]


def _as_picture(grid: Grid, theme: dict[str, str], x: Any, y: Any) -> list[Chart]:
    import altair as alt

    rows, columns = grid.codes.shape
    pixels = [max(1, round(DENSE * size)) for size in (grid.wide, grid.high)]
    address = as_url(png(stretched(grid.codes, *pixels), palette(theme)))
    ends = data([{"x": 0, "y": 0, "place": grid.scale.low}, {"x": columns, "y": rows, "place": grid.scale.high}])
    # Nothing to see: what gives the axes and the legend their scales.
    scales = alt.Chart(ends).mark_point(opacity=0, aria=False).encode(x=x, y=y, color=colour(grid.scale))
    picture = alt.Chart(data([{}])).mark_image(
        url=address,
        width=grid.width,
        height=grid.height,
        align="left",
        baseline="top",
        aspect=False,
        smooth=False,
        description=f"{rows} rows by {columns} windows, {grid.scale.label}: a colour a cell, one by one on the page",
    )
    return [picture.encode(x=alt.value(0), y=alt.value(0)), scales]
