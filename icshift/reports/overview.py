"""The runs below a directory: the report of `icshift ls`, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icshift.analysis.metrics import DEFAULT
from icshift.reports.next_step import typed
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import counted, number, records, times
from icshift.runs.ending import FINISHED

if TYPE_CHECKING:
    import pandas as pd


def overview_report(folder: Path, runs: pd.DataFrame) -> Report:
    """Returns the report of the table that `analysis.overview` made of the runs below a directory."""
    rows = records(runs)
    odd = runs[runs["state"] != FINISHED]
    words = [f"{counted(len(runs), 'run')} in {folder}" + (f", {len(odd)} of them not whole" if len(odd) else "")]
    return Report(
        heading=words[0],
        body=(_table(folder, rows),),
        notes=tuple(_notes(runs)),
        warnings=tuple(_warnings(folder, rows)),
        next_step=f"Next: icshift report {typed(Path(rows[-1]['run']))}",
        data={"runs": rows},
    )


def _table(folder: Path, rows: list[dict[str, Any]]) -> Sheet:
    columns = [
        Column("model", [_words(row["model"]) for row in rows], 5, align="left", fold=10),
        Column("sites", [_words(row["sites"]) for row in rows], 8),
        Column("windows", [_words(row["windows"]) for row in rows], 4),
        Column("steps", [_words(row["steps"]) for row in rows], 7),
        Column("state", [row["state"].partition(":")[0] for row in rows], 0, align="left", fold=17),
    ]
    if any(isinstance(row["site"], str) for row in rows):
        columns += [
            Column("drift", [_figure(row["drift"]) for row in rows], 0),
            Column("floor", [_figure(row["floor"]) for row in rows], 3),
            Column("×floor", ["–" if row["ratio"] is None else times(row["ratio"]) for row in rows], 1),
            Column("n", [_words(row["n"]) for row in rows], 2),
            Column("furthest site", [_words(row["site"]) for row in rows], 6, align="left", fold=13),
        ]
    return Sheet("run", [_short(folder, row["run"]) for row in rows], columns)


def _warnings(folder: Path, rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        told = [row["state"]] if ": " in row["state"] else []
        yield from (f"{_short(folder, row['run'])}: {sentence}" for sentence in (*told, *row["missing"]))


def _short(folder: Path, run: str) -> str:
    """Returns the path of a run below a directory; its own name where it is the directory."""
    path = Path(run)
    return str(path.relative_to(folder)) if path != folder and path.is_relative_to(folder) else path.name or run


def _words(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) and value else "–"


def _figure(value: Any) -> str:
    return number(value) if isinstance(value, float) else "–"


def _notes(runs: pd.DataFrame) -> list[str]:
    if not runs["drift"].notna().any():
        return []
    phases = sorted(runs["phase"].dropna().unique())
    notes = [
        f"drift: {DEFAULT} in the last window against the one before, median over units, of the site that drifted "
        f"furthest, in phase {' or '.join(phases)}. floor: the same by noise alone. What moved is in icshift report."
    ]
    error = runs["error"].max()
    if error > 0:
        notes.append(f"The sketch's error is at most {number(error)}.")
    return notes
