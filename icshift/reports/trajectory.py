"""The table of `icshift path`, readable at 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from icshift.reports.drift import number
from icshift.reports.text_charts import sparkline

if TYPE_CHECKING:
    import pandas as pd

_TREND = 9


def path_table(paths: pd.DataFrame) -> Table:
    """A row a site in model order; drift per change of the parameters only where that is known, no floor of probes.

    How many windows a path has stands only where they differ.
    """
    differ = paths["windows"].nunique() > 1
    noiseless, changes = bool(paths["noiseless"].all()), bool(paths["per_change"].notna().any())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("site", overflow="fold", min_width=6)
    floor = [] if noiseless else ["floor"]
    for name in (*(["windows"] * differ), "path", *floor, "displaced", *floor, "straight", *(["per change"] * changes)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trend", no_wrap=True, min_width=_TREND)
    for row in paths.to_dict(orient="records"):
        cells = [*([str(row["windows"])] * differ), number(row["path"])]
        cells += [] if noiseless else [number(row["floor"])]
        cells += [number(row["displacement"])]
        cells += [] if noiseless else [number(row["displacement_floor"])]
        cells += [f"{row['straightness']:.2f}" if math.isfinite(row["straightness"]) else "–"]
        cells += [number(row["per_change"])] if changes else []
        table.add_row(str(row["site"]), *cells, sparkline(row["trend"], _TREND))
    return table
