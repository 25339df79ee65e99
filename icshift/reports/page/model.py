"""`Page`: everything that the page of a run says and draws, as numbers and words. What a browser does is only drawing.

All that is computed is computed here and in `analysis/`; what is left out for want of room is chosen in `fold.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from icshift.reports.page.look import Codes, Scale

Floats: TypeAlias = NDArray[np.floating[Any]]
Ints: TypeAlias = NDArray[np.int64]
Cell: TypeAlias = "tuple[str, float | None]"
"""What a table shows, and by what it is sorted; None goes last."""

BINS = 32
"""Bins of a density."""

LEVELS = 15
"""Heights of a bin: 0 to 15."""


@dataclass(frozen=True)
class Table:
    """A table in words: one row a site, every row as many cells as there are `columns`; `site` is its first column."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class WindowOnPage:
    """A window: its number, its name, and its first and last step."""

    index: int
    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Line:
    """A number that was logged, by its name: the mean of every window, NaN where none was logged."""

    name: str
    values: Floats


@dataclass(frozen=True, eq=False)
class Fans:
    """Percentiles (5, 15, 50, 85, 95) over windows of some units, which `places` [k] name by their place in the order.

    `quantiles` [k, windows, 5] are NaN where nothing was recorded.
    """

    places: Ints
    quantiles: Floats


@dataclass(frozen=True, eq=False)
class Densities:
    """Histograms of some units in some windows, all of one unit over the same bins and to one scale.

    `heights` [k, windows, BINS] are shares of the highest bin of a unit, from 0 to `LEVELS`; `edges` [k, 2] are the
    ends of its bins, `windows` the places of the windows. Values beyond the ends are in the outermost bins.
    """

    places: Ints
    windows: Ints
    edges: Floats
    heights: Codes


@dataclass(frozen=True, eq=False)
class Series:
    """A site's percentiles (5, 15, 50, 85, 95; medians over units) over its steps, joined where there are too many.

    `number` [n] is the first step of those that are joined, `quantiles` [n, 5] the lowest of the lower two, the median
    of the median and the highest of the upper two, so that spikes stay.
    """

    number: Ints
    quantiles: Floats


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a site, the one that went farthest over its floor first: `ids` [n] are their numbers.

    `worst` [n] is the largest drift over floor (drift, on a scale without floors) of all windows, `worst_window` [n]
    the place of that window, -1 where there is none. `codes` [n, windows] are those of `look.Scale`.
    """

    ids: Ints
    worst: Floats
    worst_window: Ints
    codes: Codes


@dataclass(frozen=True, eq=False)
class SiteOnPage:
    """A site: what is known of it, and its numbers window by window (NaN or -1 where not known).

    `drift`, `floor`, `ratio` and `moved` [windows] are those of `icshift report`: median over units, its floor, how
    many times that, share of units that moved. `why` [windows] is why it is not known whether it moved. `dead`,
    `constant` and `nonfinite` count units.
    `onset` is the step at which it left the band of its past, None where it did not, or where `onset_unknown` says why
    that cannot be told.
    """

    name: str
    block: str
    type: str
    of: int
    n: int
    note: str
    onset: int | None
    onset_unknown: str
    drift: Floats
    floor: Floats
    ratio: Floats
    moved: Floats
    why: tuple[str, ...]
    dead: Ints
    constant: Ints
    nonfinite: Ints
    codes: Codes
    units: Units
    fans: Fans
    densities: Densities
    series: Series


@dataclass(frozen=True, eq=False)
class Page:
    """A page: words from top to bottom, the scale of its colours, the windows, what was logged, and the sites."""

    title: str
    subtitle: str
    command: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    versions: str
    metric: str
    unit: str
    scale: Scale
    windows: tuple[WindowOnPage, ...]
    lines: tuple[Line, ...]
    sites: tuple[SiteOnPage, ...]
    tables: tuple[Table, ...]


def spread(count: int, wanted: int) -> list[int]:
    """Returns so many places among the first `count` ones, at even distances; all where there are no more.

    >>> spread(10, 4)
    [0, 3, 6, 9]
    """
    if wanted >= count:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, max(wanted, 1)).tolist()})


def half_and_half(count: int, wanted: int) -> Ints:
    """Returns places in an order by drift: half of them the first ones, the other half at even ranks of the rest."""
    top = min(count, (wanted + 1) // 2)
    rest = spread(count - top, wanted - top) if wanted > top and count > top else []
    return np.array([*range(top), *(top + place for place in rest)], np.int64)


def block_of(name: str) -> str:
    """Returns the block that a site belongs to: its name without the last part, empty where it has one part only.

    >>> block_of("encoder.layers.3.fc1"), block_of("fc1")
    ('encoder.layers.3', '')
    """
    return name.rpartition(".")[0]


def joined(numbers: Sequence[int], quantiles: Floats, most: int) -> Series:
    """Returns a series [steps, 5] of at most so many stretches of steps."""
    number = np.asarray(numbers, np.int64)
    if not len(number):
        return Series(number, np.zeros((0, 5)))
    parts = np.array_split(np.arange(len(number)), min(most, len(number)))
    rows = [_joined(quantiles[part]) for part in parts]
    return Series(np.array([number[part[0]] for part in parts]), np.array(rows))


def _joined(part: Floats) -> Floats:
    known = part[np.isfinite(part).all(1)]
    if not len(known):
        return np.full(5, np.nan)
    return np.concatenate([known[:, :2].min(0), np.median(known[:, 2:3], 0), known[:, 3:].max(0)])
