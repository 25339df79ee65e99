"""Small pictures made of characters: a sparkline, and ribbons of percentiles over steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

Floats = NDArray[np.float64]

_BARS = "▁▂▃▄▅▆▇█"


def sparklines(rows: Sequence[Sequence[float]], width: int) -> tuple[list[str], float]:
    """Returns rows of values as bars, all on one scale from 0 to the largest, which is returned beside them.

    More than `width` values are averaged. NaN and infinity become a space; so does a row without values. What is below
    zero is drawn as zero.
    """
    shown = [_averaged(np.asarray(row, float), width) for row in rows]
    finite = [value for row in shown for value in row if math.isfinite(value)]
    top = max(finite, default=math.nan)
    return ["".join(_bar(value, top) for value in row) for row in shown], top


def _averaged(values: Floats, width: int) -> Floats:
    if len(values) <= width:
        return values
    return np.array([_mean(part) for part in np.array_split(values, width)])


def _bar(value: float, top: float) -> str:
    if not math.isfinite(value):
        return " "
    return _BARS[round(max(value, 0) / top * (len(_BARS) - 1))] if top > 0 else _BARS[0]


def ribbons(
    steps: Sequence[int],
    low: Sequence[float],
    middle: Sequence[float],
    high: Sequence[float],
    *,
    width: int,
    height: int,
) -> Text:
    """Returns a band from `low` to `high` with the `middle` in it, over steps; each column averages several steps."""
    columns = min(width, len(steps))
    parts = np.array_split(np.arange(len(steps)), columns)
    bottom, centre, top = (np.array([_mean(np.asarray(s, float)[p]) for p in parts]) for s in (low, middle, high))
    if not np.isfinite([bottom, top]).any():
        return Text("no finite values", style="dim")
    least, most = float(np.nanmin(bottom)), float(np.nanmax(top))
    spread = (most - least) or max(abs(most), 1.0)

    def row_of(value: float) -> int:
        return round((most - value) / spread * (height - 1))

    labels = [f"{most - spread * row / (height - 1):.3g}" for row in range(height)]
    margin = max(len(label) for label in labels)
    text = Text()
    for row in range(height):
        text.append(
            f"{labels[row]:>{margin}} ┤" if row % 3 == 0 or row == height - 1 else f"{'':>{margin}} │", style="dim"
        )
        for column in range(columns):
            if not math.isfinite(centre[column]):
                text.append(" ")
            elif row_of(centre[column]) == row:
                text.append("━", style="bold cyan")
            elif row_of(top[column]) <= row <= row_of(bottom[column]):
                text.append("░", style="cyan")
            else:
                text.append(" ")
        text.append("\n")
    first, last = str(steps[0]), str(steps[-1])
    text.append(f"{'':>{margin}} └{'─' * columns}\n", style="dim")
    text.append(f"{'':>{margin}}  {first}{'step':^{max(columns - len(first) - len(last), 4)}}{last}", style="dim")
    return text


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
