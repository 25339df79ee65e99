"""One file of several: what some windows' files hold, or some segments of a series, put together a piece at a time.

The rows stay as they are, in their order; small row groups become one. The file is written aside, and takes the place
of those that it is made of by its name (see `parts.py`): it reaches the disk, then its name does, and then they are
deleted. Whenever the process is killed, each window is in exactly one file that stands.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from icshift.runs import merged, sealed
from icshift.runs.encoding import encoding
from icshift.runs.format import RUN_ID, WINDOW, WINDOWS, entry_of
from icshift.runs.parts import Part, name_of
from icshift.runs.resuming import STATE, states_of
from icshift.runs.stream import Stream, row_groups
from icshift.runs.window_file import Filed, damage, windows_of

_WINDOW_ROWS, _SERIES_ROWS = 1 << 10, 1 << 15
"""Rows that a row group has at least, of windows and of series, unless it is the last one: about a megabyte."""


@dataclass(frozen=True)
class Source:
    """A file that others are made of: its numbers from `first` to `last`, which its `rows` stand for.

    Of windows, each is there with the state in which it ended. `table` is what it holds, where that is in memory.
    """

    part: Part
    schema: pa.Schema
    table: pa.Table | None
    first: int
    last: int
    rows: range
    windows: Sequence[Filed] = ()
    states: Sequence[dict[str, Any]] = ()


def source(part: Part, first: int = 0, last: int = sys.maxsize, *, table: pa.Table | None = None) -> Source:
    """Returns what a file gives, whose `table` may be in memory: of windows those of the numbers `first` to `last`.

    Raises `RunError` and `OSError` where it cannot be read.
    """
    with damage(part.path):
        if table is None:
            footer = sealed.footer(part.path)
            schema, metadata, rows = footer.schema.to_arrow_schema(), footer.metadata or {}, footer.num_rows
        else:
            schema, metadata, rows = table.schema, table.schema.metadata, table.num_rows
        every = Source(part, schema.remove_metadata(), table, part.first, part.last, range(rows))
        if part.path.parent.name != WINDOWS:
            return every
        found = list(zip(windows_of(part, metadata, rows), states_of(metadata), strict=True))
    kept = [(filed, state) for filed, state in found if first <= filed[0].index <= last]
    filed, states = [one for one, _ in kept], [state for _, state in kept]
    if len(kept) == len(found):
        return replace(every, windows=filed, states=states)
    numbers = [window.index for window, _ in filed]
    wanted = range(filed[0][1].start, filed[-1][1].stop or 0) if filed else range(0)
    ends = {"first": min(numbers, default=0), "last": max(numbers, default=0)}
    return replace(every, **ends, rows=wanted, windows=filed, states=states)


class Compacted:
    """A file that is being made of others, of one schema and in their order."""

    def __init__(self, sources: Sequence[Source], run_id: str, *, told_apart: bool) -> None:
        """`told_apart`: what windows were read from at first is noted, as `icshift merge` asks for it."""
        self.sources = sources
        self.paths = [one.part.path for one in sources]
        self.held = sum(len(one.windows) or len(one.rows) for one in sources)
        """How many windows it holds, or rows of a series."""
        part = sources[0].part
        of_windows = part.path.parent.name == WINDOWS
        self.path = part.path.with_name(name_of(sources[0].first, sources[-1].last, part.rank))
        metadata = {RUN_ID: run_id.encode()} | (_about(sources, told_apart=told_apart) if of_windows else {})
        schema = sources[0].schema
        self.aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        self._least = _WINDOW_ROWS if of_windows else _SERIES_ROWS
        self._stream = Stream(self.aside, schema.with_metadata(metadata), **encoding(schema))
        self._pieces = self._read()
        self._waiting: list[pa.Table] = []
        self._whole = False

    def go_on(self, size: int) -> bool:
        """Copy so many bytes, or a little more; returns whether all is copied, and the file may take its place."""
        while size > 0 and (piece := next(self._pieces, None)) is not None:
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


def _about(sources: Sequence[Source], *, told_apart: bool) -> dict[bytes, bytes]:
    entries, states = [], []
    for one in sources:
        states += one.states
        for window, place in one.windows:
            rows = len(one.rows) if place.stop is None else place.stop - place.start
            entry = {**entry_of(window), "rows": rows, "phases": list(place.phases or ())}
            if told_apart:
                entry["origin"] = place.origin or merged.origin(place.file)
            entries.append(entry)
    return {WINDOW: json.dumps(entries).encode(), STATE: json.dumps(states).encode()}
