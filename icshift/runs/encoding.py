"""How the columns of a run's files are encoded and compressed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

_FEW = ("phase", "site", "name", "layer", "block_sampled", "block_zeros", "block_steps")
"""Columns of which many rows have the same."""


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """Returns the options of a writer for columns of this schema."""
    # A dictionary of numbers that are all different takes five times as long and a fifth more room. Signs and exponents
    # of neighbours are mostly alike: with the bytes of all numbers sorted by place, a third of a window goes.
    return {
        "compression": "lz4",
        "use_dictionary": [field.name for field in schema if field.name in _FEW and not pa.types.is_list(field.type)],
        "write_statistics": False,
        "use_byte_stream_split": _floats(schema),
    }


def _floats(schema: pa.Schema) -> list[str]:
    """Returns the paths of the columns that hold floats, or lists of them."""
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    plain = [field.name for field in schema if pa.types.is_floating(field.type)]
    return plain + [
        f"{name}.list.element" for name in lists if pa.types.is_floating(schema.field(name).type.value_type)
    ]
