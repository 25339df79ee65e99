"""The files of a run that one process writes: which are there, and how few of them.

Nobody else writes or deletes them. What a process left that was killed is taken over by whoever goes on after it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from icshift.runs import columns, sealed, segments
from icshift.runs.arrow_arrays import flags
from icshift.runs.compacted import Compacted, source
from icshift.runs.compaction import Compaction
from icshift.runs.durable import names_to_disk, write_aside
from icshift.runs.encoding import encoding
from icshift.runs.format import PHASES, RUN_ID, WINDOWS
from icshift.runs.owner import FOLDERS, contents
from icshift.runs.parts import Part, Place, name_of, part_of, parts_in
from icshift.runs.window_file import damage, windows_in
from icshift.runs.window_table import row_groups

if TYPE_CHECKING:
    import pyarrow as pa

_OF_ROWS = (PHASES, segments.SEGMENT)
"""Keys of what the metadata of a file say of its rows, whoever writes them anew."""


class OwnFiles:
    """The files of process `rank` of the run at a path, whose manifest has this `run_id`.

    `refuse` raises `RunError` where the path is not this process's any more. `told_apart`: it is one of several.
    """

    def __init__(
        self, path: Path, rank: int, run_id: str, refuse: Callable[[], None], *, told_apart: bool = False
    ) -> None:
        self.path = path
        self.touched: dict[Path, None] = {}
        """Folders that hold names which may not have reached the disk."""
        self._rank = rank
        self._run_id = run_id
        self._refuse = refuse
        self._last: tuple[Path, pa.Table | None] = path, None
        """The file that was written last, and what it holds, until that is settled."""
        self._held: dict[Path, int] = {}
        """By file, how many windows or rows of a series it holds."""
        self._compactions = {
            folder: Compaction(run_id, refuse, self._replace, told_apart=told_apart) for folder in FOLDERS
        }

    def take_over(self) -> list[Part]:
        """Take what is there of a process that was stopped, without what it had not finished; returns it, in order.

        Raises `RunError` for what is damaged, or another recording wrote: put together it would count as this one's.
        """
        for file, writer in contents(self.path):
            if writer == self._rank and file.name.startswith("."):
                file.unlink(missing_ok=True)
        found = []
        for folder in FOLDERS:
            stands = [part for part in parts_in(self.path / folder, self._rank + 1) if part.rank == self._rank]
            for file in (self.path / folder).glob(f"[0-9]*.rank{self._rank}.parquet"):
                if file not in {part.path for part in stands}:
                    file.unlink()
            for part in stands:
                windows = folder == WINDOWS
                self._held[part.path] = len(windows_in(part, self._run_id)) if windows else _rows(part, self._run_id)
                self.settle(part.path)
            found += stands
        return found

    def segments(self, folder: str) -> dict[Path, int]:
        """Returns the files of a folder, with how many rows, or windows, each holds."""
        return {file: held for file, held in self._held.items() if file.parent.name == folder}

    def counted(self) -> dict[str, int]:
        """Returns how many windows there are, and how many files in every other folder."""
        found: Counter[str] = Counter()
        for file, held in self._held.items():
            found[file.parent.name] += held if file.parent.name == WINDOWS else 1
        return dict(sorted(found.items()))

    def held(self, path: Path) -> int:
        """Returns how many windows, or rows of a series, a file holds."""
        return self._held[path]

    def window(self, index: int) -> Path:
        """Where the window of this number is written."""
        return self.path / WINDOWS / name_of(index, index, self._rank)

    def places(self) -> dict[int, Place]:
        """Returns where each window is, by its number."""
        return {window.index: place for part in self._windows() for window, place in windows_in(part)}

    def put(self, path: Path, table: pa.Table, about: Mapping[bytes, bytes] | None = None) -> None:
        """Write a file of this run, which says so in its metadata; what a table says of its rows goes with them."""
        self._refuse()
        self._split(path)
        own = {key: value for key, value in (table.schema.metadata or {}).items() if key in _OF_ROWS}
        table = table.replace_schema_metadata({RUN_ID: self._run_id.encode(), **own, **(about or {})})
        self._compactions[path.parent.name].forget(path)
        groups = row_groups(table) if path.parent.name == WINDOWS else ()
        write_aside(path, lambda aside: aside.write_bytes(sealed.parquet(table, groups, **encoding(table.schema))))
        self.touched[path.parent] = None
        self._held[path] = 1 if path.parent.name == WINDOWS else table.num_rows
        self._last = path, table

    def settle(self, path: Path) -> None:
        """A file stays as it is: it may be put into one with others."""
        part = part_of(path)
        written, table = self._last
        self._last = path, None
        if part is not None:
            self._compactions[path.parent.name].add(part, table if written == path else None)

    def discard(self, path: Path) -> None:
        """Delete a file."""
        self._compactions[path.parent.name].forget(path)
        path.unlink(missing_ok=True)
        self._held.pop(path, None)

    def keep_rows(self, path: Path, which: Callable[[pa.Table], Any]) -> None:
        """Delete the other rows of a segment and, where none is left, the file."""
        table = _read(path)
        kept = which(table)
        if not kept.any():
            self.discard(path)
        elif not kept.all():
            self.put(path, table.filter(flags(kept)))
            self.settle(path)

    def about_anew(self, path: Path, about: Mapping[bytes, bytes]) -> None:
        """Write what a file says in its metadata anew."""
        self.put(path, _read(path), about)
        self.settle(path)

    def put_over(self, first: int, last: int, table: pa.Table, about: Mapping[bytes, bytes]) -> None:
        """Write a window in place of all from the number `first` to the `last`, and of whatever comes after them."""
        for part in self._windows():
            if part.first < first <= part.last:
                self.keep_windows(part, part.first, first - 1)
                self.discard(part.path)
        new = self.path / WINDOWS / name_of(first, last, self._rank)
        self.put(new, table, about)
        for part in self._windows():
            if part.first >= first and part.path != new:
                self.discard(part.path)
        self.settle(new)

    def discard_windows(self, first: int) -> None:
        """Delete the files of windows from this number on."""
        for part in self._windows():
            if part.first >= first:
                self.discard(part.path)

    def _windows(self) -> list[Part]:
        return sorted(part for file in self.segments(WINDOWS) if (part := part_of(file)))

    def keep_windows(self, part: Part, first: int, last: int) -> None:
        """Put those windows of a file that have these numbers into one of their own, which stands once that is gone."""
        kept = source(part, first, last)
        if kept.windows:
            one = Compacted([kept], self._run_id, told_apart=False)
            one.go_on(sys.maxsize)
            self._refuse()
            one.aside.replace(one.path)
            names_to_disk(one.path.parent)
            self._held[one.path] = one.held
            self.settle(one.path)

    def put_together(self) -> None:
        """Put files together, a little at a time, where there are many of them."""
        for compaction in self._compactions.values():
            compaction.go_on()

    def end(self) -> None:
        """Leave what is being put together."""
        for compaction in self._compactions.values():
            compaction.end()

    def _replace(self, one: Compacted) -> None:
        for path in one.paths:
            self._held.pop(path, None)
        self._held[one.path] = one.held

    def _split(self, path: Path) -> None:
        """Make room for a file in whose place another one would be: that is left in two, before and after it."""
        new = part_of(path)
        for whole in [part for file in self._held if file.parent == path.parent and (part := part_of(file))]:
            if new is not None and whole.holds(new):
                self.keep_windows(whole, whole.first, new.first - 1)
                self.keep_windows(whole, new.last + 1, whole.last)
                self.discard(whole.path)


def _rows(part: Part, run_id: str) -> int:
    """Returns how many rows of a series a file holds. Raises `RunError` where that is damaged or in another's place."""
    with damage(part.path):
        footer = sealed.footer(part.path)
        columns.refuse_foreign(footer, run_id)
        segments.refuse_other(footer.metadata or {}, part, part.path.parent.name)
        return int(footer.num_rows)


def _read(file: Path) -> pa.Table:
    with damage(file), pq.ParquetFile(file) as opened:
        return opened.read()
