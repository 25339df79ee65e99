"""The report of `icshift merge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icshift.reports.report import Report
from icshift.reports.tables import counted

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun


def merged_report(run: StoredRun, new: int, merged: int) -> Report:
    """Returns the report on a run of which `merged` windows are merged, so many of them `new`."""
    windows = len(run.window_list)
    data = {"run": str(run.path), "ranks": run.ranks, "windows": windows, "merged": merged, "new": new}
    data |= run.ending.data
    if run.ranks == 1:
        return Report(body=(f"{run.path}: one process recorded it, there is nothing to merge",), data=data)
    before = f", {merged - new} of them before" if new < merged else ""
    left = f"; {windows - merged} are not closed yet" if merged < windows else ""
    line = f"{run.path}: {counted(merged, 'window')} of {run.ranks} processes merged{before}{left}"
    return Report(body=(line,), data=data)
