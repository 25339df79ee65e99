"""Reading one file of a run, as `format.py` describes it; `reader.py` puts them together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icshift.blocks import SLICES, Blocks, no_blocks
from icshift.distribution import Distribution, Floats
from icshift.errors import RunError
from icshift.runs.format import Window, window_of

if TYPE_CHECKING:
    import pyarrow as pa

ARRAYS = ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "w1_error")
"""Columns of a window's file that are arrays of a `Distribution` of the same name."""


class ChangedError(RunError):
    """What is read was replaced meanwhile."""


@contextmanager
def damage(file: Path) -> Iterator[None]:
    """Raises `RunError`, which names the file as damaged, for whatever goes wrong in the block that reads it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ChangedError(f"{file} was there a moment ago: the run is being recorded, or deleted") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(
            f"{file} cannot be read ({error}): the run is damaged; delete the file to read the rest"
        ) from error


def read_window(file: Path) -> Window:
    """Returns which window a file holds. Raises `RunError` where it is damaged."""
    import pyarrow.parquet as pq

    with damage(file):
        return window_of(json.loads(pq.read_schema(file).metadata[b"icshift"]))


def read_distributions(file: Path) -> dict[tuple[str, str], Distribution]:
    """Returns the distributions of one window file by phase and site. Raises `RunError` where it is damaged."""
    import pyarrow.parquet as pq

    with damage(file), pq.ParquetFile(file) as opened:  # Not `read_table`, which imports pandas.
        return _distributions(opened.read())


def _distributions(table: pa.Table) -> dict[tuple[str, str], Distribution]:
    # Rows of the same phase and site stand together.
    phases, sites = table["phase"].to_pylist(), table["site"].to_pylist()
    starts = [i for i in range(len(phases)) if not i or (phases[i], sites[i]) != (phases[i - 1], sites[i - 1])]
    result = {}
    for first, last in zip(starts, [*starts[1:], len(phases)], strict=True):
        rows = table.slice(first, last - first).combine_chunks()
        arrays = {name: rows[name].to_numpy() for name in ARRAYS}
        result[phases[first], sites[first]] = Distribution(
            **arrays,
            values=_matrix(rows, "values"),
            rank_error=float(rows["rank_error"][0].as_py()),
            examples=_optional(rows, "paired_values"),
            tails=_optional(rows, "tail_values"),
            blocks=_blocks(rows),
        )
    return result


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
    lists = rows[column].chunk(0)
    return lists.flatten().to_numpy().reshape(len(lists), -1)
