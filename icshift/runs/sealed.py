"""Parquet files that tell whether they are what was written: each holds checksums of all its bytes.

Parquet has checksums of pages, which pyarrow verifies and other readers can. They cover neither the footer, which says
where everything is and how it is to be read, nor the headers of the pages. So the metadata of a file hold two more,
under the key `icshift_checksums`: the CRC-32 of all before the footer, and that of the footer, in which its own eight
digits count as zeros. Of a file that is only listed the footer is read, and checked. Older versions wrote none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zlib import crc32

from icshift import regular

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

CHECKSUMS = b"icshift_checksums"
"""The key of the checksums in a file's metadata."""

_WORDS = b"CRC-32 of the body %08x, of the footer "
_ZEROS = b"00000000"
_WRITTEN = re.compile(rb"CRC-32 of the body ([0-9a-f]{8}), of the footer ([0-9a-f]{8})")

_MAGIC = b"PAR1"
_TAIL = 8
"""Bytes after the footer: its length and the magic number."""

_MOST_FOOTER = 1 << 26


def parquet(table: pa.Table, groups: Sequence[int] = (), **options: Any) -> memoryview:
    """Returns the bytes of a Parquet file of a table, with the checksums. `options` are those of `ParquetWriter`.

    `groups` are the numbers of rows of its row groups; without any they are all in one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {**(table.schema.metadata or {}), CHECKSUMS: _WORDS % 0 + _ZEROS}
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata(metadata)
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True, **options) as writer:
        start = 0
        for rows in groups or (len(table),):
            writer.write_table(table.slice(start, rows), row_group_size=max(rows, 1))
            start += rows
    content = bytearray(sink.getvalue())
    footer = len(content) - _TAIL - int.from_bytes(content[-_TAIL:-4], "little")
    place = content.rindex(_WORDS % 0 + _ZEROS, footer)
    words = _WORDS % crc32(memoryview(content)[:footer])
    content[place : place + len(words)] = words
    digits = slice(place + len(words), place + len(words) + len(_ZEROS))
    content[digits] = b"%08x" % crc32(memoryview(content)[footer:])
    return memoryview(content)


def footer(path: Path) -> pq.FileMetaData:
    """Returns what the footer of a file says, without reading the rest. Raises as `opened` and `checked` do."""
    with regular.opened(path) as file:
        return _parsed(_footer_in(file))


def content(path: Path, most: int) -> bytes:
    """Returns the bytes of a file of at most so many, its checksums verified.

    Raises `OSError` where it has more, and `ValueError` where a checksum differs.
    """
    read = regular.content(path, most)
    end = read[-_TAIL:]
    start = max(len(read) - _TAIL - int.from_bytes(end[:4], "little"), 0)
    sums = _verified(read[start:])
    if sums is not None and crc32(memoryview(read)[:start]) != sums:
        raise ValueError("its checksum differs from its content")
    return read


def is_sealed(path: Path) -> bool:
    """Returns whether a file has checksums at all."""
    with regular.opened(path) as file:
        return _verified(_footer_in(file)) is not None


def _footer_in(file: BinaryIO) -> bytes:
    size = regular.size_of(file)
    file.seek(max(size - _TAIL, 0))
    end = file.read(_TAIL)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or length + _TAIL > size:
        raise ValueError("it does not end as a Parquet file does")
    if length > _MOST_FOOTER:
        raise ValueError(f"its footer has {length:,} bytes, which none of a run has")
    file.seek(size - _TAIL - length)
    return file.read(length + _TAIL)


def _parsed(footer: bytes) -> pq.FileMetaData:
    """Returns what a footer says, from the very bytes that were checked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _verified(footer)
    return pq.read_metadata(pa.BufferReader(_MAGIC + footer))


def _verified(footer: bytes) -> int | None:
    """Returns the checksum of the body, None where there is none; raises `ValueError` where the footer's differs."""
    *_, written = [None, *_WRITTEN.finditer(footer)]
    if written is None:
        return None
    first, last = written.span(2)
    if crc32(footer[last:], crc32(_ZEROS, crc32(footer[:first]))) != int(written[2], 16):
        raise ValueError("its checksum differs from its footer")
    return int(written[1], 16)
