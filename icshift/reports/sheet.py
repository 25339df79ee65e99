"""Tables that keep the name of every row however narrow the screen is: other columns go first.

Where not all fits, what all names begin with is said once, above the table; then columns go, those with the largest
rank first; what is still too long of a name is left out of its middle. Two names never look the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from icshift.reports.harmless import harmless, harmless_lines
from icshift.reports.spelling import spelt, spelt_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_LEAST = 16
"""Characters of a name that stay, or a quarter of the screen where that is more, whatever columns have to go."""


@dataclass(frozen=True)
class _Look:
    """What stands for the middle of a name that is left out, and the line under the head."""

    dots: str
    box: box.Box


_UNICODE = _Look("…", box.SIMPLE_HEAD)
# rich would replace the box by one with borders, which are no part of ours.
_ASCII = _Look("..", box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True))


@dataclass(frozen=True, eq=False)
class Column:
    """A column: its head and one cell a row.

    Where not all columns fit, those with the largest `rank` go first, and those of rank 0 never. Cells of a column with
    a `fold` may be folded to so many characters.
    """

    head: str
    cells: Sequence[str | Text]
    rank: int = 0
    align: Literal["left", "right"] = "right"
    fold: int = 0

    @property
    def width(self) -> int:
        """Characters of its longest line."""
        lines = [line for cell in (self.head, *self.cells) for line in str(cell).split("\n")]
        return max(map(cell_len, lines))

    @property
    def least(self) -> int:
        """Characters that it cannot do without."""
        return min(self.width, max(self.fold, cell_len(self.head))) if self.fold else self.width


def not_shown_columns(heads: Sequence[str]) -> str:
    """Returns a line on the columns that a screen has no room for."""
    return f"No room here for: {', '.join(dict.fromkeys(heads))}."


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table with one name a row under `head`, and columns.

    `gap` is the space between columns. `left_out` says in words, to the reader, which columns are left out.
    """

    head: str
    names: Sequence[str]
    columns: Sequence[Column]
    gap: int = 1
    left_out: Callable[[Sequence[str]], str] = not_shown_columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sheet = self._harmless()
        if options.ascii_only:
            yield from sheet._spelt()._parts(options.max_width, _ASCII)
        else:
            yield from sheet._parts(options.max_width, _UNICODE)

    def _harmless(self) -> Sheet:
        columns = [replace(one, head=harmless(one.head), cells=[*map(_shown, one.cells)]) for one in self.columns]
        return replace(self, head=harmless(self.head), names=[*map(harmless, self.names)], columns=columns)

    def _spelt(self) -> Sheet:
        columns = [
            replace(one, head=spelt(one.head), cells=[_spelt(cell) for cell in one.cells]) for one in self.columns
        ]
        return replace(self, names=[*map(spelt, self.names)], columns=columns)

    def _parts(self, width: int, look: _Look) -> Iterator[Table | Text]:
        names, prefix = list(self.names), ""
        if not self._fit(self.columns, _widest([self.head, *names]), width):
            prefix = shared(self._filled())
            names = [name[len(prefix) :] if name.startswith(prefix) else name for name in names]
        longest = _widest([self.head, *names])
        least = min(longest, max(_LEAST, width // 4))
        apart = next(room for room in range(least, longest + 1) if _differ(names, room, look.dots))
        kept = self._kept(apart, width)
        room = min(longest, max(width - self._taken(kept), cell_len(self.head)))
        if room >= apart:
            names = [elided(name, room, look.dots) for name in names]
        if prefix:
            yield Text(f"Before each {self.head}: {prefix}", style="dim", overflow="fold")
        yield _table(replace(self, names=names, columns=kept), room, width - self._taken(kept) - room, look)
        if gone := [column.head for column in self.columns if column not in kept]:
            yield Text(self.left_out(gone), style="dim")

    def _filled(self) -> list[str]:
        """Returns the names of rows with cells: others are headings within the table."""
        rows = zip(self.names, *(column.cells for column in self.columns), strict=True)
        return [name for name, *cells in rows if any(map(str, cells))]

    def _kept(self, names: int, width: int) -> list[Column]:
        """Returns the columns that there is room for beside `names` characters, in order."""
        kept = [column for column in self.columns if column.rank == 0]
        for column in sorted(self.columns, key=lambda column: column.rank):
            if column not in kept and self._fit([*kept, column], names, width):
                kept.append(column)
        return [column for column in self.columns if column in kept]

    def _fit(self, columns: Sequence[Column], names: int, width: int) -> bool:
        return self._taken(columns) + names <= width

    def _taken(self, columns: Sequence[Column]) -> int:
        """Returns how many characters columns take at least, with the edges of the table and the gaps before them."""
        return 2 + sum(column.least + self.gap + 1 for column in columns)


def _shown(cell: str | Text) -> str | Text:
    shown = harmless_lines(Text(cell) if isinstance(cell, str) else cell)
    return shown.plain if isinstance(cell, str) else shown


def _spelt(cell: str | Text) -> str | Text:
    return spelt(cell) if isinstance(cell, str) else spelt_text(cell)


def of_rows(
    head: str, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str | Text]], *, gap: int = 1
) -> Sheet:
    """Returns the sheet of rows that begin with their name; `columns` are the heads and ranks of the other cells.

    Only numbers are in them: all are aligned to the right.
    """
    names = [str(row[0]) for row in rows]
    cells = [[row[place] for row in rows] for place in range(1, len(columns) + 1)]
    return Sheet(
        head, names, [Column(name, cell, rank) for (name, rank), cell in zip(columns, cells, strict=True)], gap
    )


def shared(names: Sequence[str]) -> str:
    """Returns what all names begin with, to the last dot or slash of it: nothing where there is but one name.

    >>> shared(["net.layers.1.fc", "net.layers.10.fc", "net.head"]), shared(["fc1", "fc2"]), shared(["net.fc"])
    ('net.', '', '')
    """
    different = sorted({name for name in names if name})
    if len(different) < 2:
        return ""
    first, last = different[0], different[-1]
    alike = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    beginning = re.match(r".*[./]", first[:alike])
    return beginning.group() if beginning else ""


def elided(name: str, room: int, dots: str = "…") -> str:
    """Returns a name of at most `room` characters: the middle of a longer one is left out.

    >>> elided("encoder.layers.11.attention.out_proj", 20)
    'encoder.l…n.out_proj'
    """
    if cell_len(name) <= room:
        return name
    both = max(room - len(dots), 2)
    return _beginning(name, both // 2) + dots + _beginning(name[::-1], both - both // 2)[::-1]


def _beginning(name: str, room: int) -> str:
    """Returns as much of a name as `room` characters of the screen hold: some signs take two."""
    return name[: next(end for end in range(len(name), -1, -1) if cell_len(name[:end]) <= room)]


def _differ(names: Sequence[str], room: int, dots: str) -> bool:
    return len({elided(name, room, dots) for name in names}) == len(set(names))


def _widest(names: Sequence[str]) -> int:
    return max(map(cell_len, names))


def _table(sheet: Sheet, room: int, spare: int, look: _Look) -> Table:
    """Returns a table in which columns that may be folded share the `spare` characters."""
    table = Table(box=look.box, pad_edge=False, padding=(0, sheet.gap, 0, 0), header_style="bold")
    table.add_column(sheet.head, overflow="fold", width=room)
    for column in sheet.columns:
        more = max(0, min(column.width - column.least, spare))
        spare -= more
        table.add_column(column.head, justify=column.align, overflow="fold", width=column.least + more)
    for row in zip(sheet.names, *(column.cells for column in sheet.columns), strict=True):
        table.add_row(*row)
    return table
