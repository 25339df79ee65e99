"""The attributes of a `Distribution` as the columns of a window's file, in the kinds in which they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from icshift.blocks import BLOCKS, SLICES, Blocks, no_blocks
from icshift.distribution import EXACT, EXAMPLES, Floats
from icshift.runs.columns import REAL, TEXT, WHOLE, Column
from icshift.runs.held import Held
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
        "block_slices": Column("real", BLOCKS * SLICES, needed=False, nullable=True),
        **dict.fromkeys(
            ("block_sampled", "block_zeros", "block_steps"), Column("whole", BLOCKS, needed=False, nullable=True)
        ),
        "odd_sampled": Column("whole", needed=False),
    },
    "examples": {"paired_values": Column("real", EXAMPLES, needed=False)},
    "tails": {"tail_values": Column("real", 2 * TAIL, needed=False)},
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
    """Returns the lists of a column, or None where they are empty or an older version wrote none."""
    lists = rows.lists[column].matrix(column) if column in rows else None
    return None if lists is None or not lists.shape[1] else lists


def _blocks(rows: Held) -> Blocks | None:
    """Returns the blocks of steps; None of a probe. A run of a format before 3 has none of anything else either."""
    if "block_slices" not in rows:
        odd = rows.numbers["odd_sampled"]
        return None if (odd < 0).all() else no_blocks(len(odd))
    none = rows.lists["block_slices"].none
    if none is not None and none.any():
        return None
    slices, sampled, zeros, steps = (
        rows.lists[f"block_{name}"].matrix(f"block_{name}") for name in ("slices", "sampled", "zeros", "steps")
    )
    return Blocks(
        slices.reshape(len(slices), -1, SLICES),
        sampled.astype(np.int64),
        zeros.astype(np.int64),
        steps[0].astype(np.int64),
    )
