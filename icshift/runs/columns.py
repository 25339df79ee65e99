"""Columns of a run's files, read as what they are meant to be: types, widths and numbers of rows are compared before
anything is read, and no file unpacks into far more than is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from icshift import regular
from icshift.runs import sealed
from icshift.runs.format import RUN_ID

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SMALL = 1 << 26
_UNPACKED = 300
"""Files unpack into at most so many times what they have on disk, or `_SMALL` bytes; lz4 makes 255 of one."""

_MOST_NAMES = 1 << 26
"""Bytes of all names of phases and sites in a file, each counted once for a page."""


@dataclass(frozen=True)
class Column:
    """What a column holds: text, whole or real numbers, one a row or, with a `width`, at most so many.

    Files of some versions lack it unless it is `needed`; a row may have nothing where it is `nullable`. Several numbers
    are lists or, where they are `packed`, bytes, which files of older versions have lists in place of. A file whose
    bytes of the column `beside` are packed has this one too.

    A column is `shared` in a file that keeps bytes once which many rows have, as those do that were written anew.
    """

    kind: Literal["text", "whole", "real"]
    width: int | None = None
    needed: bool = True
    nullable: bool = False
    packed: bool = False
    beside: str | None = None
    shared: bool = False

    @property
    def coded(self) -> bool:
        """Whether what is the same in many rows is read once, with its place for each row."""
        return self.kind == "text" or (self.packed and (self.kind == "whole" or self.shared))


TEXT, WHOLE, REAL = Column("text"), Column("whole"), Column("real")


def read(
    file: Path,
    columns: Mapping[str, Column],
    *,
    most_rows: int,
    run_id: str | None = None,
    only: range | Sequence[tuple[str, str, Any]] | None = None,
) -> pa.Table:
    """Returns the columns of a file that are there: of all rows or of those `only`, by their numbers or by filters.

    Checksums are verified: of rows by their numbers, those of the pages that they lie in. With a `run_id`, a file of
    another recording is refused. Raises `OSError` and `ValueError` for whatever is not as it should be.
    """
    footer = sealed.footer(file)
    refuse_foreign(footer, run_id)
    some = only if isinstance(only, range) else None
    there, decoded, first, groups = checked(footer, columns, file.stat().st_size, most_rows, some)
    if isinstance(only, range):
        table = _read_groups(file, footer, groups, there).slice(only.start - first, len(only))
    else:
        table = _read_whole(sealed.content(file, 4 * decoded + _SMALL), there, only)
    refuse_nothing(table, there)
    return table


def checked(
    footer: pq.FileMetaData, columns: Mapping[str, Column], size: int, most_rows: int, rows: range | None = None
) -> tuple[dict[str, Column], int, int, list[int]]:
    """Returns the columns that a file has of these, how many bytes they are in memory, all or those of the row groups
    that hold some `rows`, and the number of the first row in these, and which they are.

    Raises `ValueError` where one is missing or of another type, or holds more than one of so many rows, in a file of
    this size, can hold.
    """
    there = places(footer, columns)
    first, groups = _groups(footer, range(footer.num_rows) if rows is None else rows)
    found = {name: column for _, name, column in there}
    # In the order in which they were asked for.
    return (
        {name: found[name] for name in columns if name in found},
        unpacked(footer, groups, there, size, most_rows),
        first,
        groups,
    )


Placed = Sequence[tuple[int, str, Column]]
"""Columns with their places and names in a file."""


def places(footer: pq.FileMetaData, columns: Mapping[str, Column]) -> Placed:
    """Returns the columns that a file has of these, and where: lists may be in several places in a damaged one.

    Those are `shared` of which it keeps bytes once: not all its row groups need to. Raises `ValueError` where one is of
    another type, or missing and needed.
    """
    schema, groups = footer.schema, [footer.row_group(group) for group in range(footer.num_row_groups)]
    there = _typed(schema.to_arrow_schema().remove_metadata(), tuple(columns.items()))
    names = [schema.column(place).path.split(".")[0] for place in range(footer.num_columns)]
    return [(place, name, _as_kept(there[name], place, groups)) for place, name in enumerate(names) if name in there]


def unpacked(footer: pq.FileMetaData, groups: Sequence[int], columns: Placed, size: int, most_rows: int) -> int:
    """Returns how many bytes these columns of some row groups are in memory. Raises `ValueError` as `checked` does."""
    decoded = _decoded(footer, groups, columns, most_rows)
    if decoded > max(_SMALL, _UNPACKED * size):
        raise ValueError(f"it unpacks to {decoded:,} bytes from {size:,}, which no file of a run does")
    return decoded


def refuse_nothing(table: pa.Table, columns: Mapping[str, Column]) -> None:
    """Raises `ValueError` where a column has nothing in a row, and may not."""
    for name, column in columns.items():
        if not column.nullable and table[name].null_count:
            raise ValueError(f"column {name} lacks numbers")


def _read_groups(file: Path, footer: pq.FileMetaData, groups: Sequence[int], columns: Mapping[str, Column]) -> pa.Table:
    import pyarrow.parquet as pq

    options = {"metadata": footer, "page_checksum_verification": True, "read_dictionary": _coded(columns)}
    with regular.opened(file) as opened, pq.ParquetFile(opened, **options) as parquet:
        return parquet.read_row_groups(groups, columns=list(columns))


def _read_whole(
    content: bytes, columns: Mapping[str, Column], filters: Sequence[tuple[str, str, Any]] | None
) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pa.BufferReader(content)
    if filters:
        return pq.read_table(source, columns=list(columns), filters=list(filters), page_checksum_verification=True)
    options = {"page_checksum_verification": True, "read_dictionary": _coded(columns)}
    with pq.ParquetFile(source, **options) as opened:  # Not `read_table`, which imports pandas.
        return opened.read(columns=list(columns))


def _coded(columns: Mapping[str, Column]) -> list[str]:
    return [name for name, column in columns.items() if column.coded]


def _groups(footer: pq.FileMetaData, rows: range) -> tuple[int, list[int]]:
    """Returns which row groups hold these rows, and the number of the first row in them."""
    ends = np.cumsum([footer.row_group(group).num_rows for group in range(footer.num_row_groups)], dtype=np.int64)
    if not 0 <= rows.start <= rows.stop <= footer.num_rows or (ends[:-1] > ends[1:]).any():
        raise ValueError(f"it has {footer.num_rows:,} rows, where {rows.stop:,} should be")
    first, last = np.searchsorted(ends, rows.start, side="right"), np.searchsorted(ends, rows.stop, side="left")
    groups = list(range(int(first), min(int(last) + 1, len(ends)))) if len(rows) else []
    return int(ends[first - 1]) if groups and first else 0, groups


def refuse_foreign(footer: pq.FileMetaData, run_id: str | None) -> None:
    """Raises `ValueError` where a file says that another recording wrote it."""
    written = (footer.metadata or {}).get(RUN_ID)
    if run_id is not None and written is not None and written != run_id.encode():
        raise ValueError("another recording wrote it than the manifest")


@lru_cache(maxsize=64)
def _typed(schema: pa.Schema, columns: tuple[tuple[str, Column], ...]) -> dict[str, Column]:
    """Returns the columns that are there. Raises `ValueError` where one is of another type, or missing and needed.

    Remembered, since the files of a run are mostly alike.
    """
    there: dict[str, Column] = {}
    for name, column in columns:
        if schema.names.count(name) == 1:
            kind = schema.field(name).type
            unpacked = replace(column, packed=False)
            if not _fits(kind, column) and not _fits(kind, unpacked):
                raise ValueError(f"column {name} holds {kind}")
            there[name] = column if _fits(kind, column) else unpacked
        elif column.needed or name in schema.names:
            raise ValueError(
                f"column {name} is missing" if name not in schema.names else f"column {name} is twice there"
            )
    for name, column in columns:
        if name not in there and column.beside in there and there[column.beside].packed:
            raise ValueError(f"column {name} is missing")
    return there


def _as_kept(column: Column, place: int, groups: Sequence[pq.RowGroupMetaData]) -> Column:
    if column.packed and any(group.column(place).has_dictionary_page for group in groups):
        return replace(column, shared=True)
    return column


def _fits(kind: pa.DataType, column: Column) -> bool:
    from pyarrow import types

    if column.nullable and types.is_null(kind):
        return True  # A column in which no row has anything.
    if column.packed:
        return bool(types.is_binary(kind))
    if column.width is not None:
        if not types.is_list(kind):
            return False
        kind = kind.value_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_kind = {"text": types.is_string, "whole": types.is_integer, "real": types.is_floating}[column.kind]
    return bool(is_kind(kind))


def _decoded(footer: pq.FileMetaData, groups: Sequence[int], columns: Placed, most_rows: int) -> int:
    """Returns the bytes that these columns of some row groups have in memory, by the footer.

    Raises `ValueError` for more than there can be.
    """
    inside = [footer.row_group(group) for group in groups]
    rows, names, packed = sum(group.num_rows for group in inside), 0, 0
    if not 0 <= rows <= most_rows:
        raise ValueError(f"it has {rows:,} rows, where the manifest leaves room for {most_rows:,}")
    held: dict[str, int] = {}
    for group in inside:
        for place, name, column in columns:
            chunk = group.column(place)
            held[name] = held.get(name, 0) + max(chunk.num_values, 0)
            if column.kind == "text":
                names += max(chunk.total_uncompressed_size, 0)
            if column.packed:
                packed += max(chunk.total_uncompressed_size, 0)
    for _, name, column in columns:
        if held.get(name, 0) > rows * (1 if column.packed else max(column.width or 1, 1)):
            raise ValueError(f"column {name} has {held[name]:,} numbers in {rows:,} rows")
    if names > _MOST_NAMES:
        raise ValueError(f"its names take {names:,} bytes")
    # Bytes that many rows share are there for each of them once they are numbers.
    widths = {name: column.width or 1 for _, name, column in columns if column.shared}
    return 8 * sum(count * widths.get(name, 1) for name, count in held.items()) + names + packed
