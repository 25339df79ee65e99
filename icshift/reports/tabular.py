"""Data frames as bytes of CSV, JSON or Parquet; the suffix of a file names the format."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from icshift.errors import unknown
from icshift.reports.report import Report

if TYPE_CHECKING:
    import pandas as pd


def as_csv(frame: pd.DataFrame) -> bytes:
    """Returns comma-separated values with one header line, in full precision, NaN as an empty field."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


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
        return "one window leaves nothing to compare"
    return f"recorder.{table.replace('-', '_')}(closure) was not called while it was recorded"


def written_report(path: Path, rows: int, missing: Sequence[str] = (), notes: Sequence[str] = ()) -> Report:
    """Returns the report on a written file: the number of its rows, or why the drift of a run has none.

    `missing` are the metrics without values; `notes` say how to read it.
    """
    line = f"{path}: {rows:,} rows" if rows else f"{path}: no rows: {no_rows('drift')}"
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
