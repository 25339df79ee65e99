"""`Page`: everything that the page of a run says and draws, as numbers and words. What a browser does is only drawing.

All that is computed is computed here and in `analysis/`; what is left out for want of room is chosen in `fold.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from icshift.analysis.atlas import Series
from icshift.analysis.pictures import Densities, Fans
from icshift.page.look import Codes, Scale

Floats: TypeAlias = NDArray[np.floating[Any]]
Ints: TypeAlias = NDArray[np.int64]
Cell: TypeAlias = "tuple[str, float | None]"
"""What a table shows, and by what it is sorted; None goes last."""


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
    `parts` [windows, 3] are the shares of location, scale and shape in the drift; `affine` says that mean and sd are
    set by the site's own weight and bias.
    `onset` is the step at which it left the band of its past, by what `onset_how` says; None where it did not, or where
    `onset_unknown` says why that cannot be told.
    """

    name: str
    block: str
    type: str
    of: int
    n: int
    note: str
    affine: bool
    onset: int | None
    onset_how: str
    onset_unknown: str
    drift: Floats
    floor: Floats
    ratio: Floats
    moved: Floats
    why: tuple[str, ...]
    parts: Floats
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
    """A page: words from top to bottom, the scale of its colours, the windows, what was logged, and the sites.

    Every window is compared with its `reference` within the `phase`; `window` is the place of the one that is looked
    at, -1 where there is none.
    """

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
    phase: str
    reference: str
    window: int
    scale: Scale
    windows: tuple[WindowOnPage, ...]
    lines: tuple[Line, ...]
    sites: tuple[SiteOnPage, ...]
    tables: tuple[Table, ...]


def block_of(name: str) -> str:
    """Returns the block that a site belongs to: its name without the last part, empty where it has one part only.

    >>> block_of("encoder.layers.3.fc1"), block_of("fc1")
    ('encoder.layers.3', '')
    """
    return name.rpartition(".")[0]
