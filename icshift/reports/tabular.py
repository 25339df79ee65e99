"""Data frames as CSV, JSON or Parquet bytes; which one is told by a file's suffix."""

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
    """Comma-separated, one header line, full precision, NaN as an empty field."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def as_json(frame: pd.DataFrame) -> bytes:
    """A list of objects, one a row, NaN as null."""
    return to_json(frame.to_dict(orient="records")).encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    """Apache Parquet, zstd."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


FORMATS: dict[str, Callable[[Any], bytes]] = {".csv": as_csv, ".json": as_json, ".parquet": as_parquet}


def by_suffix(suffix: str) -> Callable[[pd.DataFrame], bytes]:
    """The renderer for a file's suffix. Raises `SelectionError` for one that is not known."""
    if suffix.lower() not in FORMATS:
        raise unknown("export format", suffix or "(no suffix)", FORMATS)
    return FORMATS[suffix.lower()]


def written_report(path: Path, rows: int, table: str, missing: Sequence[str] = ()) -> Report:
    """What was written to a file: so many rows of a table, or why there is none; `missing` metrics have no values."""
    nothing = (
        "one window leaves nothing to compare"
        if table == "drift"
        else f"recorder.{table.replace('-', '_')}(closure) was not called while it was recorded"
    )
    said = f"{path}: {rows:,} rows" if rows else f"{path}: no rows: {nothing}"
    if missing:
        said += f"; {', '.join(missing)} without values: they compare the same examples, which takes a probe"
    return Report(body=(Text(said, style="dim", no_wrap=True),))


def to_json(value: Any) -> str:
    """JSON text with NaN and infinities as null, so that every parser takes it."""
    return json.dumps(_finite(value), indent=1) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
