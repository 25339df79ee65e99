"""Tables for the terminal, readable at 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from icshift.reports.text_charts import sparkline

if TYPE_CHECKING:
    import pandas as pd

_TREND = 9

_NAME = 8
"""As long may a metric's name be as the head of a column."""


def report_table(summary: pd.DataFrame, *, wide: bool) -> Table:
    """A row a site, in model order; `wide` (100 columns and more) has room for units, 90th percentile and largest.

    Probes have no sampling noise: they have these two where others have floor, ratio and share moved.
    """
    noiseless = bool(summary["noiseless"].dropna().all())
    spread = ["p90", "max"] if summary["max"].notna().any() else []  # One number a site has none.
    noise = [] if noiseless else ["floor", "×floor"]
    table = _table()
    table.add_column("site", overflow="fold", min_width=6)
    for name in [*(["units"] * wide), "drift", *noise, *(spread if wide or noiseless else [])]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trend", no_wrap=True, min_width=_TREND)
    for name in ["loc scl shp", *([] if noiseless else ["moved"])]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("health", no_wrap=True)
    for row in _rows(summary):
        cells: list[str | Text] = [site_label(row), *([str(row["units"])] if wide else [])]
        if isinstance(row.get("trend"), list):
            cells.append(number(row["median"]))
            cells += [] if noiseless else [number(row["floor"]), _ratio(row)]
            cells += [number(row[name]) for name in spread] if wide or noiseless else []
            cells += [sparkline(row["trend"], _TREND), _split(row)]
            cells += [] if noiseless else [_moved(row)]
        else:
            cells += ["–"] * (len(table.columns) - len(cells) - 1)
        table.add_row(*cells, _health(row))
    return table


def comparison_table(names: tuple[str, ...], summaries: list[pd.DataFrame]) -> Table:
    """A row a site, a group of columns a run; a site that a run does not have is left blank there.

    Probes have no sampling noise: they show the 90th percentile where others show floor and share moved.
    """
    by_site = [{row["site"]: row for row in _rows(summary)} for summary in summaries]
    noiseless = all(row["noiseless"] for rows in by_site for row in rows.values())
    table = _table()
    table.add_column("site", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
        for column in ("p90",) if noiseless else ("floor", "moved"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("trend", no_wrap=True)
    longest = max(by_site, key=len)
    for site in [*longest, *(site for rows in by_site for site in rows if site not in longest)]:
        cells = []
        for rows in by_site:
            row = rows.get(site)
            if row is None:
                cells += [""] * (3 if noiseless else 4)
                continue
            middle = [number(row["p90"])] if noiseless else [number(row["floor"]), _moved(row)]
            cells += [number(row["median"]), *middle, sparkline(row["trend"], _TREND)]
        table.add_row(next(site_label(rows[site]) for rows in by_site if site in rows), *cells)
    return table


def distribution_table(summary: pd.DataFrame) -> Table:
    """A row a site with nothing to compare: its distribution, medians over units."""
    table = _table()
    table.add_column("site", overflow="fold", min_width=6)
    for name in ("units", "n", "mean", "sd", "q15", "q50", "q85", "zeros"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("health", no_wrap=True)
    for row in _rows(summary):
        cells = [number(row[name]) for name in ("mean", "std", "q15", "q50", "q85")]
        zeros = f"{100 * row['zero_share']:.0f}%" if math.isfinite(row["zero_share"]) else "–"
        table.add_row(site_label(row), str(row["units"]), f"{row['n']:,}", *cells, zeros, _health(row))
    return table


def units_table(units: pd.DataFrame, value_name: str) -> Table:
    """A row a unit: its drift with floor (* where it moved beyond noise) and the window's distribution.

    A near-constant unit is marked by ≈: its drift in sd means little. Units of a probe have no floor.
    """
    noisy = bool(units["floor"].notna().any())
    table = _table()
    shown = value_name if len(value_name) <= _NAME else "drift"
    for name in ["unit", shown, *(["floor", "×floor"] * noisy), "mean", "sd", "q15", "q50", "q85", "zeros"]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in _rows(units):
        table.add_row(
            f"≈ {row['unit']}" if row["near_constant"] else str(row["unit"]),
            number(row["value"]),
            *([number(row["floor"]), f"{_times(row['ratio'])} {'*' if row['moved'] else ' '}"] if noisy else []),
            *(number(row[name]) for name in ("mean", "std", "q15", "q50", "q85")),
            f"{100 * row['zero_share']:.0f}%" if math.isfinite(row["zero_share"]) else "–",
        )
    return table


def facts(rows: list[tuple[str, str]]) -> Table:
    """Names and values, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def listing(headers: list[str], rows: list[list[str]]) -> Table:
    """A plain table of text."""
    table = _table()
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def site_label(row: dict[str, Any]) -> str:
    """The site's name, with a dagger where its moments are set by its own affine parameters."""
    return f"{row['site']} †" if row["affine_moments"] else str(row["site"])


def number(value: float) -> str:
    """Three significant digits, or a dash for what is not known."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if 0.001 <= abs(value) < 100 else f"{value:.3g}"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict(orient="records")]


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def _moved(row: dict[str, Any]) -> str:
    return f"{100 * row['moved']:.0f}%" if math.isfinite(row["moved"]) else "–"


def _ratio(row: dict[str, Any]) -> Text:
    text = _times(row["ratio"])
    return Text(text, style="bold" if math.isfinite(row["ratio"]) and row["ratio"] >= 2 else "")


def _times(ratio: float) -> str:
    if not math.isfinite(ratio):
        return "–"
    return f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"


def _split(row: dict[str, Any]) -> str:
    shares = [row.get(name, math.nan) for name in ("location", "scale", "shape")]
    if not all(isinstance(share, float) and math.isfinite(share) for share in shares):
        return "–"
    return " ".join(f"{100 * share:3.0f}" for share in shares)


def _health(row: dict[str, Any]) -> Text:
    found = []
    for name in ("dead", "saturated", "near_constant", "nonfinite"):
        count = row[name]
        if count is not None and count == count and count > 0:  # noqa: PLR0124  (a NaN is a count that is not known)
            found.append(f"{int(count)} {name.removeprefix('near_')}")
    return Text("\n".join(found), style="yellow") if found else Text("ok", style="green")
