"""Tables of `icshift shift`, readable at 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from icshift.reports.tables import number

if TYPE_CHECKING:
    import pandas as pd

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 8


def site_table(sites: pd.DataFrame) -> Table:
    """A row a site in model order: its drift, as a bar too, over that of the input, and the verdict."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("site", overflow="fold", min_width=6, max_width=20)
    for name in ("drift", "floor", "×input"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("profile", no_wrap=True, min_width=_BAR)
    table.add_column("verdict", overflow="fold", ratio=1)
    top = sites["median"].max()
    for row in sites.to_dict(orient="records"):
        values = [float(row[name]) for name in ("median", "floor", "relative")]
        shown = [number(value) for value in values[:2]]
        style = "yellow" if row["shifted"] == 1 else ""
        table.add_row(
            str(row["site"]),
            *shown,
            f"{values[2]:.2f}" if math.isfinite(values[2]) else "–",
            Text(bar(values[0] / top if top > 0 else math.nan), style="cyan"),
            Text(str(row["verdict"]), style=style),
        )
    return table


def layer_table(layers: pd.DataFrame) -> Table:
    """A row a batch normalisation layer: distances, each with its floor in brackets."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("layer", overflow="fold", min_width=6)
    for name in ("reference", "data", "precise"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in layers.to_dict(orient="records"):
        stale = Text(_with_floor(row, "staleness"), style="yellow" if row["stale"] else "")
        table.add_row(str(row["layer"]), _with_floor(row, "reference"), _with_floor(row, "data"), stale)
    return table


def bar(share: float) -> str:
    """A bar of at most `_BAR` characters, in steps of an eighth of one; nothing for what is not known."""
    if not math.isfinite(share):
        return ""
    eighths = round(min(max(share, 0.0), 1.0) * 8 * _BAR)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _with_floor(row: dict[Any, Any], name: str) -> str:
    value, floor = row[name], row[f"{name}_floor"]
    return f"{number(value)} ({number(floor)})" if math.isfinite(value) else "–"
