"""Contour charts of slices through loss landscapes, one panel per model, as HTML page, SVG, PNG or PDF."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from icshift.errors import IcshiftError, unknown

_LEVELS = 14
"""Number of bands of colour in a chart of one panel, and of the lines in every panel."""

_SHARED_LEVELS = 42
"""Number of bands of colour that several panels share; each panel has lines at `_LEVELS` levels of its own."""

_WIDE = 20.0
"""Levels are even in the logarithm of the loss where the largest is more than so many times the least."""

_INK = "#1a1a1a"
_EMPTY = "#d9d9d9"


@dataclass(frozen=True)
class Mark:
    """A marked place in a panel, at the coordinates `first` and `second`: `kind` decides how it is drawn."""

    kind: str
    first: float
    second: float
    label: str


MODEL, MINIMUM, OTHER = "model", "minimum", "other"


@dataclass(frozen=True, eq=False)
class Panel:
    """A slice to be drawn: coordinates `first` [columns] and `second` [rows], `losses` [rows, columns], and `marks`.

    `lengths` are the distances between parameters that one unit of either coordinate stands for: the panel is drawn so
    that distances are as long across as they are up.
    """

    title: str
    first: Any
    second: Any
    losses: Any
    lengths: tuple[float, float]
    marks: Sequence[Mark]


def chart_format(suffix: str) -> Callable[[Sequence[Panel], tuple[str, str], Sequence[str]], bytes]:
    """Returns the function that draws a chart in the format that the suffix of its file stands for.

    It takes panels, the titles of both axes, and the lines of the chart's own title; it returns the content of the
    file. Raises `SelectionError` for a suffix that is not known, `IcshiftError` where the libraries that draw are not
    installed.
    """
    if suffix.lower() not in _FORMATS:
        raise unknown("chart format", suffix or "(no suffix)", _FORMATS)
    try:
        import altair  # noqa: F401
        import contourpy  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise IcshiftError(f'charts need {error.name}: pip install "icshift[charts]"') from error
    return lambda panels, axes, title: _FORMATS[suffix.lower()](_chart(panels, axes, title))


def _chart(panels: Sequence[Panel], axes: tuple[str, str], title: Sequence[str]) -> Any:
    import altair as alt

    count = _LEVELS if len(panels) == 1 else _SHARED_LEVELS
    levels, logarithmic = levels_of([panel.losses for panel in panels], count)
    domain = [float(levels[0]), float(levels[-1])]
    scale = alt.Scale(scheme="viridis", type="log" if logarithmic else "linear", domain=domain)
    colour = alt.Color("level:Q", scale=scale, legend=_legend(alt, levels))
    side = {1: 420, 2: 320}.get(len(panels), 240)
    drawn = [_panel(alt, panel, axes, levels, colour, side) for panel in panels]
    text = alt.Title(title[0], subtitle=title[1:], anchor="start", fontSize=14, fontWeight="normal", offset=12)
    return (
        alt.concat(*drawn, columns=3, spacing=24)
        .properties(title=text)
        .configure(font="Helvetica, Arial, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(grid=False, labelFontSize=11, titleFontSize=12, titleFontWeight="normal", tickCount=7)
    )


def _legend(alt: Any, levels: Any) -> Any:
    return alt.Legend(
        title="loss",
        format=".3~g",
        values=[float(level) for level in levels[:: max(1, len(levels) // 5)]],
        gradientLength=220,
        titleFontSize=12,
    )


def _panel(alt: Any, panel: Panel, axes: tuple[str, str], levels: Any, colour: Any, side: int) -> Any:
    """Returns filled bands below lines below marks; the points of the slice show their loss when pointed at."""
    width, height = _sides(panel, side)

    def place(values: Any) -> Any:
        return alt.Scale(domain=[float(values[0]), float(values[-1])], nice=False, zero=False)

    x = alt.X("first:Q", title=axes[0], scale=place(panel.first))
    y = alt.Y("second:Q", title=axes[1], scale=place(panel.second))
    path = {"x": x, "y": y, "order": alt.Order("place:Q"), "detail": "path:N"}
    bands = (
        alt.Chart(_bands(panel, levels)).mark_line(filled=True, strokeWidth=0, clip=True).encode(**path, fill=colour)
    )
    lines = (
        alt.Chart(_lines(panel, levels_of([panel.losses], _LEVELS)[0]))
        .mark_line(color="white", strokeWidth=0.8, opacity=0.75, clip=True)
        .encode(**path)
    )
    layers = [bands, lines, *_marks(alt, panel, x, y, side), _pointed(alt, panel, x, y)]
    return alt.layer(*layers).properties(
        width=width, height=height, title=alt.Title(panel.title, fontSize=13), view=alt.ViewBackground(fill=_EMPTY)
    )


def _sides(panel: Panel, side: int) -> tuple[float, float]:
    across = panel.lengths[0] * float(panel.first[-1] - panel.first[0])
    up = panel.lengths[1] * float(panel.second[-1] - panel.second[0])
    return side * across / max(across, up), side * up / max(across, up)


def _pointed(alt: Any, panel: Panel, x: Any, y: Any) -> Any:
    grid = np.meshgrid(panel.first, panel.second)
    points = pd.DataFrame({"first": grid[0].ravel(), "second": grid[1].ravel(), "loss": np.ravel(panel.losses)})
    shown = [alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("first", "second", "loss")]
    return alt.Chart(points).mark_square(opacity=0, size=180, clip=True).encode(x=x, y=y, tooltip=shown)


def _marks(alt: Any, panel: Panel, x: Any, y: Any, side: int) -> Iterator[Any]:
    """Yields the model as a point, the slice's minimum as a cross, other models at the end of a line from this one."""
    shapes = {
        MODEL: ("circle", "white", 70.0),
        MINIMUM: ("cross", "#ff5d5d", 90.0),
        OTHER: ("diamond", "#ffb000", 70.0),
    }
    model = next((mark for mark in panel.marks if mark.kind == MODEL), None)
    for mark in panel.marks:
        if mark.kind == OTHER and model is not None:
            ends = pd.DataFrame({"first": [model.first, mark.first], "second": [model.second, mark.second]})
            line = alt.Chart(ends).mark_line(color="#ffb000", strokeWidth=1.5, strokeDash=[5, 3], clip=True)
            yield line.encode(x=x, y=y)
    labelled: list[tuple[float, float]] = []
    for mark in sorted(panel.marks, key=lambda mark: list(shapes).index(mark.kind), reverse=True):
        if not _within(mark, panel):
            continue
        shape, fill, size = shapes[mark.kind]
        at = pd.DataFrame({"first": [mark.first], "second": [mark.second], "what": [mark.label]})
        chart = alt.Chart(at).encode(x=x, y=y)
        angle = 45 if shape == "cross" else 0
        yield chart.mark_point(
            shape=shape, filled=True, fill=fill, stroke=_INK, strokeWidth=1, size=size, opacity=1, angle=angle
        ).encode(tooltip=alt.Tooltip("what:N", title="this is"))
        if mark.kind != MODEL:
            text = _beside(mark, panel, side, labelled)
            yield chart.mark_text(**text, stroke=_INK, strokeWidth=3, strokeOpacity=0.6).encode(text="what:N")
            yield chart.mark_text(**text, fill="white").encode(text="what:N")


def _beside(mark: Mark, panel: Panel, side: int, labelled: list[tuple[float, float]]) -> dict[str, Any]:
    """Returns where a label goes: inside the panel, and not on the `labelled` places, to which its own is added."""
    width, height = _sides(panel, side)
    across, down = width * _share(mark.first, panel.first), height * (1 - _share(mark.second, panel.second))
    right = across > 0.5 * width + 1
    free = [
        offset
        for offset in (0, 14, -14, 28, -28, 42, -42)
        if 7 <= down + offset <= height - 7
        and all(abs(x - across) > 0.4 * side or abs(y - down - offset) > 12 for x, y in labelled)
    ]
    offset = free[0] if free else 0
    labelled.append((across, down + offset))
    return {"align": "right" if right else "left", "dx": -9 if right else 9, "dy": offset, "fontSize": 11}


def _within(mark: Mark, panel: Panel) -> bool:
    return 0 <= _share(mark.first, panel.first) <= 1 and 0 <= _share(mark.second, panel.second) <= 1


def _share(value: float, axis: Any) -> float:
    """Returns how far along an axis a value is, from 0 to 1."""
    return (value - float(axis[0])) / (float(axis[-1]) - float(axis[0]))


def levels_of(losses: Sequence[Any], count: int) -> tuple[Any, bool]:
    """Returns the limits [count + 1] of bands from the least loss to the largest, and whether they are logarithmic.

    There are two limits where all losses are equal. Raises `IcshiftError` where no loss is finite.
    """
    values = np.concatenate([np.ravel(np.asarray(of_panel, float)) for of_panel in losses])
    values = values[np.isfinite(values)]
    if not len(values):
        raise IcshiftError("no loss of the slice is finite: nothing to draw; take a smaller --radius")
    least, most = float(values.min()), float(values.max())
    if not most > least:
        return np.array([least - 0.5, least + 0.5]), False
    if least > 0 and most / least > _WIDE:
        return np.geomspace(least, most, count + 1), True
    return np.linspace(least, most, count + 1), False


def _bands(panel: Panel, levels: Any) -> pd.DataFrame:
    """Returns paths around the region below each level, the highest first: drawn one over the other, without seams."""
    from contourpy import FillType, contour_generator

    generator: Any = contour_generator(*_grid(panel), fill_type=FillType.OuterOffset)
    bottom = float(levels[0]) - abs(float(levels[0])) - 1
    paths = []
    for below, level in zip(levels[-2::-1], levels[:0:-1], strict=True):
        # A little more: what is at the highest level itself belongs to it.
        points, offsets = generator.filled(bottom, float(level) * (1 + 1e-9) if level > 0 else float(level) + 1e-9)
        middle = math.sqrt(below * level) if below > 0 else (below + level) / 2
        for polygon, starts in zip(points, offsets, strict=True):
            paths.append((middle, _with_holes(np.asarray(polygon), np.asarray(starts, int))))
    return _frame(paths)


def _with_holes(points: Any, starts: Any) -> Any:
    """Returns one path of the outer boundary and the holes, which turn the other way: to each hole and back."""
    rings = [points[start:stop] for start, stop in pairwise(starts)]
    back = [rings[0][:1]] * (len(rings) - 1)
    return np.concatenate(
        [rings[0], *(part for ring, home in zip(rings[1:], back, strict=True) for part in (ring, home))]
    )


def _lines(panel: Panel, levels: Any) -> pd.DataFrame:
    from contourpy import contour_generator

    generator = contour_generator(*_grid(panel))
    return _frame(
        [(float(level), np.asarray(line)) for level in levels[1:-1] for line in generator.lines(float(level))]
    )


def _grid(panel: Panel) -> tuple[Any, Any, Any]:
    losses = np.asarray(panel.losses, float)
    return np.asarray(panel.first, float), np.asarray(panel.second, float), np.ma.masked_invalid(losses)


def _frame(paths: Sequence[tuple[float, Any]]) -> pd.DataFrame:
    columns = ["path", "place", "level", "first", "second"]
    rows = [
        (number, place, level, float(f"{x:.6g}"), float(f"{y:.6g}"))
        for number, (level, points) in enumerate(paths)
        for place, (x, y) in enumerate(points)
    ]
    return pd.DataFrame(rows, columns=columns)


def _page(chart: Any) -> bytes:
    """Returns an HTML page with all of its scripts inside, so that it needs no network."""
    actions = {"export": True, "source": False, "compiled": False, "editor": False}
    return chart.to_html(inline=True, embed_options={"actions": actions}).encode()


def _converted(kind: str, **options: Any) -> Callable[[Any], bytes]:
    def convert(chart: Any) -> bytes:
        import vl_convert

        content = getattr(vl_convert, f"vegalite_to_{kind}")(chart.to_dict(), **options)
        return content.encode() if isinstance(content, str) else content

    return convert


_FORMATS: dict[str, Callable[[Any], bytes]] = {
    ".html": _page,
    ".svg": _converted("svg"),
    ".png": _converted("png", scale=2),
    ".pdf": _converted("pdf"),
}
