"""One model on two data sets: the report of `icshift shift`; readable at 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.text import Text

from icshift.analysis.shift_checks import FLOOR
from icshift.reports.checks import all_passed, check_rows, outcome_of_checks
from icshift.reports.report import Part, Report
from icshift.reports.sheet import Column, Sheet
from icshift.reports.tables import number, records

if TYPE_CHECKING:
    import pandas as pd

    from icshift.analysis.checks import Verdict
    from icshift.analysis.two_data_sets import Result

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 8


@dataclass(frozen=True)
class DataSet:
    """A data set that was sent through the model.

    `source` names it. `examples` is their number, `incomplete` the number of those with values that are not finite, and
    `nonfinite` the number of these values.
    """

    source: str
    examples: int
    nonfinite: int
    incomplete: int


@dataclass(frozen=True)
class Compared:
    """The subject of a report: a saved model and two data sets.

    `checkpoint` is the path of the saved model, `network` the class of its network, `run` the path of the run that is
    kept (None if none is).
    """

    checkpoint: str
    network: str
    reference: DataSet
    data: DataSet
    run: str | None


def two_data_sets_report(
    about: Compared, result: Result, notes: Sequence[str], missed: str, verdicts: Sequence[Verdict] = ()
) -> Report:
    """Returns the report of where in a model two data sets differ, and by how much.

    `notes` are about the saved model; `missed` says which modules were not measured ("": none). `verdicts` are those of
    the conditions that were asked for.
    """
    both = about.reference, about.data
    notes = [*notes, *(_not_finite(data_set) for data_set in both if data_set.nonfinite)]
    batch_norm: tuple[Part, ...] = ("", _batch_norm(result.layers)) if len(result.layers) else ()
    return Report(
        heading=f"{about.checkpoint} · {about.network}\n{_named(about.data)} against {_named(about.reference)}",
        body=(site_table(result.sites), Report(notes=_drift_in_words(result)), *batch_norm, *_checked(verdicts)),
        warnings=(*notes, *([missed] if missed else [])),
        next_step=_next_step(about.run),
        data=_as_data(about, result, notes) | _checked_data(verdicts),
    )


def site_table(sites: pd.DataFrame) -> Sheet:
    """Returns a table with one row per site: drift, floor, ratio to the drift of the input, a bar, and the verdict."""
    rows = records(sites)
    top = sites["drift"].max()
    bars = [Text(bar(row["drift"] / top if top > 0 else math.nan), style="cyan") for row in rows]
    verdicts = [Text(str(row["verdict"]), style="yellow" if row["shifted"] == 1 else "") for row in rows]
    columns = [
        Column("drift", [number(row["drift"]) for row in rows]),
        Column("floor", [number(row["floor"]) for row in rows], 2),
        Column("×input", [f"{row['relative']:.2f}" if math.isfinite(row["relative"]) else "–" for row in rows], 3),
        Column("profile", bars, 4, align="left"),
        Column("verdict", verdicts, 1, align="left", fold=14),
    ]
    return Sheet("site", [str(row["site"]) for row in rows], columns)


def layer_table(layers: pd.DataFrame) -> Sheet:
    """Returns a table with one row per batch norm layer: distances in sd, each with its floor in brackets."""
    rows = records(layers)
    stale = [Text(_with_floor(row, "staleness"), style="yellow" if row["stale"] else "") for row in rows]
    columns = [
        Column("reference", [_with_floor(row, "reference") for row in rows], 2),
        Column("data", [_with_floor(row, "data") for row in rows], 1),
        Column("precise", stale),
    ]
    return Sheet("layer", [str(row["layer"]) for row in rows], columns, gap=2)


def bar(share: float) -> str:
    """Returns a bar of at most `_BAR` characters, in steps of an eighth of a character; empty for NaN."""
    if not math.isfinite(share):
        return ""
    eighths = round(min(max(share, 0.0), 1.0) * 8 * _BAR)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _batch_norm(layers: pd.DataFrame) -> Report:
    return Report(
        heading="Batch norm: distance of the running statistics from those of",
        body=(layer_table(layers),),
        notes=(
            "In sd, root mean over units; in brackets what sampling alone would show.",
            "reference, data: of what the layer gets in eval mode.",
            "precise: of the reference, layers normalising by the batch as in training.",
        ),
    )


def _drift_in_words(result: Result) -> tuple[str, ...]:
    in_order = result.sites["verdict"].str.contains("the site before").any()
    return (
        f"drift: {result.metric.name}, median over units. {result.metric.meaning}.",
        f"floor: the same by sampling noise alone, from {FLOOR}.",
        "shifted: units beyond noise (FDR 5 %).",
        "×input: drift over that of the input, where that is above noise.",
        *(["the site before: in the order of the calls."] if in_order else []),
    )


def _checked(verdicts: Sequence[Verdict]) -> tuple[Part, ...]:
    if not verdicts:
        return ()
    said = (f"Its floor is that of the table: {FLOOR}.",) if any(verdict.condition.over for verdict in verdicts) else ()
    return "", outcome_of_checks(verdicts), Report(notes=said)


def _checked_data(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {"passed": all_passed(verdicts), "checks": check_rows(verdicts)} if verdicts else {}


def _named(data: DataSet) -> str:
    return f"{data.source} ({data.examples:,} examples)"


def _not_finite(data: DataSet) -> str:
    return (
        f"{data.source}: {data.nonfinite:,} values in {data.incomplete:,} of {data.examples:,} examples "
        "are not finite: left out of drift; these examples, of precise statistics"
    )


def _next_step(run: str | None) -> str:
    if run is None:
        return "Next: the same with -o RUN keeps a run for icshift report, units and export"
    return f"Next: icshift report {quote(run)} --phase data --reference phase:reference"


def _as_data(about: Compared, result: Result, notes: Sequence[str]) -> dict[str, Any]:
    both = {
        name: {"source": data_set.source, "examples": data_set.examples, "nonfinite": data_set.nonfinite}
        for name, data_set in (("reference", about.reference), ("data", about.data))
    }
    return {
        "checkpoint": about.checkpoint,
        "metric": result.metric.name,
        **both,
        "notes": list(notes),
        "sites": records(result.sites),
        "batch_norm": records(result.layers),
    }


def _with_floor(row: dict[Any, Any], name: str) -> str:
    value, floor = row[name], row[f"{name}_floor"]
    return f"{number(value)} ({number(floor)})" if math.isfinite(value) else "–"
