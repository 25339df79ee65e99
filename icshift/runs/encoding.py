"""How the columns of a run's files are encoded and compressed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

_FEW = ("phase", "site", "name", "layer", "block_sampled", "block_zeros", "block_steps")
"""Columns of which many rows have the same."""

_WHOSE = ("phase", "site", "unit", "window", "step", "name", "layer")
"""Columns that say what a row is of: with the least and the largest of each row group, whoever asks for some rows by
DuckDB, Polars or pyarrow reads those groups alone. Of what was measured nobody asks for a range."""

_VALUES = "values.list.element"
"""What a window holds most of: zstd packs it better and unpacks it as fast; of all else half as fast."""


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """Returns the options of a writer for columns of this schema."""
    # A dictionary of numbers that are all different takes five times as long and a fifth more room. Signs and exponents
    # of neighbours are mostly alike: with the bytes of all numbers sorted by place, a third of a window goes.
    return {
        "compression": {path: "zstd" if path == _VALUES else "lz4" for path in _paths(schema)},
        "use_dictionary": [field.name for field in schema if field.name in _FEW and not pa.types.is_list(field.type)],
        "write_statistics": [field.name for field in schema if field.name in _WHOSE],
        "use_byte_stream_split": _floats(schema),
    }


def _paths(schema: pa.Schema) -> list[str]:
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]


def _floats(schema: pa.Schema) -> list[str]:
    """Returns the paths of the columns that hold floats, or lists of them."""
    kinds = [field.type.value_type if pa.types.is_list(field.type) else field.type for field in schema]
    return [path for path, kind in zip(_paths(schema), kinds, strict=True) if pa.types.is_floating(kind)]
