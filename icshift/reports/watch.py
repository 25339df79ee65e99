"""A recording in progress: one line a window, the same as data, and a picture of where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from icshift.analysis.landed import Landed
from icshift.reports.run import added_time
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import TREND, counted, number, records, site_named, times, trend_scale
from icshift.reports.text_charts import sparklines

if TYPE_CHECKING:
    from rich.console import RenderableType

    from icshift.analysis.metrics import Metric
    from icshift.runs.reader import StoredRun

QUIET = 30.0
"""After so many seconds without a word it is said that there is none: a recorder writes every ten, while steps end."""


def window_line(run: StoredRun, landed: Landed, metric: Metric) -> str:
    """Returns a window in one line: what moved, the site that drifted furthest, what was logged, the cost."""
    parts = [_moved(landed), *_furthest(landed, metric), *_numbers(landed)]
    if "overhead" in run.manifest:
        parts.append(f"cost so far {added_time(run)}")
    return f"window {_named(landed)}: {', '.join(parts)}"


def window_data(run: StoredRun, landed: Landed, metric: Metric) -> dict[str, Any]:
    """Returns a window as data; `moved` of a site is null where that cannot be told."""
    rows = landed.sites.to_dict(orient="records") if len(landed.sites) else []
    return {
        "run": str(run.path),
        "window": landed.window.index,
        "name": landed.window.name,
        "first_step": landed.window.first_step,
        "last_step": landed.window.last_step,
        "phase": landed.phase or None,
        "reference": rows[0]["reference"] if rows else None,
        "metric": metric.name,
        "sites": [
            {
                "site": row["site"],
                "drift": row["drift"],
                "floor": row["floor"],
                "ratio": row["ratio"],
                "moved": _known(row["moved"]),
            }
            for row in rows
        ],
        "logged": {one.name: {"mean": one.mean, "n": one.n} for one in landed.logged},
        "overhead": run.manifest.get("overhead"),
        **({"missing": list(run.missing)} if run.missing else {}),
    }


def quiet_for(seconds: float) -> str:
    """Returns in words that nothing was written for so long, empty where it was not long."""
    if seconds < QUIET:
        return ""
    return f"no news for {seconds:.0f} s: its steps take long, it is paused, or it was killed"


def picture(
    run: StoredRun, landed: Sequence[Landed], metric: Metric, *, top: int, silent: float = 0.0
) -> RenderableType:
    """Returns where a recording stands: `landed` are its windows so far, `silent` the seconds since it last wrote."""
    said = quiet_for(silent)
    state = _state(run, said)
    steps = run.manifest.get("steps")
    done = f", {counted(steps, 'step')}" if isinstance(steps, int) else ""
    head = f"{run.path}: {run.manifest.get('model', '–')}, {counted(len(landed), 'window')}{done}, {state}"
    parts: list[RenderableType] = [Text(head, style="bold")]
    compared = [one for one in landed if len(one.sites)]
    if not landed:
        parts.append(Text("No window has ended yet.", style="dim"))
    elif not compared:
        parts.append(Text(window_line(run, landed[-1], metric)))
    else:
        parts += [*_table(compared, top), Text(window_line(run, compared[-1], metric)), _meaning(metric, compared[-1])]
    return Group(*parts)


def _state(run: StoredRun, said: str) -> str:
    ending = run.ending.heading.removeprefix(" · ")
    if run.finished or run.ending.stopped is not None:
        return ending or "finished"
    return f"unfinished, {said}" if said else "recording"


def _table(compared: Sequence[Landed], top: int) -> list[RenderableType]:
    last = compared[-1].sites
    by = "ratio" if last["ratio"].notna().any() else "drift"
    rows = records(last.sort_values(by, ascending=False, kind="stable").head(top))
    trends, scale = sparklines(_trends(compared[-TREND:], [row["site"] for row in rows]), TREND)
    moved = {True: "yes", False: "no", None: "?"}
    columns = [
        Column("drift", [number(row["drift"]) for row in rows]),
        Column("floor", [number(row["floor"]) for row in rows], 3),
        Column("×floor", [times(row["ratio"]) for row in rows], 1),
        Column("moved", [moved[_known(row["moved"])] for row in rows], 2, align="left"),
        Column("trend", [*trends], 4, align="left"),
    ]
    notes = trend_scale(scale, "site")
    if len(last) > len(rows):
        notes = [f"{len(rows):,} of {len(last):,} sites, those that drifted furthest.", *notes]
    return [Sheet("site", [str(row["site"]) for row in rows], columns), *(Text(note, style="dim") for note in notes)]


def _trends(compared: Sequence[Landed], sites: Sequence[str]) -> list[list[float]]:
    by_window = [dict(zip(one.sites["site"], one.sites["drift"], strict=True)) for one in compared]
    return [[medians.get(site, float("nan")) for medians in by_window] for site in sites]


def _meaning(metric: Metric, last: Landed) -> Text:
    unit = f", in {metric.unit}" if metric.unit else ""
    return Text(
        f"Drift: {metric.name} from the window before, phase {last.phase}, median over units{unit}. "
        "Floor: what sampling alone would show. Moved: beyond noise; where nothing moved, 5 % of windows show a site.",
        style="dim",
    )


def _named(landed: Landed) -> str:
    window = landed.window
    steps = (
        "no step"
        if window.last_step < window.first_step
        else f"step {window.first_step}"
        if window.last_step == window.first_step
        else f"steps {window.first_step} to {window.last_step}"
    )
    return f"{window.name} ({steps})"


def _moved(landed: Landed) -> str:
    if not landed.phase:
        return "nothing of this phase"
    if not len(landed.sites):
        return "nothing to compare with yet"
    known = landed.sites["moved"].dropna()
    told = f"{int(known.sum()):,} of {counted(len(known), 'site')} moved" if len(known) else "what moved cannot be told"
    unknown = len(landed.sites) - len(known)
    return told + (f", of {unknown:,} it cannot be told" if unknown and len(known) else "")


def _furthest(landed: Landed, metric: Metric) -> list[str]:
    if not len(landed.sites) or landed.sites["drift"].isna().all():
        return []
    by = "ratio" if landed.sites["ratio"].notna().any() else "drift"
    row = landed.sites.sort_values(by, ascending=False, kind="stable").iloc[0]
    against = f", {times(row['ratio'])} × floor" if by == "ratio" else ""
    return [f"furthest {site_named(row['site'])} ({metric.name} {number(row['drift'])}{against})"]


def _numbers(landed: Landed) -> list[str]:
    return [f"{one.name} {number(one.mean)} (mean of {one.n:,})" for one in landed.logged[:3]]


def _known(moved: Any) -> bool | None:
    return bool(moved) if moved in (True, False) else None
