"""Data frames as bytes of CSV, JSON or Parquet; the suffix of a file names the format."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from icshift.errors import unknown
from icshift.reports.report import Report
from icshift.reports.tables import counted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def as_csv(frame: pd.DataFrame) -> bytes:
    """Returns comma-separated values with one header line, in full precision, NaN as an empty field.

    Of numbers, flags and plain words by pyarrow, in a tenth of the time that pandas takes for the rest.
    """
    if not len(frame) or not all(_is_plain(frame[name]) for name in frame.columns):
        return frame.to_csv(index=False, lineterminator="\n").encode()
    import pyarrow as pa
    from pyarrow.csv import WriteOptions, write_csv

    whole = {name for name in frame.columns if frame[name].dtype.kind == "f" and _is_whole(frame[name])}
    sink = pa.BufferOutputStream()
    sink.write(frame.iloc[:0].to_csv(index=False, lineterminator="\n").encode())
    for start in range(0, len(frame), _ROWS):
        table = pa.Table.from_pandas(frame.iloc[start : start + _ROWS], preserve_index=False, nthreads=1)
        columns = [_in_words(table[name], whole=name in whole) for name in table.column_names]
        options = WriteOptions(include_header=False, quoting_style="none")
        write_csv(pa.table(columns, names=table.column_names), sink, options)
    return bytes(sink.getvalue())


_ROWS = 100_000
"""Rows of CSV that are written at once."""


def _is_plain(column: pd.Series[Any]) -> bool:
    """Whether a column holds numbers, flags, or words that need no quotes."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return True
    if isinstance(column.dtype, pd.CategoricalDtype):
        words = list(column.cat.categories)
    elif column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        try:
            words = list(column.dropna().unique())
        except TypeError:  # Lists, which have no hash.
            return False
    else:
        return False
    return all(isinstance(word, str) and word and not re.search(r'[",\r\n]', word) for word in words)


def _is_whole(column: pd.Series[Any]) -> bool:
    """Whether a column holds whole numbers alone: written as such, they would be read as integers."""
    known = column.dropna()
    return bool((known.abs() < 2**53).all() and (known == known.round()).all())


def _in_words(column: pa.ChunkedArray, *, whole: bool) -> pa.ChunkedArray:
    """Returns a column as the CSV writer takes it: flags as pandas spells them, words one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if whole:
        return pc.binary_join_element_wise(column.cast(pa.int64()).cast(pa.string()), ".0", "")
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "True", "False")
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def as_json(frame: pd.DataFrame) -> bytes:
    """Returns a JSON list with one object per row, NaN and infinities as null."""
    return to_json(frame.to_dict(orient="records")).encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    """Returns an Apache Parquet file, compressed with zstd."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


FORMATS: dict[str, Callable[[Any], bytes]] = {".csv": as_csv, ".json": as_json, ".parquet": as_parquet}


def by_suffix(suffix: str) -> Callable[[pd.DataFrame], bytes]:
    """Returns the function that renders a data frame for a suffix. Raises `SelectionError` for an unknown suffix."""
    if suffix.lower() not in FORMATS:
        raise unknown("export format", suffix or "(no suffix)", FORMATS)
    return FORMATS[suffix.lower()]


def no_rows(table: str) -> str:
    """Returns in words why a run has no rows of a table."""
    if table == "drift":
        return "nothing to compare: no site is in a window and in its reference"
    return f"recorder.{table.replace('-', '_')}(closure) was not called while it was recorded"


def written_report(path: Path, rows: int, missing: Sequence[str] = (), notes: Sequence[str] = ()) -> Report:
    """Returns the report on a written file: the number of its rows, or why the drift of a run has none.

    `missing` are the metrics without values; `notes` say how to read it.
    """
    line = f"{path}: {counted(rows, 'row')}" if rows else f"{path}: no rows: {no_rows('drift')}"
    if missing:
        line += f"; {', '.join(missing)} without values: they compare the same examples, which takes a probe"
    return Report(body=(Text(line, style="dim", no_wrap=True),), notes=tuple(notes))


def to_json(value: Any) -> str:
    """Returns JSON text with NaN and infinities as null, so that every parser takes it."""
    return json.dumps(_finite(value), indent=1) + "\n"


def to_json_line(value: Any) -> str:
    """Returns the same on one line."""
    return json.dumps(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
