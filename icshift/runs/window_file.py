"""Reading one file of a run, as `format.py` describes it; `reader.py` puts them together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.blocks import BLOCKS, SLICES, Blocks, no_blocks
from icshift.distribution import EXACT, EXAMPLES, Distribution, Floats, Ints
from icshift.errors import RunError, message_of
from icshift.runs import columns, sealed
from icshift.runs.columns import REAL, TEXT, WHOLE, Column
from icshift.runs.format import PHASES, Site, Window, kept_units, number_in
from icshift.runs.manifest import window_of
from icshift.runs.possible import refuse_impossible
from icshift.runs.typed import each, text
from icshift.tails import TAIL

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

ARRAYS = ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "w1_error")
"""Columns of a window's file that are arrays of a `Distribution` of the same name."""

_COLUMNS: Mapping[str, Column] = {
    **dict.fromkeys(("phase", "site"), TEXT),
    **dict.fromkeys(("unit", "window", "count", "nonfinite", "sampled"), WHOLE),
    **dict.fromkeys(("mean", "std", "min", "max", "zero_share", "w1_error", "rank_error"), REAL),
    "values": Column("real", EXACT),
    "block_slices": Column("real", BLOCKS * SLICES, needed=False, nullable=True),
    **dict.fromkeys(
        ("block_sampled", "block_zeros", "block_steps"), Column("whole", BLOCKS, needed=False, nullable=True)
    ),
    "paired_values": Column("real", EXAMPLES, needed=False),
    "tail_values": Column("real", 2 * TAIL, needed=False),
    "odd_sampled": Column("whole", needed=False),
}

MOST_ROWS = 1 << 20
"""Rows of a window's file, if nobody knows the sites."""


class ChangedError(RunError):
    """What is read was replaced meanwhile."""


@contextmanager
def damage(file: Path) -> Iterator[None]:
    """Raises `RunError`, which names the file as damaged, for whatever goes wrong in the block that reads it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ChangedError(f"{file} was there a moment ago: the run is being recorded, or deleted") from error
    except MemoryError as error:
        raise RunError(f"{file} asks for more memory than there is: damaged, or too large for this machine") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else message_of(error)
        raise RunError(
            f"{file} cannot be read ({told}): the run is damaged; delete the file to read the rest"
        ) from error


def read_window(file: Path, run_id: str | None = None) -> Window:
    """Returns which window a file holds.

    Raises `RunError` where it is damaged, by its name another window or, with a `run_id`, of another recording.
    """
    with damage(file):
        footer = sealed.footer(file)
        columns.refuse_foreign(footer, run_id)
        window = window_of(footer.metadata[b"icshift"])
        if window.index != number_in(file.name):
            raise ValueError(f"it holds window {window.index}, and has the name of another")
        return window


def phases_in(file: Path, run_id: str | None = None) -> list[str] | None:
    """Returns the phases that a window's file says it holds, in their order; None where it does not say.

    Raises `RunError` where it is damaged.
    """
    with damage(file):
        footer = sealed.footer(file)
        columns.refuse_foreign(footer, run_id)
        said = (footer.metadata or {}).get(PHASES)
        if said is None:
            return None
        phases: list[str] = json.loads(said)
        each(text)(phases, PHASES.decode())
        return phases


def read_distributions(
    file: Path, *, sites: Mapping[str, Site] | None = None, most_rows: int = MOST_ROWS, run_id: str | None = None
) -> dict[tuple[str, str], Distribution]:
    """Returns the distributions of one window file by phase and site.

    Raises `RunError` where it is damaged, has more rows than `most_rows`, or other units than the `sites` by name.
    """
    with damage(file):
        table = columns.read(file, _COLUMNS, most_rows=most_rows, run_id=run_id)
        index = number_in(file.name)
        if index is not None and (table["window"].to_numpy() != index).any():
            raise ValueError(f"it has rows of another window than {index}")
        return _distributions(table, sites or {})


def _distributions(table: pa.Table, sites: Mapping[str, Site]) -> dict[tuple[str, str], Distribution]:
    # Rows of the same phase and site stand together.
    (phases, phase), (names, name) = _coded(table["phase"]), _coded(table["site"])
    changes = (np.diff(phase) != 0) | (np.diff(name) != 0)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()] if len(phase) else []
    result: dict[tuple[str, str], Distribution] = {}
    for first, last in zip(starts, [*starts[1:], len(phase)], strict=False):
        key = phases[phase[first]], names[name[first]]
        if key in result:
            raise ValueError(f"it has {key[1]!r} twice in phase {key[0]!r}")
        rows = table.slice(first, last - first).combine_chunks()
        _refuse_other_units(rows["unit"].to_numpy(), sites.get(key[1]))
        result[key] = Distribution(
            **{name: rows[name].to_numpy() for name in ARRAYS},
            values=_matrix(rows, "values"),
            rank_error=float(rows["rank_error"].to_numpy().max()),
            examples=_optional(rows, "paired_values"),
            tails=_optional(rows, "tail_values"),
            blocks=_blocks(rows),
        )
        refuse_impossible(result[key])
    return result


def _coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[Any]]:
    """Returns the words of a column, and for each row the place of its own."""
    if not len(column):
        return [], np.empty(0, int)
    coded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def _refuse_other_units(units: Ints, site: Site | None) -> None:
    """Raises `ValueError` for units out of order, or other ones than a site has where it has as many."""
    if (units[1:] <= units[:-1]).any() or units[0] < 0:
        raise ValueError("units are not in order")
    if site is not None and len(units) == site.recorded and (units != kept_units(site)).any():
        raise ValueError(f"it has other units of {site.name!r} than the manifest")


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
