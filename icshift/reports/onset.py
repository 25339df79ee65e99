"""Which site left the band of its own past first, in words and as a table: readable at 80 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from icshift.analysis.onset import MEDIAN, NOT_FINITE, SD
from icshift.reports.next_step import next_step
from icshift.reports.report import Report
from icshift.reports.sheet import Sheet, of_rows
from icshift.reports.tables import counted, number, records, share, site_named
from icshift.reports.thinned import thinned

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun

_NAMED = 3
"""Sites that are named in a sentence; of more, these and the number of the rest."""


def onset_report(run: StoredRun, table: pd.DataFrame, *, top: int) -> Report:
    """Returns the report of the table that `analysis.onset.onset` made, of its first `top` rows."""
    phase = table["phase"].iloc[0]
    cut = () if len(table) <= top else (f"{top} of {len(table)} sites: those that left first.",)
    return Report(
        heading=f"{run.path} · {run.manifest['model']} · phase {phase} · {counted(int(table['steps'].max()), 'step')}"
        + run.ending.heading,
        body=(" ".join(onset_in_words(table)), onset_table(table.head(top))),
        notes=(*cut, *onset_notes(run)),
        next_step=_next_step(run, table),
        data={
            "run": str(run.path),
            **run.ending.data,
            "verdict": " ".join(onset_in_words(table)),
            "sites": records(table.head(top)),
        },
    )


def onset_in_words(table: pd.DataFrame) -> list[str]:
    """Returns a sentence for the site that left first, and one where of some sites nothing can be told."""
    left = [row for row in records(table) if math.isfinite(row["step"])]
    unknown = [row for row in records(table) if row["unknown"]]
    sentences = []
    if left:
        sentences.append(_first(left))
    elif len(unknown) < len(table):
        sentences.append("No site left the band of its own past.")
    if unknown:
        reasons = list(dict.fromkeys(row["unknown"] for row in unknown))
        which = "any site" if len(unknown) == len(table) else _named([row["site"] for row in unknown], "or")
        sentences.append(f"Whether {which} left the band of its past cannot be told: {'; '.join(reasons)}.")
    return sentences


def _first(left: list[dict[str, Any]]) -> str:
    first = [row for row in left if row["step"] == left[0]["step"]]
    others = len(left) - len(first)
    before = "; no other site left" if not others else ", before all others that left" if others > 1 else ""
    before = f", before {site_named(left[-1]['site'])}" if others == 1 else before
    their = "its" if len(first) == 1 else "their"
    what = f" ({how_it_left(first[0])})" if len(first) == 1 else ""
    names = _named([row["site"] for row in first], "and")
    return f"{names} left the band of {their} past at step {int(left[0]['step'])}{before}{what}."


def how_it_left(row: Mapping[str, Any]) -> str:
    """Returns what of a site left its band, and the band: `sd 0.610, band 0.180 to 0.300 of steps 0 to 43`."""
    if row["what"] == NOT_FINITE:
        return "activations that are not finite"
    return f"{row['what']} {number(row['value'])}{_unit(row)}, band {_band(row)} of steps {_past(row)}"


def _unit(row: Mapping[str, Any]) -> str:
    return " sd from its start" if row["what"] == MEDIAN else ""


def _band(row: Mapping[str, Any]) -> str:
    return f"{number(row['low'])} to {number(row['high'])}" if math.isfinite(row["low"]) else "–"


def _past(row: Mapping[str, Any]) -> str:
    return f"{int(row['past_first'])} to {int(row['past_last'])}" if math.isfinite(row["past_first"]) else "–"


_COLUMNS = (("step", 0), ("what", 1), ("value", 3), ("band of its past", 4), ("past steps", 5), ("outside since", 2))
"""Heads of the table's columns, and their ranks: which go first where the screen is narrow."""


def onset_table(table: pd.DataFrame) -> Sheet:
    """Returns a table with one row per site, in the order of `table`; a dash where a site did not leave."""
    return of_rows("site", _COLUMNS, [[str(row["site"]), *onset_cells(row)] for row in records(table)])


def onset_cells(row: dict[str, Any]) -> list[str]:
    """Returns what a table shows of one site: step, what left, its value, the band, its steps, and since then."""
    if row["unknown"]:
        return ["–", "unknown", *["–"] * 4]
    if not math.isfinite(row["step"]):
        return ["–", "stayed", *["–"] * 4]
    found = f"{int(row['step'])}", row["what"], number(row["value"]), _band(row), _past(row), share(row["outside"])
    return list(found)


def onset_notes(run: StoredRun) -> list[str]:
    """Returns what a reader must know of the columns."""
    stride = int(run.manifest.get("step_stride", 1))
    return [
        f"{SD}: median over units, in activation units. {MEDIAN}: how far the units' medians are from those of the "
        "first 9 steps, in sd of these; median over units.",
        "band: from the smallest to the largest value of all steps but the last quarter before, widened by a multiple "
        "of the distance between them. Of runs in which nothing changes, at most some 5 % show any site. outside "
        "since: share of the steps from then on that are outside of this band, little of a spike.",
        "To leave a band is no fault: training that gathers speed leaves it too. What left first need not be the "
        "cause.",
        *(
            [f"The series keeps one step of {stride}: what left may have done so up to {stride - 1} steps earlier."]
            * (stride > 1)
        ),
        *(
            [f"{told} What left may have done so in a step that was not recorded, since the recorded one before."]
            if (told := thinned(run))
            else []
        ),
        *_of_some_units(run),
    ]


def _of_some_units(run: StoredRun) -> list[str]:
    """Returns a note where the series does not hold all units of the sites."""
    some = [site for site in run.sites if site.in_steps is not None]
    if not some:
        return []
    largest = max(some, key=lambda site: site.units)
    return [
        f"Steps are of units drawn at random: of {largest.name} {len(largest.in_steps or ())} of {largest.units:,} "
        f"units, at {len(some)} of {len(run.sites)} sites not all."
    ]


def _next_step(run: StoredRun, table: pd.DataFrame) -> str:
    phase = str(table["phase"].iloc[0])
    if not math.isfinite(table["step"].iloc[0]):
        return next_step("report", run, phase=phase)
    return next_step("units", run, site=str(table["site"].iloc[0]), phase=phase, why="its units in the last window")


def _named(sites: list[str], word: str) -> str:
    names = [site_named(site) for site in sites]
    if len(names) > _NAMED:
        return f"{', '.join(names[: _NAMED - 1])} {word} {len(names) - _NAMED + 1} more"
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
