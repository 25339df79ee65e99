"""How far every site drifted in every window, for the terminal: as many windows as its width has room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from icshift.analysis.ancestry import ending_data, missing_there
from icshift.analysis.furthest import furthest
from icshift.analysis.windows import worst
from icshift.reports.next_step import next_step
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import not_shown, number, records, site_named
from icshift.runs.phases import PROBE_RUNNING

if TYPE_CHECKING:
    import pandas as pd

    from icshift.analysis.metrics import Metric
    from icshift.runs.reader import StoredRun

_CELL = 7
"""Characters of a cell: a number of at most six and a mark."""


def windows_report(
    run: StoredRun,
    drifts: pd.DataFrame,
    metric: Metric,
    phase: str,
    *,
    top: int,
    uncompared: Sequence[str] = (),
    reference: str = "previous",
    caveats: Sequence[str] = (),
) -> Report:
    """Returns the report of the table that `analysis.windows.by_window` made: a row a site, a column a window.

    Of more than `top` sites those are shown that drifted furthest in any window. `uncompared` are the sites that are
    not in the table (see `analysis.windows.uncompared`). `caveats` come before all other notes.
    """
    largest = drifts.groupby("site", sort=False, observed=True)[["ratio", "drift"]].max().reset_index()
    kept = furthest(largest, top, "ratio", "drift")["site"]
    shown = drifts[drifts["site"].isin(kept)]
    span = _span(drifts, run, phase)
    without = [] if _one_window(run, phase) else _without(uncompared)
    return Report(
        heading=f"{run.path} · {run.manifest['model']} · phase {phase} · {span}{run.ending.heading}",
        body=(windows_table(shown),) if len(shown) else (),
        notes=(
            *caveats,
            *not_shown(len(kept), len(largest), "sites", "those that drifted furthest in any window"),
            *without,
            *(
                _notes(drifts, metric, phase)
                if len(drifts)
                else ["Drift needs two windows of a phase."] * (not without)
            ),
        ),
        next_step=_next_step(run, drifts, metric, phase, reference),
        data={
            "run": str(run.path),
            **ending_data(run, missing_there(reference)),
            "metric": metric.name,
            "phase": phase,
            "reference": reference,
            "notes": [*caveats, *without],
            "windows": [{**row, "moved": _known(row["moved"])} for row in records(shown)],
        },
    )


def windows_table(drifts: pd.DataFrame) -> Sheet:
    """Returns a table with one row per site and a column a window; where not all have room, the first ones go first.

    Cells are medians over units; * marks a site that moved beyond noise, ? one of which that cannot be told. What all
    names of windows begin with is left out of the head.
    """
    names = dict(sorted(zip(drifts["window"], map(str, drifts["name"]), strict=True)))
    skipped = len(_shared_words(list(names.values())))
    cells = {(row["site"], row["window"]): _cell(row) for row in records(drifts)}
    sites = list(dict.fromkeys(drifts["site"]))
    columns = [
        Column(name[skipped:][-_CELL:], [cells.get((site, window), Text("–")) for site in sites], len(names) - place)
        for place, (window, name) in enumerate(names.items(), start=1)
    ]
    last = f"the last {{}} of {len(names)} windows: a wider screen or --json shows more"
    return Sheet("site", sites, columns, left_out=lambda gone: last.format(len(names) - len(gone)))


def _shared_words(names: list[str]) -> str:
    """Returns the words that all names begin with, each with the space after it: `epoch ` of `epoch 1`, `epoch 2`."""
    first, *others = names
    words = first.split(" ")[:-1]
    while words and not all(name.startswith(" ".join(words) + " ") for name in others):
        words.pop()
    return " ".join(words) + " " if words and others else ""


def _cell(row: dict[str, object]) -> Text:
    moved = _known(row["moved"])
    mark = "?" if moved is None else "*" if moved else " "
    return Text(f"{number(float(str(row['drift'])))}{mark}", style="bold" if moved else "")


def _known(moved: object) -> bool | None:
    return bool(moved) if isinstance(moved, (bool, int)) else None


def _one_window(run: StoredRun, phase: str) -> bool:
    """Whether a phase was recorded in no more than one window."""
    held = [w for w in run.window_list if any(run.distribution(phase, site.name, w.index) for site in run.sites)]
    return len(held) < 2


def _without(sites: Sequence[str]) -> list[str]:
    """Returns a note on the sites that no window is compared of, at most three by name; none where there are none."""
    if not sites:
        return []
    named = ", ".join(map(site_named, sites[:3])) + (f" and {len(sites) - 3} more" if len(sites) > 3 else "")
    return [f"Not shown: {named}: recorded, but in no window together with its reference."]


def _span(drifts: pd.DataFrame, run: StoredRun, phase: str) -> str:
    if drifts.empty:
        return f"{'one window, ' * _one_window(run, phase)}nothing to compare"
    names = drifts.sort_values("window")["name"]
    most = worst(drifts)
    window = f"window {most['name']}" if str(most["name"]).isdigit() else most["name"]
    return f"windows {names.iloc[0]} to {names.iloc[-1]} · furthest in {window} ({site_named(most['site'])})"


def _notes(drifts: pd.DataFrame, metric: Metric, phase: str) -> list[str]:
    over = "of the site as a whole" if metric.of == "site" else "medians over units"
    wrong = "beyond noise; so do at most 5 % of windows in which nothing moved"
    if drifts["noiseless"].all():
        wrong = "beyond the sketch's error"
    elif phase == PROBE_RUNNING:  # Its inputs are the same in every window: what moves by itself are the averages.
        wrong = "beyond what running averages do"
    unknown = "? cannot be told (icshift report says why). " if drifts["moved"].isna().any() else ""
    return [f"{metric.name} of every window, {over}. {metric.meaning}.", f"* moved {wrong}. {unknown}".strip()]


def _next_step(run: StoredRun, drifts: pd.DataFrame, metric: Metric, phase: str, reference: str) -> str:
    if drifts.empty:
        return next_step("info", run)
    return next_step(
        "report", run, window=str(worst(drifts)["name"]), phase=phase, metric=metric.name, reference=reference
    )
