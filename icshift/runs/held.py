"""Columns of a file in memory as NumPy's arrays, of which the rows of a site are a part that costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Lists:
    """A list of numbers a row: the numbers one after another, where each list begins, and where there is none."""

    flat: Array
    offsets: Array
    none: Array | None

    def part(self, start: int, stop: int) -> Lists:
        """Returns the lists of some rows."""
        none = None if self.none is None else self.none[start:stop]
        return Lists(self.flat, self.offsets[start : stop + 1], none)

    def matrix(self, name: str) -> Array:
        """Returns the lists as rows of a matrix. Raises `ValueError` where they are of several lengths."""
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        rows = len(self.offsets) - 1
        width = (last - first) // max(rows, 1)
        if (np.diff(self.offsets) != width).any():
            raise ValueError(f"column {name} has lists of several lengths in one site")
        return self.flat[first:last].reshape(rows, width)


@dataclass(frozen=True, eq=False)
class Held:
    """Columns by name: numbers, and lists of numbers."""

    numbers: Mapping[str, Array]
    lists: Mapping[str, Lists]

    def __contains__(self, name: str) -> bool:
        return name in self.numbers or name in self.lists

    def part(self, start: int, stop: int) -> Held:
        """Returns some of the rows."""
        numbers = {name: values[start:stop] for name, values in self.numbers.items()}
        return Held(numbers, {name: lists.part(start, stop) for name, lists in self.lists.items()})


def held(table: pa.Table) -> Held:
    """Returns the columns of a table that hold numbers."""
    from pyarrow import types

    numbers, lists = {}, {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if types.is_list(column.type):
            lists[name] = _lists(column)
        elif types.is_integer(column.type) or types.is_floating(column.type):
            numbers[name] = column.to_numpy()
    return Held(numbers, lists)


def _lists(column: pa.ChunkedArray) -> Lists:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    none = np.asarray(array.is_null()) if array.null_count else None
    return Lists(array.values.to_numpy(), array.offsets.to_numpy(), none)
