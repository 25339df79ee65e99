"""The attributes of a `Distribution` as the columns of a window's file, in the kinds in which they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift.blocks import BLOCKS, SLICES, Blocks, no_blocks
from icshift.distribution import EXACT, EXAMPLES, Floats, Ints
from icshift.runs import planes
from icshift.runs.columns import REAL, TEXT, WHOLE, Column
from icshift.runs.held import Held, Lists, Packed, repeated
from icshift.tails import TAIL

ARRAYS = ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "w1_error")
"""Columns of a window's file that are arrays of a `Distribution` of the same name."""

WHOSE: Mapping[str, Column] = {
    **dict.fromkeys(("phase", "site"), TEXT),
    **dict.fromkeys(("unit", "window"), WHOLE),
}
"""Columns that say what a row is of."""

KINDS: Mapping[str, Mapping[str, Column]] = {
    "moments": {
        **dict.fromkeys(("count", "nonfinite", "sampled"), WHOLE),
        **dict.fromkeys(("mean", "std", "min", "max", "zero_share", "w1_error", "rank_error"), REAL),
    },
    "values": {"values": Column("real", EXACT)},
    "blocks": {
        "block_slices": Column("real", BLOCKS * SLICES, needed=False, nullable=True, packed=True),
        **dict.fromkeys(
            ("block_sampled", "block_zeros", "block_steps"),
            Column("whole", BLOCKS, needed=False, nullable=True, packed=True),
        ),
        "odd_sampled": Column("whole", needed=False),
    },
    "examples": {"paired_values": Column("real", EXAMPLES, needed=False)},
    "tails": {"tail_values": Column("real", 2 * TAIL, needed=False, packed=True, beside="block_slices")},
}
"""The columns of what is asked for together."""

COLUMNS: Mapping[str, Column] = {
    name: column for columns in (WHOSE, *KINDS.values()) for name, column in columns.items()
}
"""All columns of a window's file."""


def attributes(kind: str, rows: Held) -> dict[str, Any]:
    """Returns the attributes of one kind, of rows of one site in one phase, which have at least its columns."""
    if kind == "moments":
        moments: dict[str, Any] = {name: rows.numbers[name] for name in ARRAYS}
        return moments | {"rank_error": float(rows.numbers["rank_error"].max())}
    if kind == "values":
        return {"values": rows.lists["values"].matrix("values")}
    if kind == "blocks":
        return {"blocks": _blocks(rows)}
    (column,) = KINDS[kind]
    return {kind: _optional(rows, column)}


def _optional(rows: Held, column: str) -> Floats | None:
    """Returns the numbers of a column, or None where there are none in it or an older version wrote no such."""
    if column not in rows:
        return None
    packed = column in rows.packed
    found = _floats(rows, column, 2 * TAIL) if packed else rows.lists[column].matrix(column)
    return found if found.shape[1] else None


def _blocks(rows: Held) -> Blocks | None:
    """Returns the blocks of steps; None of a probe. A run of a format before 3 has none of anything else either."""
    if "block_slices" not in rows:
        odd = rows.numbers["odd_sampled"]
        return None if (odd < 0).all() else no_blocks(len(odd))
    absent = [_absent(rows, f"block_{name}") for name in ("slices", "sampled", "zeros", "steps")]
    if all(none.all() for none in absent) and len(absent[0]):
        return None
    if any(none.any() for none in absent):
        raise ValueError("columns of blocks lack numbers in some rows")
    sampled, zeros, steps = (_whole(rows, f"block_{name}") for name in ("sampled", "zeros", "steps"))
    count = steps.shape[1]
    if "block_slices" in rows.packed:
        slices = _floats(rows, "block_slices", count * SLICES)
    else:
        slices = rows.lists["block_slices"].matrix("block_slices")
    if not sampled.shape == zeros.shape == steps.shape or slices.shape[1] != count * SLICES:
        raise ValueError(f"columns of {count} blocks are not equally long")
    return Blocks(slices.reshape(len(slices), -1, SLICES), sampled, zeros, steps[0].copy())


def _absent(rows: Held, column: str) -> NDArray[np.bool_]:
    """Returns of which rows a column has nothing [rows]."""
    found: Lists | Packed = rows.packed[column] if column in rows.packed else rows.lists[column]
    return np.zeros(1, bool) if found.none is None else found.none


def _floats(rows: Held, column: str, width: int) -> Floats:
    """Returns packed numbers [rows, width], of 4 bytes or of 8 as there are; [rows, 0] where there are none."""
    found = rows.packed[column].matrix(column, 8 * width)
    size = found.shape[1] // width if width else 0
    if found.shape[1] and (size not in (4, 8) or found.shape[1] != size * width):
        raise ValueError(f"column {column} has {found.shape[1]} bytes a row, where {width} numbers are")
    return planes.joined(found, np.dtype(f"<f{size or 4}"))


def _whole(rows: Held, column: str) -> Ints:
    """Returns whole numbers [rows, width]; those that are the same in all rows are there once."""
    if column not in rows.packed:
        return rows.lists[column].matrix(column).astype(np.int64)
    found = rows.packed[column].matrix(column, 4 * BLOCKS)
    if len(found) and not found.strides[0]:
        return repeated(found[0].view("<i4").astype(np.int64), len(found))
    return np.ascontiguousarray(found).view("<i4").astype(np.int64)
