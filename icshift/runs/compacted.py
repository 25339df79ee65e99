"""One file of several: what some windows' files hold, or some segments of a series, put together a piece at a time.

The rows stay as they are, in their order; small row groups become one. The file is written aside, and takes the place
of those that it is made of by its name (see `parts.py`): it reaches the disk, then its name does, and then they are
deleted. Whenever the process is killed, each window is in exactly one file that stands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from icshift.runs import merged, sealed, segments
from icshift.runs.durable import aside_of
from icshift.runs.encoding import encoding
from icshift.runs.format import MERGED, PHASES, RUN_ID, WINDOW, WINDOWS
from icshift.runs.parts import Part, name_of
from icshift.runs.resuming import STATE, states_of
from icshift.runs.stream import Stream, row_groups
from icshift.runs.window_file import damage

_OF_WINDOWS = (WINDOWS, MERGED)
"""Folders of files that hold windows."""

_WINDOW_ROWS, _SERIES_ROWS = 1 << 10, 1 << 15
"""Rows that a row group has at least, of windows and of series, unless it is the last one: about a megabyte."""


@dataclass(frozen=True)
class Source:
    """A file that others are made of: its numbers from `first` to `last`, which its `rows` stand for.

    `windows` are what it says of each in its metadata, `states` those in which they ended. `told` is whether a file of
    a series says which segments it holds. `table` is what it holds, where that is in memory.
    """

    part: Part
    schema: pa.Schema
    table: pa.Table | None
    first: int
    last: int
    rows: range
    windows: Sequence[dict[str, Any]] = ()
    states: Sequence[dict[str, Any]] = ()
    told: bool = False


def source(part: Part, first: int = 0, last: int = sys.maxsize, *, table: pa.Table | None = None) -> Source:
    """Returns what a file gives, whose `table` may be in memory: of windows those of the numbers `first` to `last`.

    Raises `RunError` and `OSError` where it cannot be read, and `RunError` where it stands in another's place.
    """
    with damage(part.path):
        if table is None:
            footer = sealed.footer(part.path)
            schema, metadata, rows = footer.schema.to_arrow_schema(), footer.metadata or {}, footer.num_rows
        else:
            schema, metadata, rows = table.schema, table.schema.metadata, table.num_rows
        every = Source(part, schema.remove_metadata(), table, part.first, part.last, range(rows))
        if part.path.parent.name not in _OF_WINDOWS:
            segments.refuse_other(metadata or {}, part, part.path.parent.name)
            return replace(every, told=segments.SEGMENT in (metadata or {}))
        found = list(zip(_entries(metadata, rows), states_of(metadata), strict=True))
    kept = [(entry, state) for entry, state in found if first <= entry["index"] <= last]
    entries, states = [entry for entry, _ in kept], [state for _, state in kept]
    if len(kept) == len(found):
        return replace(every, windows=entries, states=states)
    starts = np.cumsum([0, *(entry["rows"] for entry, _ in found)])
    places = [place for place, (entry, _) in enumerate(found) if first <= entry["index"] <= last]
    wanted = range(int(starts[places[0]]), int(starts[places[-1] + 1])) if places else range(0)
    ends = {"first": entries[0]["index"], "last": entries[-1]["index"]} if entries else {}
    return replace(every, **ends, rows=wanted, windows=entries, states=states)


def _entries(metadata: Mapping[bytes, bytes], rows: int) -> list[dict[str, Any]]:
    """Returns what a file says of its windows, each with its rows and phases."""
    told = json.loads(metadata[WINDOW])
    if isinstance(told, list):
        return told
    phases = {"phases": json.loads(metadata[PHASES])} if PHASES in metadata else {}  # Older files do not say.
    origin = {"origin": metadata[merged.MADE_OF].decode()} if merged.MADE_OF in metadata else {}
    return [{**told, "rows": rows, **phases, **origin}]


class Compacted:
    """A file that is being made of others, of one schema and in their order."""

    def __init__(self, sources: Sequence[Source], run_id: str, *, told_apart: bool) -> None:
        """`told_apart`: what windows were read from at first is noted, as `icshift merge` asks for it."""
        self.sources = sources
        self.paths = [one.part.path for one in sources]
        self.held = sum(len(one.windows) or len(one.rows) for one in sources)
        """How many windows it holds, or rows of a series."""
        part = sources[0].part
        of_windows = part.path.parent.name in _OF_WINDOWS
        self.path = part.path.with_name(name_of(sources[0].first, sources[-1].last, part.rank))
        about = _about_windows(sources, told_apart=told_apart) if of_windows else _about_segments(sources)
        metadata = {RUN_ID: run_id.encode()} | about
        schema = sources[0].schema
        self.aside = aside_of(self.path)
        self._least = _WINDOW_ROWS if of_windows else _SERIES_ROWS
        self._stream = Stream(self.aside, schema.with_metadata(metadata), **encoding(schema))
        self._pieces = self._read()
        self._waiting: list[pa.Table] = []
        self._whole = False

    def go_on(self, size: int) -> bool:
        """Copy so many bytes, or a little more; returns whether all is copied, and the file may take its place."""
        while size > 0 and (piece := next(self._pieces, None)) is not None:
            if len(piece) >= self._least:  # As of a large site, which is read alone.
                self._write()
            self._waiting.append(piece)
            size -= piece.nbytes
            if sum(map(len, self._waiting)) >= self._least:
                self._write()
        if size > 0:
            self._write()
            self._stream.close()
            self._whole = True
        return self._whole

    def abandon(self) -> None:
        """Leave all as it is."""
        if self._whole:
            self.aside.unlink(missing_ok=True)
        else:
            self._stream.abandon()

    def _read(self) -> Iterator[pa.Table]:
        for one in self.sources:
            before = 0
            for piece in row_groups(one.part.path) if one.table is None else (one.table,):
                start, stop = (min(max(row - before, 0), len(piece)) for row in (one.rows.start, one.rows.stop))
                yield piece.slice(start, stop - start)
                before += len(piece)

    def _write(self) -> None:
        if any(map(len, self._waiting)):
            whole = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
            self._stream.write(whole)
        self._waiting.clear()


def _about_windows(sources: Sequence[Source], *, told_apart: bool) -> dict[bytes, bytes]:
    entries = [
        {**entry, "origin": entry.get("origin") or merged.origin(one.part.path)} if told_apart else entry
        for one in sources
        for entry in one.windows
    ]
    states = [state for one in sources for state in one.states]
    return {WINDOW: json.dumps(entries).encode(), STATE: json.dumps(states).encode()}


def _about_segments(sources: Sequence[Source]) -> dict[bytes, bytes]:
    """Returns nothing where one of them, as of an older version, does not say what it holds: its name alone does."""
    first, last = sources[0], sources[-1]
    known = all(one.told for one in sources)
    return segments.about(first.part.path.parent.name, first.first, last.last) if known else {}
