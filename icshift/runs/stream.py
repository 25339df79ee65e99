"""Parquet files of any size, written and read a row group after another, with the checksums of `sealed.py`."""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zlib import crc32

from icshift import regular
from icshift.runs.sealed import MAGIC, end_length, footer_in, summed, verified, with_room

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


class Stream:
    """A Parquet file with the checksums that is written a row group after another. `options` are those of a writer.

    What it is given in a child of the process that made it changes nothing.
    """

    def __init__(self, path: Path, schema: pa.Schema, **options: Any) -> None:
        import pyarrow.parquet as pq

        self._sink = _Sink(path)
        schema = schema.with_metadata(with_room(schema))
        self._writer = pq.ParquetWriter(self._sink, schema, write_page_checksum=True, **options)

    def write(self, table: pa.Table) -> None:
        """Append a row group."""
        self._writer.write_table(table, row_group_size=max(len(table), 1))

    def to_disk(self) -> None:
        """Have what was written reach the disk."""
        self._sink.to_disk()

    def close(self) -> None:
        """Write what is left, and have it reach the disk."""
        self._sink.end = bytearray()
        self._writer.close()
        end, self._sink.end = self._sink.end, None
        body = end[: -end_length(end)]
        self._sink.write(body)
        self._sink.write(summed(end[len(body) :], self._sink.sum))
        self.to_disk()
        self._sink.shut()

    def abandon(self) -> None:
        """Delete the file."""
        self._sink.end = bytearray()
        with suppress(Exception):  # What could not be written whole.
            self._writer.close()
        self._sink.drop()


class _Sink(io.RawIOBase):
    """A file that knows the CRC-32 of what it holds, or keeps what it is given as an `end`. It is deleted where the
    process ends before it is shut."""

    def __init__(self, path: Path) -> None:
        self.sum = 0
        self.end: bytearray | None = None
        self._file = path.open("wb", buffering=0)
        self._process = os.getpid()
        self.drop = weakref.finalize(self, _drop, self._file, path, self._process)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = len(data)
        if self.end is not None:
            self.end += data
        elif os.getpid() == self._process and self.drop.alive:  # A writer closes itself after its file was deleted.
            self.sum = crc32(data, self.sum)
            left = memoryview(data).cast("B")
            while len(left):
                left = left[self._file.write(left) :]
        return size

    def to_disk(self) -> None:
        os.fsync(self._file.fileno())

    def shut(self) -> None:
        self.drop.detach()
        self._file.close()


def _drop(file: BinaryIO, path: Path, process: int) -> None:
    if os.getpid() == process:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            path.unlink()


def row_groups(path: Path) -> Iterator[pa.Table]:
    """Yields the row groups of a file of any size, all columns. Raises `ValueError`, with the last one at the latest,
    where a checksum differs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with regular.opened(path) as other, pa.OSFile(str(path)) as file:
        sums, end = verified(end_of := footer_in(other)), regular.size_of(other)
        footer = pq.read_metadata(pa.BufferReader(MAGIC + end_of))
        starts = [_start(footer.row_group(group)) for group in range(footer.num_row_groups)]
        ends = [*starts[1:], end - len(end_of)]
        found = crc32(_read(other, 0, starts[0] if starts else ends[0]))
        with pq.ParquetFile(file, metadata=footer, page_checksum_verification=True) as parquet:
            for group, (first, last) in enumerate(zip(starts, ends, strict=True)):
                found = crc32(_read(other, first, last), found)
                if last == ends[-1] and sums is not None and found != sums:
                    raise ValueError("its checksum differs from its content")
                yield parquet.read_row_group(group, use_threads=False)


def _start(group: pq.RowGroupMetaData) -> int:
    chunks = [group.column(place) for place in range(group.num_columns)]
    offsets = [chunk.data_page_offset for chunk in chunks]
    offsets += [chunk.dictionary_page_offset for chunk in chunks if chunk.dictionary_page_offset]
    return min(offsets)


def _read(file: BinaryIO, first: int, last: int) -> bytes:
    file.seek(first)
    return file.read(last - first)
