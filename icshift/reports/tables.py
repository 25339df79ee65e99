"""What all tables of the terminal have in common: their style, and how numbers and counts are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from icshift.reports.harmless import harmless_lines
from icshift.reports.spelling import spelt

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderResult

TREND = 9
"""Characters of a sparkline in a table."""

MARK = {True: "*", False: " ", None: "?"}
"""What stands beside a unit that moved beyond noise, one that shows no sign of it, and one of which it is not known."""


@dataclass(frozen=True)
class Facts:
    """A table of names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self.rows:
            shown = harmless_lines(Text(name)), harmless_lines(Text(value))
            table.add_row(*(spelt(one.plain) for one in shown) if options.ascii_only else shown)
        yield table


def number(value: float) -> str:
    """Returns a number with three significant digits, or a dash for NaN and infinity."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if 0.001 <= abs(value) < 100 else f"{value:.3g}"


def share(value: float) -> str:
    """Returns a share (0 to 1) in per cent, or a dash for NaN and infinity."""
    return f"{100 * value:.0f}%" if math.isfinite(value) else "–"


def moved(site: Mapping[str, Any]) -> str:
    """Returns the share of a site's units that moved, as the least that it is where it cannot be told of all units.

    >>> moved({"moved": 0.25, "moved_untold": 0}), moved({"moved": 0.25, "moved_untold": 7}), moved({"moved": math.nan})
    ('25%', '≥25%', '–')
    """
    value = site.get("moved")
    least = "≥" if (site.get("moved_untold") or 0) > 0 else ""
    return f"{least}{share(value)}" if value is not None and math.isfinite(value) else "–"


def times(ratio: float) -> str:
    """Returns a ratio with one decimal below 100, or a dash for NaN and infinity."""
    if not math.isfinite(ratio):
        return "–"
    return f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}"


def compact(count: int) -> str:
    """Returns a number of things in at most five characters, of three digits from ten thousand on.

    >>> [compact(count) for count in (0, 9_999, 12_345, 999_999, 3_200_000_000)]
    ['0', '9,999', '12.3k', '1.00M', '3.20G']
    """
    if count < 10_000:
        return f"{count:,}"
    power = 1 if count < 999_500 else 2 if count < 999_500_000 else 3
    return f"{count / 1000**power:#.3g}".rstrip(".") + "kMG"[power - 1]


def counted(number: int, what: str) -> str:
    """Returns a number with its noun: `1 example`, `1,400 examples`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def not_shown(shown: int, of: int, what: str, which: str) -> list[str]:
    """Returns a note on the rows that a table leaves out, none where it has all.

    >>> not_shown(200, 250, "sites", "those that drifted furthest")
    ['200 of 250 sites are shown, those that drifted furthest: --top 250 shows all.']
    """
    return [] if shown == of else [f"{shown:,} of {of:,} {what} are shown, {which}: --top {of} shows all."]


def trend_scale(top: float, what: str) -> list[str]:
    """Returns a note on the scale of the bars of a column `trend`, none where there are no bars.

    >>> trend_scale(0.2251, "site")
    ['trend: one scale for all sites, a full bar is 0.225.']
    """
    return [f"trend: one scale for all {what}s, a full bar is {number(top)}."] if math.isfinite(top) else []


def site_named(name: str) -> str:
    """Returns what a sentence calls a site: one that has a number for a name would be taken for a number.

    >>> [site_named(name) for name in ("fc1", "3", "0.2", "2.conv")]
    ['fc1', 'site 3', 'site 0.2', '2.conv']
    """
    return f"site {name}" if re.fullmatch(r"[\d.]+", name) else name


def searched(windows: int) -> list[str]:
    """Returns a note on a window that was looked for among several, none where it is the only one.

    >>> searched(12)
    ['The worst of 12 windows: what is said to have moved is held to an error of 5 % in all of them together.']
    """
    together = "what is said to have moved is held to an error of 5 % in all of them together"
    return [] if windows == 1 else [f"The worst of {windows} windows: {together}."]


def ordinal(number: int) -> str:
    """Returns a number as a place in an order: `2nd`, `13th`.

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 22, 113)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd', '113th']
    """
    teen = 10 <= number % 100 <= 20
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows of a data frame, each as a dictionary from column to value; what is not there is None."""
    import pandas as pd

    return [
        {str(name): None if value is pd.NA else value for name, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]
