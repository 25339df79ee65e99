"""Reading one file of a run, as `format.py` describes it; `reader.py` puts them together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.distribution import Distribution, Ints
from icshift.errors import RunError, message_of
from icshift.runs import columns, sealed
from icshift.runs.attributes import COLUMNS, KINDS, attributes
from icshift.runs.format import PHASES, Site, Window, kept_units, number_in
from icshift.runs.manifest import window_of
from icshift.runs.possible import refuse_impossible
from icshift.runs.typed import each, text

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

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
        table = columns.read(file, COLUMNS, most_rows=most_rows, run_id=run_id)
        index = number_in(file.name)
        if index is not None and (table["window"].to_numpy() != index).any():
            raise ValueError(f"it has rows of another window than {index}")
        return _distributions(table, sites or {})


def _distributions(table: pa.Table, sites: Mapping[str, Site]) -> dict[tuple[str, str], Distribution]:
    # Rows of the same phase and site stand together.
    (phases, phase), (names, name) = coded(table["phase"]), coded(table["site"])
    changes = (np.diff(phase) != 0) | (np.diff(name) != 0)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()] if len(phase) else []
    result: dict[tuple[str, str], Distribution] = {}
    for first, last in zip(starts, [*starts[1:], len(phase)], strict=False):
        key = phases[phase[first]], names[name[first]]
        if key in result:
            raise ValueError(f"it has {key[1]!r} twice in phase {key[0]!r}")
        rows = table.slice(first, last - first).combine_chunks()
        refuse_other_units(rows["unit"].to_numpy(), sites.get(key[1]))
        found = {name: value for kind in KINDS for name, value in attributes(kind, rows).items()}
        refuse_impossible(found)
        result[key] = Distribution(**found)
    return result


def coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[Any]]:
    """Returns the words of a column, and for each row the place of its own."""
    if not len(column):
        return [], np.empty(0, int)
    coded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def refuse_other_units(units: Ints, site: Site | None) -> None:
    """Raises `ValueError` for units out of order, or other ones than a site has where it has as many."""
    if (units[1:] <= units[:-1]).any() or units[0] < 0:
        raise ValueError("units are not in order")
    if site is not None and len(units) == site.recorded and (units != kept_units(site)).any():
        raise ValueError(f"it has other units of {site.name!r} than the manifest")
