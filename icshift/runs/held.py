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
class Packed:
    """Bytes a row: the bytes one after another, where each stretch of them begins, and where a row has none.

    Each row has its own stretch or, with `places`, the one that these say.
    """

    flat: NDArray[np.uint8]
    offsets: Array
    none: Array | None
    places: Array | None

    def part(self, start: int, stop: int) -> Packed:
        """Returns the bytes of some rows."""
        none = None if self.none is None else self.none[start:stop]
        if self.places is None:
            return Packed(self.flat, self.offsets[start : stop + 1], none, None)
        return Packed(self.flat, self.offsets, none, self.places[start:stop])

    def matrix(self, name: str, most: int) -> NDArray[np.uint8]:
        """Returns the bytes as rows of a matrix, of which those are one in memory that all rows share.

        Raises `ValueError` where they are not equally many, or more than `most` a row.
        """
        if self.places is None:
            return Lists(self.flat, self.offsets, None).matrix(name)
        if not len(self.places):
            return np.empty((0, 0), np.uint8)
        first = self.places[0]
        width = int(self.offsets[first + 1] - self.offsets[first])
        if width > most:  # Bytes that are there once for many rows could become very many.
            raise ValueError(f"column {name} has {width:,} bytes a row, where {most:,} are the most")
        if (self.places == first).all():
            return repeated(self.flat[self.offsets[first] :][:width], len(self.places))
        starts, ends = self.offsets[:-1][self.places], self.offsets[1:][self.places]
        if (ends - starts != width).any():
            raise ValueError(f"column {name} has bytes of several lengths in one site")
        return self.flat[starts[:, None] + np.arange(width)]


@dataclass(frozen=True, eq=False)
class Held:
    """Columns by name: numbers, lists of numbers, and bytes."""

    numbers: Mapping[str, Array]
    lists: Mapping[str, Lists]
    packed: Mapping[str, Packed]

    def __contains__(self, name: str) -> bool:
        return name in self.numbers or name in self.lists or name in self.packed

    def part(self, start: int, stop: int) -> Held:
        """Returns some of the rows."""
        numbers = {name: values[start:stop] for name, values in self.numbers.items()}
        lists = {name: lists.part(start, stop) for name, lists in self.lists.items()}
        return Held(numbers, lists, {name: packed.part(start, stop) for name, packed in self.packed.items()})


def repeated(row: Array, times: int) -> Array:
    """Returns a row as so many rows of a matrix, all of them the same memory: `np.broadcast_to`, ten times as fast."""
    matrix: Array = np.ndarray((times, len(row)), row.dtype, row, strides=(0, row.itemsize))
    matrix.flags.writeable = False
    return matrix


def held(table: pa.Table) -> Held:
    """Returns the columns of a table that hold numbers or bytes."""
    from pyarrow import types

    numbers, lists, packed = {}, {}, {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if types.is_list(kind):
            lists[name] = _lists(column)
        elif types.is_integer(kind) or types.is_floating(kind):
            numbers[name] = column.to_numpy()
        elif types.is_binary(kind):
            packed[name] = _packed(column)
        elif types.is_dictionary(kind) and types.is_binary(kind.value_type):
            packed[name] = _coded(column)
    return Held(numbers, lists, packed)


def _lists(column: pa.ChunkedArray) -> Lists:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    none = np.asarray(array.is_null()) if array.null_count else None
    return Lists(array.values.to_numpy(), array.offsets.to_numpy(), none)


def _packed(column: pa.ChunkedArray) -> Packed:
    none = np.asarray(column.is_null()) if column.null_count else None
    flats, offsets = zip(*map(_stretches, column.chunks), strict=True) if column.num_chunks else ((), ())
    if len(flats) == 1:
        return Packed(flats[0], offsets[0], none, None)
    # Several together may have more bytes than one array of Arrow can hold.
    ends, before = [np.zeros(1, np.int64)], 0
    flat = [flat[ends[0] : ends[-1]] for flat, ends in zip(flats, offsets, strict=True)]
    for one, within in zip(flat, offsets, strict=True):
        ends.append(within[1:].astype(np.int64) - within[0] + before)
        before += len(one)
    return Packed(np.concatenate([np.empty(0, np.uint8), *flat]), np.concatenate(ends), none, None)


def _coded(column: pa.ChunkedArray) -> Packed:
    array = column.chunk(0) if column.num_chunks == 1 else column.unify_dictionaries().combine_chunks()
    if not len(array):
        return Packed(np.empty(0, np.uint8), np.zeros(1, np.int32), None, np.zeros(0, np.int32))
    none = np.asarray(array.is_null()) if array.null_count else None
    places = array.indices.fill_null(0) if array.null_count else array.indices
    return Packed(*_stretches(array.dictionary), none, places.to_numpy())


def _stretches(array: pa.Array) -> tuple[NDArray[np.uint8], Array]:
    """Returns the bytes of an array of them, and where each row's begin and the last one's end."""
    _, offsets, flat = array.buffers()
    ends = np.frombuffer(offsets, np.int32, len(array) + 1, 4 * array.offset) if offsets else np.zeros(1, np.int32)
    return np.frombuffer(flat, np.uint8) if flat else np.empty(0, np.uint8), ends
