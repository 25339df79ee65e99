"""Two networks whose units have no order in common, for the terminal: a row a site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from icshift.analysis.ancestry import PAIRED_RUN, ending_data
from icshift.analysis.unordered import MEASURES
from icshift.reports.next_step import next_step, window_shown
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import number, records

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun

_HEADERS = {
    "unit_means": "means",
    "unit_sds": "sds",
    "unit_zeros": "zeros",
    "matched_w2": "matched W2",
    "cka_distance": "1 - CKA",
}


def unordered_report(
    run: StoredRun, measured: pd.DataFrame, caveats: Sequence[str], *, missing: Sequence[str] = ()
) -> Report:
    """Returns the report of the table that `analysis.unordered.unordered` made, of the last window of each site.

    `missing` are sentences on files that are gone of the other run.
    """
    last = measured[measured["window"] == measured.groupby("site", observed=True)["window"].transform("max")]
    wide = last.pivot(index="site", columns="metric", values="value")
    facts = last.drop_duplicates("site").drop(columns=["metric", "value", "n"]).set_index("site")
    numbers = last[last["metric"] == "unit_means"].set_index("site")["n"].rename("n")
    rows = records(facts.join([numbers, wide]).reset_index())
    known = [name for name in MEASURES if wide[name].notna().any()]
    first = last.iloc[0]
    return Report(
        heading=f"{run.path} · {run.manifest['model']} · phase {first['phase']} · window {last['window'].max()} "
        f"against {first['reference']}, without an order of units{run.ending.heading}",
        body=(_table(rows, known),),
        notes=(*_notes(last, known), *caveats, *missing),
        next_step=next_step(
            "report",
            run,
            phase=str(first["phase"]),
            reference=f"{PAIRED_RUN}:{str(first['reference']).partition(':')[2]}",
            window=window_shown(run),
            why="unit by number, if these networks are akin",
        ),
        data={
            "run": str(run.path),
            **ending_data(run, missing),
            "reference": str(first["reference"]),
            "unordered": True,
            "sites": rows,
        },
    )


def _table(rows: list[dict[str, object]], known: list[str]) -> Sheet:
    alike = [row["units"] == row["units_there"] for row in rows]
    units = [
        f"{row['units']}" + ("" if same else f", there {row['units_there']}")
        for row, same in zip(rows, alike, strict=True)
    ]
    columns = [
        Column("units", units, 8 if all(alike) else 1),
        *(
            Column(_HEADERS[measure], [number(float(str(row[measure]))) for row in rows], rank)
            for rank, measure in enumerate(known)
        ),
    ]
    return Sheet("site", [str(row["site"]) for row in rows], columns)


def _notes(measured: pd.DataFrame, known: list[str]) -> list[str]:
    n = int(measured.loc[measured["metric"] == "unit_means", "n"].median())
    notes = [
        "The runs are not known to share their initial weights, so unit 3 of one is no unit 3 of the other: nothing "
        "here depends on the order of units.",
        f"means, sds: Wasserstein-1 between the means (sds) of all units of both, in typical sds of a unit; zeros: "
        f"between their shares of exact zeros; n = {n:,} values a unit.",
    ]
    if "matched_w2" in known or "cka_distance" in known:
        rows = int(measured.loc[measured["metric"] == "cka_distance", "n"].max())
        notes.append(
            f"matched W2: sliced, in activations, units matched as well as can be; CKA: linear; both of the same "
            f"{rows:,} examples of the probe."
        )
    notes.append("No floor: what two trainings differ by chance, only several of each can tell.")
    return notes
