"""Two groups of runs as a figure: how far every site went in each run, its floor, and what all runs say together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from icshift.figures.frame import WIDTH, Chart, data, exact, named, plain_numbers, whole
from icshift.page.look import COLOURS_OF_GROUPS
from icshift.page.pairs import Mark, Pairs
from icshift.replicates.alignment import GROUPS
from icshift.reports.tables import counted

_ROW = 30.0


def compare(pairs: Pairs, theme: dict[str, str]) -> Chart:
    """Returns a panel a phase with the paths of all runs, and one a phase with ratios where there are any."""
    import altair as alt

    tested = any(pair.ratios for pair in pairs.pairs)
    panels = [*(("value", phase) for phase in pairs.phases), *(("ratio", phase) for phase in pairs.phases if tested)]
    wide = (WIDTH + 40) / max(len(panels), 2) - 16
    drawn = [
        _values(pairs, phase, wide, theme, first=not at) if kind == "value" else _ratios(pairs, phase, wide, theme)
        for at, (kind, phase) in enumerate(panels)
    ]
    about = [
        f"{pairs.sentence.rstrip(':.')}.",
        f"path: sum of the drifts over all windows, {pairs.metric} [{pairs.unit}], median over units · sites paired by "
        f"role · A: {_named(pairs.groups[0])} · B: {_named(pairs.groups[1])}",
    ]
    a, b = (counted(len(group), "run") for group in pairs.groups)
    title = f"How far every site went: A ({a}) against B ({b})"
    return whole([alt.hconcat(*drawn, spacing=16)], title, about, _caption(pairs, tested))


def _named(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _axis(pairs: Pairs, *, first: bool) -> dict[str, Any]:
    names = named([pair.name for pair in pairs.pairs])
    above = {"titleAngle": 0, "titleAlign": "right", "titleX": -8, "titleY": -8, "labelOverlap": False}
    return {**names, **above, "title": "site" if first else " ", "labels": first}


def _rows(pairs: Pairs, *, first: bool) -> Any:
    import altair as alt

    scale = alt.Scale(domain=[max(len(pairs.pairs), 1), 0], nice=False)
    return alt.Y("y:Q", scale=scale, axis=alt.Axis(**_axis(pairs, first=first)))


def _values(pairs: Pairs, phase: str, wide: float, theme: dict[str, str], *, first: bool) -> Chart:
    import altair as alt

    marks = [(at, pair.name, mark) for at, pair in enumerate(pairs.pairs) for mark in pair.marks[phase]]
    domain = _log_domain([value for _, _, mark in marks for value in (mark.value, mark.floor)])
    scale = alt.Scale(type="log", domain=domain, nice=False, clamp=True)
    axis = alt.Axis(title=f"path [{pairs.unit}]", tickCount=4, **plain_numbers())
    x, y = (lambda field: alt.X(f"{field}:Q", scale=scale, axis=axis)), _rows(pairs, first=first)
    rows = [_row(at, name, mark, domain[0]) for at, name, mark in marks if np.isfinite(mark.value)]
    floors = [row for row in rows if row["floor"] is not None]
    legend = alt.Legend(title="runs of", orient="bottom", titleOrient="left", direction="horizontal") if first else None
    colours = alt.Scale(domain=list(GROUPS), range=list(COLOURS_OF_GROUPS))
    colour = alt.Color("group:N", scale=colours, legend=legend)
    shapes = alt.Scale(domain=list(GROUPS), range=["circle", "diamond"])
    tick = alt.Chart(data(floors)).mark_point(shape="M0,-5L0,5", size=4, strokeWidth=2, opacity=0.75, aria=False)
    dot = alt.Chart(data(rows)).mark_point(filled=True, size=62, opacity=0.85)
    layers = [
        _stripes(pairs, wide, theme, y),
        tick.encode(x=x("floor"), y=y, color=colour),
        dot.encode(
            x=x("x"), y=y, color=colour, shape=alt.Shape("group:N", scale=shapes, legend=legend), description="says:N"
        ),
    ]
    title = alt.TitleParams(text=phase, fontSize=12, anchor="start", frame="group", offset=4)
    return alt.layer(*layers).properties(width=wide, height=_ROW * max(len(pairs.pairs), 1), title=title)


def _row(at: int, name: str, mark: Mark, least: float) -> dict[str, Any]:
    floor = f", floor {exact(mark.floor)}" if mark.floor > 0 else ""
    return {
        "x": max(mark.value, least),
        "y": at + (0.33 if mark.group == GROUPS[0] else 0.67),
        "group": mark.group,
        "floor": mark.floor if mark.floor > 0 else None,
        "says": f"{name}, {mark.group} run {mark.number}: path {exact(mark.value)}{floor}",
    }


def _log_domain(values: Iterable[float]) -> list[float]:
    known = [value for value in values if np.isfinite(value) and value > 0]
    return [min(known) / 1.3, max(known) * 1.3] if known else [0.1, 1.0]


def _stripes(pairs: Pairs, wide: float, theme: dict[str, str], y: Any) -> Chart:
    import altair as alt

    rows = [{"y": at, "y2": at + 1} for at in range(0, len(pairs.pairs), 2)]
    mark = alt.Chart(data(rows)).mark_rect(aria=False, opacity=0.6)
    return mark.encode(x=alt.value(0), x2=alt.value(wide), y=y, y2="y2", color=alt.value(theme["panel"]))


def _ratios(pairs: Pairs, phase: str, wide: float, theme: dict[str, str]) -> Chart:
    import altair as alt

    known = [(at, pair.name, pair.ratios[phase]) for at, pair in enumerate(pairs.pairs) if phase in pair.ratios]
    found = [(at, name, ratio) for at, name, ratio in known if np.isfinite([ratio.ratio, ratio.low, ratio.high]).all()]
    domain = _log_domain(
        [
            1.0,
            *(
                value
                for _, _, ratio in found
                for value in (ratio.ratio, *((ratio.low, ratio.high) if not ratio.noisy else ()))
            ),
        ]
    )
    scale = alt.Scale(type="log", domain=domain, nice=False, clamp=True)
    axis = alt.Axis(title="A / B, 95 % interval", tickCount=4, **plain_numbers())
    x, y = (lambda field: alt.X(f"{field}:Q", scale=scale, axis=axis)), _rows(pairs, first=False)
    rows = [
        {
            **{"x": ratio.ratio, "low": ratio.low, "high": ratio.high, "y": at + 0.5, "noisy": ratio.noisy},
            "says": f"{name}: A / B {exact(ratio.ratio)}"
            + (
                ", of noise as much as of drift: no statement"
                if ratio.noisy
                else f", 95 % interval {exact(ratio.low)} to {exact(ratio.high)}, p {exact(ratio.p)}"
            ),
        }
        for at, name, ratio in found
    ]
    certain = [row for row in rows if not row["noisy"]]
    ink = alt.value(theme["ink"])
    one = alt.Chart(data([{"x": 1.0}])).mark_rule(strokeDash=[4, 3], aria=False)
    bar = alt.Chart(data(certain)).mark_rule(strokeWidth=2.5, aria=False)
    dot = alt.Chart(data(rows)).mark_point(size=55, strokeWidth=1.5, filled=False, opacity=1, fill=theme["ground"])
    filled = alt.condition("datum.noisy", alt.value(theme["ground"]), ink)
    layers = [
        _stripes(pairs, wide, theme, y),
        one.encode(x=x("x"), color=alt.value(theme["quiet"])),
        bar.encode(x=x("low"), x2="high", y=y, color=ink),
        dot.encode(x=x("x"), y=y, stroke=ink, fill=filled, description="says:N"),
    ]
    title = alt.TitleParams(text=f"{phase}: A / B", fontSize=12, anchor="start", frame="group", offset=4)
    return alt.layer(*layers).properties(width=wide, height=_ROW * max(len(pairs.pairs), 1), title=title)


def _caption(pairs: Pairs, tested: bool) -> list[str]:
    floors = any(mark.floor > 0 for pair in pairs.pairs for marks in pair.marks.values() for mark in marks)
    said = ["A dot = a run"]
    if floors:
        said.append("a bar of its colour = its floor, what sampling noise alone shows (a probe has none)")
    if tested:
        said.append("A / B: geometric means over runs; a hollow dot is of noise as much as of drift: no statement")
    else:
        said.append("of fewer than 5 runs of each no statement about the methods is made: no interval")
    return [f"{'; '.join(said)}."]
