"""The table of `icshift selfcheck`, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

_TOLD = ("source", "expected", "measured", "ran")


def checks_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row a check: its name and whether it passed; the claim, its source, the condition, what was measured and ran.

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
    for name in _TOLD:
        parts.add_row(name, Text(str(row[name]), style="" if name in ("expected", "measured") else "dim"))
    return parts
