"""Pages of columns of lists, of which the numbers are taken as they are.

Where Arrow reads a list it looks, for each of its numbers, at a level that says whether a list begins there: most of
what reading `values` takes. These levels are the same in most row groups. So Arrow reads them once, and what has the
very same levels, byte for byte, has lists of the same lengths: of such a page only what follows is read.

This is for pages as icshift writes them, one group at a time. Whatever is another way (no checksum, a dictionary, an
encoding of other writers, damage) is left to Arrow, which reads it or says what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from icshift.runs import planes
from icshift.runs.columns import Placed
from icshift.runs.held import Lists

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_PLAIN, _SPLIT = 0, 9
"""Encodings: numbers as they are, and their bytes sorted by place."""

_TYPES: dict[str, np.dtype[Any]] = {"FLOAT": np.dtype("<f4"), "DOUBLE": np.dtype("<f8")}

_SIZE = np.dtype("<u4")
"""Levels have their number of bytes before them."""

_DATA_PAGE = 0
_I32, _STRUCT = 5, 12
"""Types of fields in a header, which is in Thrift's compact protocol."""

_MOST_KNOWN = 64
"""Levels that are known at most."""

Levels = tuple[str, bytes]
"""The name of a column, and the levels of all its pages in a row group."""


@dataclass(frozen=True)
class _Page:
    levels: bytes
    values: NDArray[np.uint8]
    encoding: int


class Straight:
    """Reads columns whose levels it has seen."""

    def __init__(self) -> None:
        self._known: dict[Levels, NDArray[Any]] = {}

    def read(
        self, file: pa.NativeFile, footer: pq.FileMetaData, groups: range, columns: Placed
    ) -> tuple[dict[str, Lists], dict[str, Levels]]:
        """Returns columns of one row group that it can read, and the levels of those that it could if it knew them."""
        found: dict[str, Lists] = {}
        unknown: dict[str, Levels] = {}
        for place, name, column in columns:
            if column.width is None or column.packed or len(groups) > 1:
                continue
            kind, chunk = footer.schema.column(place), footer.row_group(groups[0]).column(place)
            pages = _pages(file, kind, chunk)
            if pages is None:
                continue
            levels = name, b"".join(page.levels for page in pages)
            if levels not in self._known:
                unknown[name] = levels
            elif (straight := _lists(pages, kind.physical_type, self._known[levels])) is not None:
                found[name] = straight
        return found, unknown

    def learn(self, levels: Levels, column: Lists) -> None:
        """Keep what these levels mean, as Arrow read them in a column."""
        if column.none is None and len(self._known) < _MOST_KNOWN:
            self._known[levels] = column.offsets - column.offsets[0]


def _pages(file: pa.NativeFile, kind: pq.ColumnSchema, chunk: pq.ColumnChunkMetaData) -> list[_Page] | None:
    """Returns the pages of a column in a row group, None where any of them is another way."""
    import pyarrow as pa

    if chunk.compression != "ZSTD" or chunk.has_dictionary_page:  # Of what lz4 packs Arrow is faster.
        return None
    codec = pa.Codec("zstd")
    content = memoryview(file.read_at(chunk.total_compressed_size, chunk.data_page_offset))
    found, start, room = [], 0, chunk.total_uncompressed_size
    try:
        while start < len(content):
            header, start = _header(content, start)
            about = header[5]
            end, room = start + header[3], room - header[2]
            whole = header[1] == _DATA_PAGE and start <= end <= len(content) and header[2] >= 0 and room >= 0
            if not whole or crc32(content[start:end]) != header[4] & 0xFFFFFFFF:
                return None
            values = np.frombuffer(codec.decompress(content[start:end], decompressed_size=header[2]), np.uint8)
            size = 0
            for _ in range((kind.max_repetition_level > 0) + (kind.max_definition_level > 0)):
                size += 4 + int(values[size : size + 4].view(_SIZE)[0])
            # How many values a page has is no part of its levels, whose last bits may stand for none.
            levels = about[1].to_bytes(4, "little") + values[:size].tobytes()
            found.append(_Page(levels, values[size:], about[2]))
            start = end
    except (LookupError, ValueError, TypeError, OSError, OverflowError):
        return None
    return found


def _header(content: memoryview, start: int) -> tuple[dict[int, Any], int]:
    """Returns the fields of a header by their numbers, and where it ends: whole numbers, and headers in it."""
    fields: dict[int, Any] = {}
    number = 0
    while (byte := content[start]) != 0:
        start += 1
        number += byte >> 4
        if not byte >> 4 or byte & 15 not in (_I32, _STRUCT):
            raise ValueError("a header as other writers have it")
        fields[number], start = _whole(content, start) if byte & 15 == _I32 else _header(content, start)
    return fields, start + 1


def _whole(content: memoryview, start: int) -> tuple[int, int]:
    """Returns a whole number, of which each byte has seven bits and the lowest one is the sign, and where it ends."""
    value = shift = 0
    while (byte := content[start]) & 128:
        value, shift, start = value | (byte & 127) << shift, shift + 7, start + 1
    value |= byte << shift
    return value >> 1 ^ -(value & 1), start + 1


def _lists(pages: list[_Page], kind: str, offsets: NDArray[Any]) -> Lists | None:
    """Returns lists of numbers, each of which begins at one of the offsets; None where they are another way."""
    dtype = _TYPES.get(kind)
    found = [None if dtype is None else _numbers(page, dtype) for page in pages]
    numbers = [one for one in found if one is not None]
    if len(numbers) < len(found) or sum(map(len, numbers)) != offsets[-1]:
        return None
    return Lists(numbers[0] if len(numbers) == 1 else np.concatenate(numbers), offsets, None)


def _numbers(page: _Page, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    if len(page.values) % dtype.itemsize or page.encoding not in (_PLAIN, _SPLIT):
        return None
    if page.encoding == _SPLIT:
        return planes.joined(page.values[None], dtype)[0]
    return np.frombuffer(page.values.tobytes(), dtype)
