"""Reading one file of a run, as `format.py` describes it; `reader.py` puts them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from icshift import regular
from icshift.distribution import Distribution, Ints
from icshift.errors import RunError, message_of
from icshift.runs import columns, sealed
from icshift.runs.attributes import COLUMNS, KINDS, attributes
from icshift.runs.format import PHASES, WINDOW, Site, Window, kept_units
from icshift.runs.held import held
from icshift.runs.manifest import window_of
from icshift.runs.parts import Part, Place, part_of
from icshift.runs.possible import refuse_beyond, refuse_impossible
from icshift.runs.typed import each, entries, text, whole

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_WITHIN = entries({"rows": whole()}, {"phases": each(text), "origin": text})
"""What a file of several windows says of each, beside what every window has."""

MOST_ROWS = 1 << 20
"""Rows of a window's file, if nobody knows the sites."""


Filed: TypeAlias = tuple[Window, Place]
"""A window as one process wrote it, and where that is."""


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


def windows_in(part: Part, run_id: str | None = None) -> list[Filed]:
    """Returns the windows that a file holds, in order, each with its place.

    Raises `RunError` where it is damaged, by its name holds other windows or, with a `run_id`, is of another recording.
    """
    with damage(part.path):
        footer = sealed.footer(part.path)
        columns.refuse_foreign(footer, run_id)
        return windows_of(part, footer.metadata or {}, footer.num_rows)


def windows_of(part: Part, metadata: Mapping[bytes, bytes], rows: int) -> list[Filed]:
    """Returns the windows that a file of so many rows holds. Raises `ValueError` and `LookupError` for what is none."""
    told = regular.parsed(metadata[WINDOW])
    if isinstance(told, list):
        return _placed(part, told, rows)
    window = window_of(told)
    if not window.index == part.first == part.last:
        raise ValueError(f"it holds window {window.index}, and has the name of another")
    said = metadata.get(PHASES)
    return [(window, Place(part.path, phases=None if said is None else _phases(regular.parsed(said))))]


def _placed(part: Part, entries: list[Any], rows: int) -> list[Filed]:
    """Returns the windows of a file of several, of which each has so many rows, one after another."""
    found: list[Filed] = []
    start, before = 0, part.first - 1
    for entry in entries:
        window = window_of(entry)
        _WITHIN(entry, f"window {window.index}")
        if not before < window.index <= part.last:
            raise ValueError(f"it holds window {window.index}, which its name does not say")
        stop = start + entry["rows"]
        phases = tuple(entry["phases"]) if "phases" in entry else None
        found.append((window, Place(part.path, start, stop, phases, entry.get("origin"), len(entries))))
        start, before = stop, window.index
    if start != rows:
        raise ValueError(f"it has {rows:,} rows, and {start:,} of its windows")
    return found


def _phases(said: Any) -> tuple[str, ...]:
    each(text)(said, PHASES.decode())
    return tuple(said)


def read_distributions(
    place: Place, *, sites: Mapping[str, Site] | None = None, most_rows: int = MOST_ROWS, run_id: str | None = None
) -> dict[tuple[str, str], Distribution]:
    """Returns the distributions of one window by phase and site.

    Raises `RunError` where its file is damaged, it has more rows than `most_rows`, or other units than the `sites` by
    name.
    """
    with damage(place.file):
        only = None if place.stop is None else range(place.start, place.stop)
        table = columns.read(place.file, COLUMNS, most_rows=most_rows, run_id=run_id, only=only)
        if (part := part_of(place.file)) is not None:
            _refuse_other_windows(table["window"].to_numpy(), part)
        return _distributions(table, sites or {})


def _refuse_other_windows(windows: Ints, part: Part) -> None:
    """Raises `ValueError` where rows are not all of one window, one that the name of the file says."""
    if len(windows) and ((windows != windows[0]).any() or not part.first <= windows[0] <= part.last):
        raise ValueError(f"it has rows of another window than {part.first}")


def _distributions(table: pa.Table, sites: Mapping[str, Site]) -> dict[tuple[str, str], Distribution]:
    # Rows of the same phase and site stand together.
    (phases, phase), (names, name) = coded(table["phase"]), coded(table["site"])
    changes = (np.diff(phase) != 0) | (np.diff(name) != 0)
    starts = [0, *(np.flatnonzero(changes) + 1).tolist()] if len(phase) else []
    result: dict[tuple[str, str], Distribution] = {}
    numbers = held(table)
    for first, last in zip(starts, [*starts[1:], len(phase)], strict=False):
        key = phases[phase[first]], names[name[first]]
        if key in result:
            raise ValueError(f"it has {key[1]!r} twice in phase {key[0]!r}")
        rows = numbers.part(first, last)
        refuse_other_units(rows.numbers["unit"], sites.get(key[1]))
        found = {name: value for kind in KINDS for name, value in attributes(kind, rows).items()}
        refuse_impossible(found)
        refuse_beyond(found, found)
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
