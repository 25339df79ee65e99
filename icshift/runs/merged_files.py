"""Writing merged windows: each to a file at first, and files put together as those of a recording are.

Several may merge at once, and be killed at any moment: a file is deleted where all that it holds is in one that stands,
or where nothing would read it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby

from icshift.distribution import Distribution
from icshift.errors import RunError
from icshift.runs import sealed
from icshift.runs.compacted import Compacted, source
from icshift.runs.compaction import Compaction
from icshift.runs.durable import ASIDE, aside_of
from icshift.runs.encoding import encoding
from icshift.runs.format import PHASES, RUN_ID, WINDOW, Site, Window, entry_of
from icshift.runs.merged import Merged, MergedFile, digest
from icshift.runs.parts import Part, Place, name_of, part_of, parts_in
from icshift.runs.window_table import row_groups, window_table

_COPIED = 1 << 20
"""Bytes that are copied at once."""

_ABANDONED = 3600.0
"""Seconds after which nobody writes to a file aside any more."""


class MergedFiles:
    """The files of `merged`, for the one who merges. What nothing would read is deleted at once.

    `places` returns where a window of the run is, and raises `KeyError` where it has none of this number.
    """

    def __init__(self, merged: Merged, run_id: str, places: Callable[[int], Sequence[Place]]) -> None:
        self._folder = merged.folder
        self._run_id = run_id
        self._places = places
        self._compaction = Compaction(run_id, _go_on, _go_on, told_apart=False)
        with suppress(OSError):
            self._take_over(merged.files())

    def keep(self, window: Window, made_of: str, distributions: Mapping[tuple[str, Site], Distribution]) -> None:
        """Writes a window, merged of what has this digest, whole or not at all. Raises `RunError` where it cannot."""
        file = self._folder / name_of(window.index, window.index, 0)
        part = Part(0, window.index, window.index, file)
        table = window_table(window.index, distributions)
        phases = json.loads((table.schema.metadata or {})[PHASES])
        entry = {**entry_of(window), "rows": table.num_rows, "phases": phases, "origin": made_of}
        table = table.replace_schema_metadata({WINDOW: json.dumps([entry]), RUN_ID: self._run_id})
        aside = aside_of(file)
        try:
            self._folder.mkdir(exist_ok=True)
            aside.write_bytes(sealed.parquet(table, row_groups(table), **encoding(table.schema)))
            aside.replace(file)
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise RunError(f"{file} cannot be written: {error.strerror or error}; the run is as it was") from error
        if not any(other.holds(part) for other in parts_in(self._folder, 1)):
            self._compaction.add(part, table)
            self._compaction.go_on()

    def put_together(self) -> None:
        """Put together all that there is to be."""
        while self._compaction.go_on():
            pass

    def end(self) -> None:
        """Leave what is being put together."""
        self._compaction.end()

    def _take_over(self, files: Sequence[MergedFile]) -> None:
        held, near = set[int](), list[MergedFile]()
        for file in files:
            if file.windows.keys() <= held or not self._in_date(file):
                with suppress(OSError):
                    file.part.path.unlink()
                continue
            if near and file.part.first > max(other.part.last for other in near):
                self._add(near)
                near = []
            near.append(file)
            held |= file.windows.keys()
        if near:
            self._add(near)
        for aside in self._folder.iterdir():
            named = ASIDE.fullmatch(aside.name)
            if named and part_of(aside.with_name(named[1])) and time.time() - aside.stat().st_mtime > _ABANDONED:
                aside.unlink(missing_ok=True)

    def _add(self, near: Sequence[MergedFile]) -> None:
        """Takes over a file, or several that overlap, as of some who merged at once: as one, or the first where that
        cannot be written."""
        part = near[0].part
        if len(near) > 1:
            with suppress(OSError, RunError):
                part = self._joined(near) or part
        self._compaction.add(part)

    def _joined(self, near: Sequence[MergedFile]) -> Part | None:
        """Puts all windows of files that overlap into one file, and returns it; None where they are not alike."""
        where: dict[int, Part] = {}
        for file in near:
            where = {**dict.fromkeys(file.windows, file.part), **where}
        sources = []
        for part, numbers in groupby(sorted(where), where.__getitem__):
            first, *more = numbers
            sources.append(source(part, first, more[-1] if more else first))
        if any(not one.schema.equals(sources[0].schema) for one in sources):
            return None
        one = Compacted(sources, self._run_id, told_apart=False)
        try:
            while not one.go_on(_COPIED):
                pass
            self._compaction.put(one)
        except BaseException:
            one.abandon()
            raise
        return part_of(one.path)

    def _in_date(self, file: MergedFile) -> bool:
        """Whether a file is whole and holds no window that the run has otherwise."""
        try:
            sealed.verify(file.part.path)
            for index, place in file.windows.items():
                with suppress(KeyError):  # A later one, which the run had not when it was opened.
                    if digest(self._places(index)) != place.origin:
                        return False
        except (OSError, ValueError):
            return False
        return True


def _go_on(_: object = None) -> None:
    """Nobody else has the path, and nobody is told of a file that took the place of others."""
