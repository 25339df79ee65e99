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

MAGIC = b"PAR1"
_TAIL = 8
"""Bytes after the footer: its length and the magic number."""

_READ = 1 << 20
"""Bytes that are read at once."""

_MOST_FOOTER = 1 << 26


def parquet(table: pa.Table, groups: Sequence[int] = (), **options: Any) -> memoryview:
    """Returns the bytes of a Parquet file of a table, with the checksums. `options` are those of `ParquetWriter`.

    `groups` are the numbers of rows of its row groups; without any they are all in one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata(with_room(table.schema))
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True, **options) as writer:
        start = 0
        for rows in groups or (len(table),):
            writer.write_table(table.slice(start, rows), row_group_size=max(rows, 1))
            start += rows
    content = bytearray(sink.getvalue())
    footer = len(content) - end_length(content)
    content[footer:] = summed(content[footer:], crc32(memoryview(content)[:footer]))
    return memoryview(content)


def with_room(schema: pa.Schema) -> dict[bytes, bytes]:
    """Returns the metadata of a schema with zeros where the checksums will be."""
    return {**(schema.metadata or {}), CHECKSUMS: _WORDS % 0 + _ZEROS}


def end_length(content: bytes | bytearray) -> int:
    """Returns how many bytes at the end are the footer, its length and the magic number."""
    return _TAIL + int.from_bytes(content[-_TAIL:-4], "little")


def summed(footer: bytearray, body: int) -> bytearray:
    """Returns a footer with the checksums of a body and of itself in it."""
    place = footer.rindex(_WORDS % 0 + _ZEROS)
    words = _WORDS % body
    footer[place : place + len(words)] = words
    digits = slice(place + len(words), place + len(words) + len(_ZEROS))
    footer[digits] = b"%08x" % crc32(footer)
    return footer


def footer(path: Path) -> pq.FileMetaData:
    """Returns what the footer of a file says, without reading the rest. Raises as `opened` and `checked` do."""
    with regular.opened(path) as file:
        return _parsed(footer_in(file))


def content(path: Path, most: int) -> bytes:
    """Returns the bytes of a file of at most so many, its checksums verified.

    Raises `OSError` where it has more, and `ValueError` where a checksum differs.
    """
    read = regular.content(path, most)
    start = max(len(read) - end_length(read), 0)
    sums = verified(read[start:])
    if sums is not None and crc32(memoryview(read)[:start]) != sums:
        raise ValueError("its checksum differs from its content")
    return read


def verify(path: Path) -> None:
    """Reads a file of any size whole. Raises `ValueError` where a checksum differs from its content."""
    with regular.opened(path) as file:
        footer = footer_in(file)
        sums, left = verified(footer), regular.size_of(file) - len(footer)
        file.seek(0)
        found = 0
        while left and (read := file.read(min(left, _READ))):
            found, left = crc32(read, found), left - len(read)
        if left or (sums is not None and found != sums):
            raise ValueError("its checksum differs from its content")


def is_sealed(path: Path) -> bool:
    """Returns whether a file has checksums at all."""
    with regular.opened(path) as file:
        return verified(footer_in(file)) is not None


def footer_in(file: BinaryIO) -> bytes:
    """Returns the end of an open file: its footer, the length of that and the magic number."""
    size = regular.size_of(file)
    file.seek(max(size - _TAIL, 0))
    end = file.read(_TAIL)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MAGIC or length + _TAIL > size:
        raise ValueError("it does not end as a Parquet file does")
    if length > _MOST_FOOTER:
        raise ValueError(f"its footer has {length:,} bytes, which none of a run has")
    file.seek(size - _TAIL - length)
    return file.read(length + _TAIL)


def _parsed(footer: bytes) -> pq.FileMetaData:
    """Returns what a footer says, from the very bytes that were checked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    verified(footer)
    return pq.read_metadata(pa.BufferReader(MAGIC + footer))


def verified(footer: bytes) -> int | None:
    """Returns the checksum of the body, None where there is none; raises `ValueError` where the footer's differs."""
    *_, written = [None, *_WRITTEN.finditer(footer)]
    if written is None:
        if CHECKSUMS in footer:
            raise ValueError("its checksums are damaged")
        return None
    first, last = written.span(2)
    if crc32(footer[last:], crc32(_ZEROS, crc32(footer[:first]))) != int(written[2], 16):
        raise ValueError("its checksum differs from its footer")
    return int(written[1], 16)
