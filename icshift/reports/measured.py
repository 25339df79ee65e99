"""What was measured with gradients, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from icshift.reports.drift import number
from icshift.reports.text_charts import sparkline

if TYPE_CHECKING:
    import pandas as pd

_TREND = 12


def gradient_shift_table(summary: pd.DataFrame) -> Table:
    """A row a layer in the order of the forward."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("layer", overflow="fold", min_width=6)
    for name in ("params", "‖G−G′‖", "relative", "cos", "cos p10"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trend", no_wrap=True, min_width=_TREND)
    for row in summary.to_dict(orient="records"):
        cells = [number(row["l2"]), number(row["relative"]), _cosine(row["cosine"]), _cosine(row["cosine_p10"])]
        table.add_row(str(row["layer"]), f"{row['parameters']:,}", *cells, sparkline(row["trend"], _TREND))
    return table


def smoothness_lines(found: dict[str, Any]) -> list[str]:
    """Smoothness along the gradient in words."""
    where = f"; attained mostly at {found['beta_step']:g} lr" if math.isfinite(found["beta_step"]) else ""
    changes = f"{number(found['predictiveness_min'])} to {number(found['predictiveness_max'])}"
    return [
        f"range of the loss          {number(found['loss_range'])}",
        f"change of the gradient     {changes}",
        f"β·lr (reference: 2)        {number(found['beta_rate'])}, at most {number(found['beta_rate_max'])}{where}",
    ]


def _cosine(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"
