"""How far dumped activations drifted: the report of `icshift drift`, readable at 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from icshift.arrays.drift import UNITS_OF
from icshift.noise.movement import DEPENDENT, FAR
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import MARK, counted, not_shown, number, records, times

if TYPE_CHECKING:
    import pandas as pd

    from icshift.arrays.drift import Drifted


def arrays_report(reference: str, data: str, drifted: Drifted, top: int) -> Report:
    """Returns the report on two dumps: what moved in words, then the `top` units that drifted furthest."""
    units = drifted.units
    words = _verdict(drifted)
    shown = units.sort_values("value", ascending=False, kind="stable", na_position="last").head(top)
    notes = [*not_shown(len(shown), len(units), "units", "those that drifted furthest"), *_notes(drifted)]
    return Report(
        heading=f"{data} against {reference} · {_sizes(drifted)}",
        body=(Text(" ".join(words), style="bold"), _table(shown)),
        notes=tuple(notes),
        warnings=tuple(_warnings(drifted)),
        next_step="Next: the same with -o FILE.csv writes a row a unit",
        data={
            "reference": reference,
            "data": data,
            "metric": drifted.metric,
            "metric_unit": UNITS_OF[drifted.metric],
            "verdict": " ".join(words),
            "notes": [*notes, *_warnings(drifted)],
            "arrays": [
                {"array": name, "reference_rows": rows[0], "rows": rows[1], "moved_unknown": drifted.unknown.get(name)}
                for name, rows in drifted.rows.items()
            ],
            "units": records(shown),
        },
    )


def _verdict(drifted: Drifted) -> list[str]:
    units, unit = drifted.units, UNITS_OF[drifted.metric]
    moved = units[units["moved"].fillna(False).astype(bool)]
    told = units[units["moved"].notna()]
    silent = units[units["moved"].isna() & ~units["array"].isin([*drifted.unknown])]
    lost = int(silent["value"].isna().sum())
    sentences = []
    if drifted.called:
        far = units[units["array"].isin(drifted.called)]
        most = far.iloc[int(np.nanargmax(far["value"]))] if far["value"].notna().any() else None
        which = f"{len(moved):,} of {counted(len(told), 'unit')}" if len(moved) else "it cannot be told which units"
        furthest = "" if most is None else f"; furthest {_named(most)}, {_with_floor(most, unit)}"
        sentences.append(f"Moved beyond noise: {which}{furthest}.")
    elif len(told):
        middle = told["value"].median()
        sentences.append(
            f"No evidence that any of {counted(len(told), 'unit')} moved beyond noise: median {number(middle)} {unit}, "
            f"floor {number(told['floor'].median())}."
        )
    if lost:
        sentences.append(f"Whether {counted(lost, 'unit')} moved cannot be told: finite values are in none, or in one.")
    if few := len(silent) - lost:
        sentences.append(
            f"Whether {counted(few, 'unit')} moved cannot be told: values other than 0 are in too few rows."
        )
    for why in dict.fromkeys(drifted.unknown.values()):
        names = [name for name, reason in drifted.unknown.items() if reason == why]
        of = f"{', '.join(names[:4])}{' and others' * (len(names) > 4)}" if any(names) else "any unit"
        sentences.append(f"Whether {of} moved cannot be told: {why.replace(DEPENDENT, 'rows depend on each other')}.")
    return sentences


def _named(row: pd.Series[Any]) -> str:
    array = f"{row['array']} " if row["array"] else ""
    return f"{array}{row['name']}" if isinstance(row.get("name"), str) else f"{array}unit {row['unit']}"


def _with_floor(row: pd.Series[Any], unit: str) -> str:
    multiple = f", {times(row['ratio'])} times its floor" if math.isfinite(row["ratio"]) else ""
    return f"{number(row['value'])} {unit}{multiple}"


def _sizes(drifted: Drifted) -> str:
    rows = set(drifted.rows.values())
    before, after = rows.pop() if len(rows) == 1 else (0, 0)
    of_rows = f"{after:,} against {before:,} rows" if before else counted(len(drifted.rows), "array")
    return f"{of_rows} · {counted(len(drifted.units), 'unit')}"


def _table(shown: pd.DataFrame) -> Sheet:
    rows = records(shown)
    nonfinite = shown["nonfinite"].any()
    columns = [
        Column("drift", [f"{number(row['value'])}{'≈' * bool(row['near_constant'])}" for row in rows]),
        Column("floor", [number(row["floor"]) for row in rows], 1),
        Column("×floor", [f"{times(row['ratio'])} {MARK[row['moved']]}" for row in rows], 2),
        Column("n", [f"{row['n']:,}" for row in rows], 3),
        Column("mean", [f"{number(row['reference_mean'])} → {number(row['mean'])}" for row in rows], 4),
        Column("sd", [f"{number(row['reference_sd'])} → {number(row['sd'])}" for row in rows], 5),
        *([Column("not finite", [f"{row['nonfinite']:,}" for row in rows], 6)] if nonfinite else []),
    ]
    names = [_named(row) for _, row in shown.iterrows()]
    return Sheet("unit", names, columns)


def _notes(drifted: Drifted) -> list[str]:
    units = drifted.units
    over = " over the pooled sd (floored)" if drifted.metric == "w1_sd" else ""
    notes = [f"drift: exact Wasserstein-1{over}, in {UNITS_OF[drifted.metric]}, of n finite values."]
    if units["floor"].notna().any():
        notes.append(
            "floor: the same by noise alone, from exchanges of blocks of consecutive rows; *: the unit moved beyond it "
            "(FDR 5 %), ?: that cannot be told."
        )
        notes.append(
            "It takes rows in the order in which they came. Rows that belong together, as positions of an image, must "
            "be neighbours: shuffled, they count as independent, and the floor is too low."
        )
    if units["near_constant"].any():
        notes.append(
            f"≈: near-constant, {counted(int(units['near_constant'].sum()), 'unit')}; drift in sd means little."
        )
    if units["nonfinite"].any():
        values = int(units["nonfinite"].sum())
        notes.append(f"{counted(values, 'value')} {'is' if values == 1 else 'are'} not finite and left out.")
    return notes


def _warnings(drifted: Drifted) -> list[str]:
    told, dependence = [], drifted.dependence
    if dependence.large:
        told.append(
            f"Rows are not independent: neighbouring blocks of {dependence.steps:.0f} rows correlate by "
            f"{dependence.first:.2f}. Noise is larger than the floor; moved is what drifted {FAR:.0f} times as far."
        )
    elif not dependence.clear and drifted.units["floor"].notna().any():
        told.append(
            "There are too few blocks of rows to tell whether rows depend on each other; the floor may be too low."
        )
    if drifted.only:
        told.append(f"Left out, since only one of the two has them: {', '.join(drifted.only[:6])}.")
    return told
