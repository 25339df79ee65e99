"""Fans: percentiles of a unit or a site over steps, in small panels, as in Fig. 1 (b, c) of Ioffe & Szegedy (2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icshift.analysis.atlas import Series
from icshift.figures.frame import WIDTH, Chart, data, elided, plain_numbers, whole
from icshift.page.look import exact
from icshift.page.model import Floats, Ints, WindowOnPage

PERCENTILES = (5, 15, 50, 85, 95)

_MOST_SAID = 400
"""Steps whose values are told to a reader of an SVG file; a series has no more."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A panel: whose percentiles over steps (a series), with the windows behind it, and when its site left its band.

    `over` says what the steps of the series are; panels of one `row` share an axis.
    """

    title: str
    subtitle: str
    row: int
    series: Series
    windows: tuple[WindowOnPage, ...]
    onset: int | None
    over: str = "step of the optimizer"


def fan(panels: Sequence[Panel], about: str, theme: dict[str, str]) -> Chart:
    """Returns panels beside each other, row by row, with what they are about."""
    import altair as alt

    rows = [[panel for panel in panels if panel.row == row] for row in sorted({panel.row for panel in panels})]
    across = max(map(len, rows), default=1)
    size = (max(170.0, (WIDTH + 60) / across - 64), 150.0 if across > 1 or len(rows) > 1 else 240.0)
    drawn = []
    for row in rows:
        domain = _domain([panel.series.quantiles for panel in row])
        charts = [_panel(panel, domain, size, theme, first=not at) for at, panel in enumerate(row)]
        drawn.append(alt.hconcat(*charts, spacing=18))
    title = "Percentiles over steps" if all(panel.over.startswith("step") for panel in panels) else "Percentiles"
    caption = (
        "Lines: 15th, 50th (bold) and 85th percentile; light: 5th to 95th. Shades = windows. Of many steps "
        "that share a place the lower two are the lowest, the upper two the highest. Panels of a row share one axis."
    )
    marked = any(panel.onset is not None for panel in panels)
    more = " Vertical line: the step at which the site left the band of its past." * marked
    return whole(drawn, title, [about], [caption + more])


def _domain(quantiles: Sequence[Floats]) -> list[float]:
    known = np.concatenate([np.ravel(each) for each in quantiles] or [np.zeros(0)])
    known = known[np.isfinite(known)]
    if not len(known):
        return [0.0, 1.0]
    low, high = float(known.min()), float(known.max())
    room = 0.04 * (high - low) or max(abs(high), 1.0) * 0.1
    return [low - room, high + room]


def _panel(
    panel: Panel, domain: list[float], size: tuple[float, float], theme: dict[str, str], *, first: bool
) -> Chart:
    import altair as alt

    number, quantiles = panel.series.number, panel.series.quantiles
    start, end = _ends(number)
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[start, end], nice=False, zero=False),
        axis=alt.Axis(title=panel.over, tickCount=4, grid=False, format="~s"),
    )
    axis = alt.Axis(title="activation" if first else None, tickCount=5, **plain_numbers())
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    rows = [
        {"x": int(step), **{f"q{p}": float(value) for p, value in zip(PERCENTILES, five, strict=True)}}
        for step, five in zip(number, quantiles, strict=True)
        if np.isfinite(five).all()
    ]
    base = alt.Chart(data(rows))
    band = alt.value(theme["accent"])
    layers = [
        _shades(panel, size[1], theme, x),
        base.mark_area(opacity=0.15, aria=False).encode(x=x, y=alt.Y("q5:Q", axis=axis), y2="q95", color=band),
        base.mark_area(opacity=0.2, aria=False).encode(x=x, y=alt.Y("q15:Q", axis=axis), y2="q85", color=band),
        *(
            base.mark_line(strokeWidth=wide, description=_said(panel, at), interpolate="linear").encode(
                x=x, y=alt.Y(f"q{p}:Q", scale=scale, axis=axis), color=alt.value(theme[colour])
            )
            for at, p, wide, colour in ((1, 15, 1, "accent"), (3, 85, 1, "accent"), (2, 50, 2, "ink"))
        ),
        *_alone(rows, x, axis, theme),
        *_left(panel, theme, x),
    ]
    title = alt.TitleParams(
        text=elided(panel.title, 44), subtitle=panel.subtitle, fontSize=12, anchor="start", frame="group", offset=4
    )
    return alt.layer(*layers).properties(width=size[0], height=size[1], title=title)


def _alone(rows: list[dict[str, float]], x: Any, axis: Any, theme: dict[str, str]) -> list[Chart]:
    """Returns a bar where there is one step only: of one place no line can be drawn."""
    import altair as alt

    if len(rows) != 1:
        return []
    base = alt.Chart(data(rows))
    bar = base.mark_rule(strokeWidth=6, aria=False).encode(
        x=x, y=alt.Y("q15:Q", axis=axis), y2="q85", color=alt.value(theme["accent"])
    )
    dot = base.mark_point(filled=True, size=60, opacity=1, aria=False)
    return [bar, dot.encode(x=x, y=alt.Y("q50:Q", axis=axis), color=alt.value(theme["ink"]))]


def _ends(number: Ints) -> tuple[int, int]:
    if not len(number):
        return 0, 1
    return int(number[0]), max(int(number[-1]), int(number[0]) + 1)


def _said(panel: Panel, at: int) -> str:
    """Returns one percentile of a panel in words, step by step, with all digits."""
    pairs = zip(panel.series.number[:_MOST_SAID], panel.series.quantiles[:_MOST_SAID, at], strict=True)
    values = "; ".join(f"{step} {exact(value)}" for step, value in pairs if np.isfinite(value))
    return f"{panel.title}, percentile {PERCENTILES[at]} by {panel.over.split()[0]}: {values}"


def _shades(panel: Panel, height: float, theme: dict[str, str], x: object) -> Chart:
    import altair as alt

    start, end = _ends(panel.series.number)
    bands = [
        {"x": max(window.first, start), "x2": min(window.last + 1, end)}
        for window in panel.windows[1::2]
        if window.first < end and window.last + 1 > start
    ]
    mark = alt.Chart(data(bands)).mark_rect(aria=False, opacity=0.7)
    return mark.encode(x=x, x2="x2", y=alt.value(0), y2=alt.value(height), color=alt.value(theme["panel"]))


def _left(panel: Panel, theme: dict[str, str], x: object) -> list[Chart]:
    import altair as alt

    if panel.onset is None or not len(panel.series.number) or panel.onset < panel.series.number[0]:
        return []
    said = f"{panel.title}: its site left the band of its past at step {panel.onset}"
    rule = alt.Chart(data([{"x": panel.onset}])).mark_rule(strokeWidth=1.5, description=said)
    return [rule.encode(x=x, color=alt.value(theme["mark"]))]
