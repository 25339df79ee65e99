"""Files of windows of which a little is read at a time: some columns of the rows of one site.

Rows of a file lie in row groups, those of a large site in one of its own. What is read of one is kept for a while,
since small sites share a group, and so are the footers of files. Where a large row group holds several sites, as in
files of older versions, its columns are kept for good: each site would read them all again.

A footer, which says where everything is, is read once and verified by its checksum, and with it which phase, site,
window and unit each row is of. What is read later is of the same file, and verified by the checksums of its pages.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from icshift.distribution import Ints
from icshift.runs import columns, sealed
from icshift.runs.attributes import COLUMNS, KINDS, WHOSE, attributes
from icshift.runs.columns import Column
from icshift.runs.format import Site
from icshift.runs.held import Held, held
from icshift.runs.parts import Place
from icshift.runs.possible import refuse_beyond, refuse_impossible
from icshift.runs.stored import Stored
from icshift.runs.where import insisting
from icshift.runs.window_file import ChangedError, coded, damage, refuse_other_units

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_KEPT_MOMENTS, _KEPT_BYTES = 1 << 24, 1 << 25
"""Bytes of columns that are kept: of moments, for which sites that lie beside one another come, and of the others."""

_FOOTER_BYTES = 1 << 26
"""Bytes of footers that are kept, with the files open."""

_FOOTER_GROWS = 8
"""So many times as many bytes as on disk a footer takes in memory."""

_MOST_OPEN = 128

_BEYOND = ("blocks", "tails")
"""Kinds that are compared with the moments; `values`, which are asked for alone too, where a file is read whole."""

_TOGETHER = 8
"""Row groups of which moments are read at once, at most: they are a twelfth of a row, and a call takes as long as a
group. They are no more than are still kept when the next site is asked for, after all windows of the one before."""

_ROW_BYTES = 8 * len(KINDS["moments"])
"""Bytes of the moments of a row."""

_LARGE = 1 << 12
"""Rows of a row group that no version wrote which gives large sites one of their own, but for one site alone."""

T = TypeVar("T")


class _Last(Generic[T]):
    """The values that were asked for last, as many as their sizes allow."""

    def __init__(self, most: int, count: int = 1 << 20) -> None:
        self._most, self._count = most, count
        self._size = 0
        self._held: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def pop(self, key: Hashable) -> None:
        """Forget a value."""
        _, size = self._held.pop(key, (None, 0))
        self._size -= size

    def put(self, key: Hashable, value: T, size: int) -> None:
        self._held[key] = value, size
        self._size += size
        while len(self._held) > 1 and (self._size > self._most or len(self._held) > self._count):
            self._size -= self._held.popitem(last=False)[1][1]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one phase and site in a window: the numbers of the first one and of that after the last.

    `units` are those that they are of, None where these are all from 0 on.
    """

    phase: str
    site: str
    start: int
    stop: int
    window: int
    units: Ints | None


@dataclass(frozen=True, eq=False)
class _File:
    """What is known of a file: which rows are in which of its groups, which columns it has, and what it is told by."""

    path: Path
    starts: Sequence[int]
    kinds: Mapping[str, tuple[Mapping[str, Column], columns.Placed]]
    stamp: tuple[int, int, int]
    coded: Sequence[str]
    rows: Sequence[Rows] = ()

    @cached_property
    def firsts(self) -> list[int]:
        """The number of the first row of each phase and site, in each window."""
        return [rows.start for rows in self.rows]

    def widened(self, first: int, last: int, most: int) -> tuple[int, int]:
        """Returns row groups to read in place of these, always the same together, of so many rows at most: these alone
        where they are large."""
        count = len(self.starts) - 1
        together = min(max(most * count // self.starts[-1], 1), _TOGETHER)
        wide = first - first % together, min(last + -last % together, count)
        rows = self.starts[wide[1]] - self.starts[wide[0]]
        return wide if rows <= together * _LARGE else (first, last)

    @cached_property
    def windows(self) -> int:
        """How many windows it holds."""
        return len({rows.window for rows in self.rows})

    @cached_property
    def coarse(self) -> bool:
        """Whether it has a large row group of several sites."""
        large, starts = {a for a, b in pairwise(self.starts) if b - a > _LARGE}, {*self.starts}
        return any(rows.start in large and rows.stop not in starts for rows in self.rows)


class Asked(Mapping[tuple[str, str], Stored]):
    """What a file has of a window, by phase and site, each of which reads of itself what it is asked for.

    It is the same object as long as anybody has it, and forgotten then.
    """

    def __init__(
        self,
        shelf: Shelf,
        place: Callable[[], Place],
        look_again: Callable[[], object],
        window: int,
        sites: Iterable[Site],
        run_id: str | None,
        most_rows: int,
    ) -> None:
        self._shelf, self._place, self._look_again, self._window = shelf, place, look_again, window
        self._run_id, self._most_rows = run_id, most_rows
        self._sites = {site.name: site for site in sites}
        self._given: WeakValueDictionary[tuple[str, str], Stored] = WeakValueDictionary()
        self._find()

    def _find(self) -> None:
        place = self._place()
        self._file = place.file
        self._rows: dict[tuple[str, str], Rows] = {}
        with damage(self._file):
            most = self._most_rows * place.among
            for rows in self._shelf.rows(self._file, place.start, place.stop, self._run_id, most):
                if (rows.phase, rows.site) in self._rows:
                    raise ValueError(f"it has {rows.site!r} twice in phase {rows.phase!r}")
                if rows.site in self._sites:  # Of others the writer was killed before it could name them.
                    self._rows[rows.phase, rows.site] = rows

    def _find_again(self) -> None:
        self._shelf.forget(self._file)
        self._look_again()
        self._find()

    def __getitem__(self, key: tuple[str, str]) -> Stored:
        found = self._given.get(key)
        if found is None:
            rows = self._rows[key]
            found = Stored.at(rows.stop - rows.start, lambda kind: self._attributes(key, kind))
            self._given[key] = found
        return found

    def _attributes(self, key: tuple[str, str], kind: str) -> Mapping[str, Any]:
        """Returns attributes of one kind, from wherever they are now."""
        site = self._sites[key[1]]
        return insisting(
            lambda: self._shelf.attributes(self._file, self._rows[key], kind, self._window, site), self._find_again
        )

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class Shelf:
    """The files of one run that are read a little at a time."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}
        self._windows = 0
        self._open: _Last[pq.ParquetFile] = _Last(_FOOTER_BYTES, _MOST_OPEN)
        self._moments: _Last[Held] = _Last(_KEPT_MOMENTS)
        self._columns: _Last[Held] = _Last(_KEPT_BYTES)
        self._whole: dict[Hashable, Held] = {}

    def rows(self, path: Path, first: int, last: int | None, run_id: str | None, most_rows: int) -> Sequence[Rows]:
        """Returns what the rows `first` to `last` (excluded; None: all from there) of a file are of, in order.

        Raises `RunError` where the file is damaged or another recording wrote it.
        """
        with damage(path):
            if path not in self._files:
                self._files[path] = self._look(path, run_id, most_rows)
                self._windows += self._files[path].windows
            file = self._files[path]
        first = bisect_left(file.firsts, first)
        return file.rows[first : None if last is None else bisect_left(file.firsts, last)]

    def forget(self, path: Path) -> None:
        """A file is gone, or another one is in its place."""
        if (file := self._files.pop(path, None)) is not None:
            self._windows -= file.windows
        self._open.pop(path)

    def attributes(self, path: Path, rows: Rows, kind: str, window: int, site: Site | None) -> Mapping[str, Any]:
        """Returns the attributes of one kind of what lies in these rows of a file that `rows` was asked about.

        Raises `RunError` where they are damaged, or of other units than the site has, and `ChangedError` where the file
        is gone or was replaced.
        """
        with damage(path):
            file = self._files[path]
            if rows.window != window:
                raise ValueError(f"it has rows of another window than {window}")
            if kind == "moments":
                refuse_other_units(np.arange(rows.stop - rows.start) if rows.units is None else rows.units, site)
            found = attributes(kind, self._read(file, kind, rows.start, rows.stop))
            refuse_impossible(found)
            if kind in _BEYOND:
                refuse_beyond(found, self._read(file, "moments", rows.start, rows.stop).numbers)
            return found

    def _look(self, path: Path, run_id: str | None, most_rows: int) -> _File:
        stamp = _stamp(path.stat())
        footer = sealed.footer(path)
        columns.refuse_foreign(footer, run_id)
        placed, groups = columns.places(footer, COLUMNS), range(footer.num_row_groups)
        whose = [one for one in placed if one[1] in WHOSE]
        columns.unpacked(footer, groups, whose, stamp[1], most_rows)
        counts = [footer.row_group(group).num_rows for group in groups]
        kinds = {}
        for kind, wanted in KINDS.items():
            of_kind = [one for one in placed if one[1] in wanted]
            kinds[kind] = {name: column for _, name, column in of_kind}, of_kind
        coded = [name for _, name, column in placed if column.coded]
        file = _File(path, list(accumulate(counts, initial=0)), kinds, stamp, coded)
        table = self._opened(file, footer).read(columns=list(WHOSE), use_threads=False)
        columns.refuse_nothing(table, WHOSE)
        return replace(file, rows=_stretches(table))

    def _read(self, file: _File, kind: str, start: int, stop: int) -> Held:
        """Returns the columns of a kind of some rows, which are at least one."""
        first = bisect_right(file.starts, start) - 1
        last = bisect_left(file.starts, stop)
        if kind == "moments":
            with suppress(OSError, ValueError):  # What is damaged of others is told whoever asks for those.
                wide = file.widened(first, last, _KEPT_MOMENTS // _ROW_BYTES // self._windows)
                return self._groups(file, kind, *wide).part(start - file.starts[wide[0]], stop - file.starts[wide[0]])
        return self._groups(file, kind, first, last).part(start - file.starts[first], stop - file.starts[first])

    def _groups(self, file: _File, kind: str, first: int, last: int) -> Held:
        """Returns the columns of a kind of the row groups from `first` to `last` (excluded)."""
        key = file.path, kind, first, last
        kept = self._moments if kind == "moments" else self._columns
        found = self._whole.get(key) if file.coarse else kept.get(key)
        if found is None:
            there, placed = file.kinds[kind]
            opened, groups, rows = self._opened(file), range(first, last), file.starts[last] - file.starts[first]
            columns.unpacked(opened.metadata, groups, placed, file.stamp[1], rows)
            table = opened.read_row_groups(groups, columns=list(there), use_threads=False)
            columns.refuse_nothing(table, there)
            found = held(table)
            if file.coarse:
                self._whole[key] = found
            else:
                kept.put(key, found, table.nbytes)
        return found

    def _opened(self, file: _File, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
        import pyarrow as pa
        import pyarrow.parquet as pq

        found = self._open.get(file.path)
        if found is None:
            footer = footer or sealed.footer(file.path)
            handle = pa.OSFile(str(file.path))  # Which closes itself where it is forgotten.
            # A file that was replaced is never put back, and pyarrow 17 does not tell which one it opened.
            if file.stamp != _stamp(file.path.stat()):
                raise ChangedError(f"{file.path} was replaced while it was read: try again")
            options = {"page_checksum_verification": True, "read_dictionary": file.coded}
            found = pq.ParquetFile(handle, metadata=footer, **options)
            self._open.put(file.path, found, _FOOTER_GROWS * footer.serialized_size)
        return found


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _stretches(table: pa.Table) -> list[Rows]:
    """Returns the rows of each phase and site in a table, which stand together, in each window that it has."""
    if not len(table):
        return []
    (phases, phase), (names, name) = coded(table["phase"]), coded(table["site"])
    window, unit = table["window"].to_numpy(), table["unit"].to_numpy()
    changes = (np.diff(phase) != 0) | (np.diff(name) != 0) | (np.diff(window) != 0)
    starts = np.array([0, *(np.flatnonzero(changes) + 1)])
    lengths = np.diff(starts, append=len(table))
    from_0 = np.logical_and.reduceat(unit == np.arange(len(table)) - np.repeat(starts, lengths), starts)
    of_each = zip(
        [phases[place] for place in phase[starts].tolist()],
        [names[place] for place in name[starts].tolist()],
        starts.tolist(),
        (starts + lengths).tolist(),
        window[starts].tolist(),
        strict=True,
    )
    return [
        Rows(*each, None if usual else unit[each[2] : each[3]].copy())
        for each, usual in zip(of_each, from_0.tolist(), strict=True)
    ]
