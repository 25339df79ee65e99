"""Checks of the instrument, each with what was measured here, for the terminal: readable at 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from icshift.reports.report import Report

_PARTS = ("source", "expected", "measured", "ran")


def selfcheck_report(results: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> Report:
    """Returns the report of the checks; `asked` holds `seed`, `quick`, the `seconds` it took and `versions`."""
    return Report(
        body=(checks_table(results),),
        verdict=_count(results, asked),
        next_step=_next_step(results, asked),
        data={"passed": all(result["passed"] for result in results), **asked, "checks": list(results)},
    )


def checks_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Returns a table with one row per check: name, outcome, claim, source, condition, and what was measured and ran.

    Columns side by side would be twenty characters wide at 80: the parts of a row stand below one another.
    """
    table = Table(box=box.HORIZONTALS, show_edge=False, show_header=False, show_lines=True, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for row in rows:
        verdict = Text("pass", style="green") if row["passed"] else Text("FAIL", style="bold red")
        table.add_row(
            Group(Text(str(row["check"]), style="bold"), verdict), Group(Text(str(row["claim"])), _parts(row))
        )
    return table


def _parts(row: Mapping[str, Any]) -> Table:
    parts = Table.grid(padding=(0, 2, 0, 0))
    parts.add_column(style="dim", no_wrap=True)
    parts.add_column(overflow="fold")
    for name in _PARTS:
        parts.add_row(name, Text(str(row[name]), style="" if name in ("expected", "measured") else "dim"))
    return parts


def _count(results: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> str:
    passed = sum(result["passed"] for result in results)
    kind = ", quick" if asked["quick"] else ""
    versions = f"icshift {asked['versions']['icshift']}, torch {asked['versions']['torch']}"
    return f"{passed} of {len(results)} passed · {asked['seconds']:.0f} s · seed {asked['seed']}{kind} · {versions}"


def _next_step(results: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> str:
    failed = [result["check"] for result in results if not result["passed"]]
    if failed:
        return f"Next: icshift selfcheck --only {failed[0]} --seed {asked['seed'] + 1}"
    return "Next: icshift selfcheck" if asked["quick"] else "Next: icshift demo"
