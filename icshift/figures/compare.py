"""Two groups of runs as a figure: how far every site went in each run, its floor, and what all runs say together."""

from __future__ import annotations

from typing import Any

import numpy as np

from icshift.figures.frame import WIDTH, Chart, data, named, plain_numbers, whole
from icshift.page import pairs as model
from icshift.page.look import COLOURS_OF_GROUPS
from icshift.page.pairs import PATHS, Mark, Pairs, Panel, mark_in_words, ratio_in_words
from icshift.replicates.alignment import GROUPS

_ROW = 30.0


def compare(pairs: Pairs, theme: dict[str, str]) -> Chart:
    """Returns the panels side by side: those of `icshift.page.pairs.panels`."""
    import altair as alt

    panels = model.panels(pairs)
    wide = (WIDTH + 40) / max(len(panels), 2) - 16
    drawn = [
        _paths(pairs, panel, wide, theme, first=not at) if panel.kind == PATHS else _ratios(pairs, panel, wide, theme)
        for at, panel in enumerate(panels)
    ]
    about = [pairs.sentence, model.about(pairs)]
    return whole([alt.hconcat(*drawn, spacing=16)], model.title(pairs), about, [model.caption(pairs)])


def _axis(pairs: Pairs, *, first: bool) -> dict[str, Any]:
    names = named([pair.name for pair in pairs.pairs])
    above = {"titleAngle": 0, "titleAlign": "right", "titleX": -8, "titleY": -8, "labelOverlap": False}
    return {**names, **above, "title": "site" if first else " ", "labels": first}


def _rows(pairs: Pairs, *, first: bool) -> Any:
    import altair as alt

    scale = alt.Scale(domain=[max(len(pairs.pairs), 1), 0], nice=False)
    return alt.Y("y:Q", scale=scale, axis=alt.Axis(**_axis(pairs, first=first)))


def _across(panel: Panel, field: str) -> Any:
    import altair as alt

    scale = alt.Scale(type="log", domain=[panel.low, panel.high], nice=False, clamp=True)
    axis = alt.Axis(title=panel.axis, values=list(panel.ticks), labelOverlap="greedy", **plain_numbers())
    return alt.X(f"{field}:Q", scale=scale, axis=axis)


def _paths(pairs: Pairs, panel: Panel, wide: float, theme: dict[str, str], *, first: bool) -> Chart:
    import altair as alt

    y = _rows(pairs, first=first)
    rows = [
        _row(at, pair.name, mark, panel.low)
        for at, pair in enumerate(pairs.pairs)
        for mark in pair.marks[panel.phase]
        if np.isfinite(mark.value)
    ]
    floors = [row for row in rows if row["floor"] is not None]
    legend = alt.Legend(title="runs of", orient="bottom", titleOrient="left", direction="horizontal") if first else None
    colours = alt.Scale(domain=list(GROUPS), range=list(COLOURS_OF_GROUPS))
    colour = alt.Color("group:N", scale=colours, legend=legend)
    shapes = alt.Scale(domain=list(GROUPS), range=["circle", "diamond"])
    shape = alt.Shape("group:N", scale=shapes, legend=legend)
    tick = alt.Chart(data(floors)).mark_point(shape="M0,-5L0,5", size=4, strokeWidth=2, opacity=0.75, aria=False)
    dot = alt.Chart(data(rows)).mark_point(filled=True, size=62, opacity=0.85)
    layers = [
        _stripes(pairs, wide, theme, y),
        tick.encode(x=_across(panel, "floor"), y=y, color=colour),
        dot.encode(x=_across(panel, "x"), y=y, color=colour, shape=shape, description="says:N"),
    ]
    return _layered(layers, pairs, panel, wide)


def _row(at: int, name: str, mark: Mark, least: float) -> dict[str, Any]:
    return {
        "x": max(mark.value, least),
        "y": at + (0.33 if mark.group == GROUPS[0] else 0.67),
        "group": mark.group,
        "floor": mark.floor if mark.has_floor else None,
        "says": mark_in_words(name, mark),
    }


def _ratios(pairs: Pairs, panel: Panel, wide: float, theme: dict[str, str]) -> Chart:
    import altair as alt

    y, ink = _rows(pairs, first=False), alt.value(theme["ink"])
    known = [(at, pair.name, pair.ratios.get(panel.phase)) for at, pair in enumerate(pairs.pairs)]
    rows = [
        {
            **{"x": ratio.ratio, "low": ratio.low, "high": ratio.high, "y": at + 0.5, "noisy": ratio.noisy},
            "says": ratio_in_words(name, ratio),
        }
        for at, name, ratio in known
        if ratio is not None and ratio.known
    ]
    certain = [row for row in rows if not row["noisy"]]
    one = alt.Chart(data([{"x": 1.0}])).mark_rule(strokeDash=[4, 3], aria=False)
    bar = alt.Chart(data(certain)).mark_rule(strokeWidth=2.5, aria=False)
    dot = alt.Chart(data(rows)).mark_point(size=55, strokeWidth=1.5, filled=False, opacity=1, fill=theme["ground"])
    filled = alt.condition("datum.noisy", alt.value(theme["ground"]), ink)
    layers = [
        _stripes(pairs, wide, theme, y),
        one.encode(x=_across(panel, "x"), color=alt.value(theme["quiet"])),
        bar.encode(x=_across(panel, "low"), x2="high", y=y, color=ink),
        dot.encode(x=_across(panel, "x"), y=y, stroke=ink, fill=filled, description="says:N"),
    ]
    return _layered(layers, pairs, panel, wide)


def _layered(layers: list[Chart], pairs: Pairs, panel: Panel, wide: float) -> Chart:
    import altair as alt

    title = alt.TitleParams(text=panel.title, fontSize=12, anchor="start", frame="group", offset=4)
    return alt.layer(*layers).properties(width=wide, height=_ROW * max(len(pairs.pairs), 1), title=title)


def _stripes(pairs: Pairs, wide: float, theme: dict[str, str], y: Any) -> Chart:
    import altair as alt

    rows = [{"y": at, "y2": at + 1} for at in range(0, len(pairs.pairs), 2)]
    mark = alt.Chart(data(rows)).mark_rect(aria=False, opacity=0.6)
    return mark.encode(x=alt.value(0), x2=alt.value(wide), y=y, y2="y2", color=alt.value(theme["panel"]))
