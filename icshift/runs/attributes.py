"""The attributes of a `Distribution` as the columns of a window's file, in the kinds in which they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.blocks import BLOCKS, SLICES, Blocks, no_blocks
from icshift.distribution import EXACT, EXAMPLES, Floats
from icshift.runs.columns import REAL, TEXT, WHOLE, Column
from icshift.tails import TAIL

if TYPE_CHECKING:
    import pyarrow as pa

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


def attributes(kind: str, rows: pa.Table) -> dict[str, Any]:
    """Returns the attributes of one kind, of rows of one site in one phase, which have at least its columns."""
    if kind == "moments":
        moments = {name: rows[name].to_numpy() for name in ARRAYS}
        return {**moments, "rank_error": float(rows["rank_error"].to_numpy().max())}
    if kind == "values":
        return {"values": _matrix(rows, "values")}
    if kind == "blocks":
        return {"blocks": _blocks(rows)}
    (column,) = KINDS[kind]
    return {kind: _optional(rows, column)}


def _optional(rows: pa.Table, column: str) -> Floats | None:
    """Returns the lists of a column, or None where they are empty or an older version wrote none."""
    lists = _matrix(rows, column) if column in rows.column_names else None
    return None if lists is None or not lists.shape[1] else lists


def _blocks(rows: pa.Table) -> Blocks | None:
    """Returns the blocks of steps; None of a probe. A run of a format before 3 has none of anything else either."""
    if "block_slices" not in rows.column_names:
        probe = (rows["odd_sampled"].to_numpy() < 0).all()
        return None if probe else no_blocks(len(rows))
    if rows["block_slices"].null_count:
        return None
    slices, sampled, zeros, steps = (_matrix(rows, f"block_{name}") for name in ("slices", "sampled", "zeros", "steps"))
    return Blocks(
        slices.reshape(len(rows), -1, SLICES),
        sampled.astype(np.int64),
        zeros.astype(np.int64),
        steps[0].astype(np.int64),
    )


def _matrix(rows: pa.Table, column: str) -> Floats:
    lists = rows[column].combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy())
    if len(lengths) and (lengths != lengths[0]).any():
        raise ValueError(f"column {column} has lists of several lengths in one site")
    flat: Floats = lists.flatten().to_numpy()
    return flat.reshape(len(lists), -1) if len(lists) else flat.reshape(0, 0)
