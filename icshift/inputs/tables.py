"""Tables of numbers from CSV and Parquet: their sizes are known before they are read, and of CSV only the rows that are
asked for are kept.

A line of two bytes under a header of thousands of names stands for thousands of numbers, and text takes many times its
bytes: rows are counted first, and a column of text ends the reading where it is met.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from icshift import regular
from icshift.errors import ModelError
from icshift.inputs.rows import drawn, placed

if TYPE_CHECKING:
    import pandas as pd

_MOST_COLUMNS = 1 << 16
_MOST_COLUMNS_OF_PARQUET = 1 << 13
"""Each column takes a tenth of a megabyte while a file of Parquet is read, whatever is in it."""

_LONGEST_LINE = 1 << 24
_LARGEST = 1 << 30
"""Bytes of a CSV file that is read whole."""

_AT_ONCE = 1 << 20
"""Numbers that are parsed at a time."""


def of_csv(path: Path, limit: int | None = None) -> NDArray[np.float32]:
    """Returns the numbers of a CSV file [rows, columns], or `limit` rows as `rows.of_npz` does; what is missing is NaN.

    A first line of numbers is data, any other a header.
    """
    with regular.opened(path) as file:
        size = regular.size_of(file)
        first = file.readline(_LONGEST_LINE)
        names = next(csv.reader([first.decode()]), [])
        lines = bool(first.strip()) + sum(1 for line in iter(lambda: file.readline(_LONGEST_LINE), b"") if line.strip())
    headless = bool(names) and all(map(_is_number, names))
    rows, columns = lines - (not headless), len(names)
    if columns > _MOST_COLUMNS or len(first) == _LONGEST_LINE:
        raise ModelError(f"has more than {_MOST_COLUMNS:,} columns: save the array with numpy.save")
    if regular.is_bomb(size, 4 * rows * columns):
        raise ModelError(
            f"stands for {rows:,} rows of {columns:,} numbers in {size:,} bytes: damaged, or made to deceive"
        )
    if limit is None and size > _LARGEST:
        raise ModelError(f"has {size:,} bytes: read a part of it with a limit, or save the array with numpy.save")
    order = np.arange(rows) if limit is None or rows <= limit else drawn(rows, limit)
    found = np.empty((len(order), columns), np.float32)
    there = 0
    for part in _parts(path, columns, headless=headless):
        here = np.flatnonzero((order >= there) & (order < there + len(part)))
        found[here] = part[order[here] - there]
        there += len(part)
    if there != rows:
        raise ModelError(f"holds {there:,} rows on {rows:,} lines: expected one row a line")
    return found if len(order) == rows else placed(found)


def _parts(path: Path, columns: int, *, headless: bool) -> Iterator[NDArray[np.float32]]:
    """Yields all rows, some at a time."""
    import pandas as pd

    some = max(_AT_ONCE // max(columns, 1), 1)
    with regular.opened(path) as file, pd.read_csv(file, header=None if headless else 0, chunksize=some) as parts:
        for part in parts:
            yield _numbers(part)


def of_parquet(path: Path, _: int | None = None) -> NDArray[np.float32]:
    """Returns the numbers of a file of Parquet [rows, columns], without the columns that are an index of pandas."""
    import pyarrow.parquet as pq
    from pyarrow import types

    with regular.opened(path) as file, pq.ParquetFile(file) as table:
        _refuse_bomb(table.metadata, regular.size_of(file))
        schema = table.schema_arrow
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        names = [name for name in schema.names if name not in index]
        for name in names:
            kind = schema.field(name).type
            if not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
                raise _no_numbers(name, kind)
        return _numbers(table.read(columns=names).to_pandas(ignore_metadata=True))


def _refuse_bomb(footer: Any, size: int) -> None:
    """Raises `ModelError` for a table that takes far more memory than disk: equal values take none there."""
    if footer.num_columns > _MOST_COLUMNS_OF_PARQUET:
        raise ModelError(f"has {footer.num_columns:,} columns: save the array with numpy.save")
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    numbers = sum(chunk.num_values for chunk in chunks)
    unpacked = max(8 * numbers, sum(chunk.total_uncompressed_size for chunk in chunks))
    if regular.is_bomb(size, unpacked) or footer.num_rows * footer.num_columns > max(numbers, 0):
        raise ModelError(f"unpacks from {size:,} bytes to {unpacked:,}: damaged, or made to take all memory")


def _numbers(frame: pd.DataFrame) -> NDArray[np.float32]:
    for name, kind in frame.dtypes.items():
        if len(frame) and kind.kind not in "biuf":
            raise _no_numbers(name, kind)
    return frame.to_numpy(np.float32, na_value=np.nan)


def _no_numbers(column: Any, kind: Any) -> ModelError:
    return ModelError(f"column {column} holds {kind}: expected numbers in all columns")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
