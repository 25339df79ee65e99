"""When files of a run are put together, so that a run of any length has few of them.

Files are of a *level*: those of less than `SMALL` bytes of level 0, those of up to `FAN` times as many of level 1, and
so on. As soon as `FAN` of one level follow one another they become one (`compacted.py`), of at most 4 GB, so that each
number is written three times more at most, however long the run is, and small files some more. What is copied follows
what is written, so that nothing waits long: with every flush a megabyte or twice the file that came last, a level.

Nothing that goes wrong here is in the way of the recording: the files that are there stay, and it is tried again later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from icshift.errors import RunError
from icshift.runs.compacted import Compacted, source
from icshift.runs.durable import names_to_disk
from icshift.runs.parts import Part, part_of, parts_in

FAN = 16
"""Files of a level that become one."""

SMALL = 1 << 20
"""Bytes of a file of level 0 at most."""

LARGEST = 2
"""The level of the largest files that are put together."""

_KEPT = 1 << 18
"""Bytes of a file whose rows are kept in memory until it is put together with others: it need not be read."""

_PATIENCE = 16
"""Flushes that pass before it is tried again what went wrong."""


@dataclass(frozen=True)
class _Known:
    part: Part
    size: int
    table: pa.Table | None = None

    @property
    def level(self) -> int:
        return level(self.size)


def level(size: int) -> int:
    """Returns the level of a file of so many bytes.

    >>> [level(size) for size in (0, SMALL, FAN * SMALL - 1, FAN * SMALL)]
    [0, 1, 1, 2]
    """
    return 0 if size < SMALL else 1 + int(math.log2(size / SMALL) / math.log2(FAN))


def due(levels: Sequence[int]) -> range | None:
    """Returns which files, of these levels one after another, are to become one; None where there are few of each.

    Those of lower levels between them go with them.

    >>> due([1] + 16 * [0]), due(15 * [0]), due(16 * [1] + 3 * [0]), due(16 * [1] + [3])
    (range(1, 17), None, range(0, 16), None)
    """
    for wanted in range(LARGEST + 1):
        first = len(levels)
        while first and levels[first - 1] <= wanted:
            first -= 1
        places = [place for place in range(first, len(levels)) if levels[place] == wanted]
        if len(places) >= FAN:
            return range(places[0], places[-1] + 1)
    return None


class Compaction:
    """Puts the files of one folder together that a process writes there, with the `id` of its run.

    `told_apart`: it is one of several processes (see `Compacted`). `refuse` raises where the path is not this process's
    any more; `replaced` is called with what took the place of others.
    """

    def __init__(
        self, run_id: str, refuse: Callable[[], None], replaced: Callable[[Compacted], None], *, told_apart: bool
    ) -> None:
        self._run_id = run_id
        self._refuse = refuse
        self._replaced = replaced
        self._told_apart = told_apart
        self._known: list[_Known] = []
        """Files that stay as they are, in order."""
        self._running: list[Compacted] = []
        self._left: list[Path] = []
        """Files in whose place another one is, which are still there."""
        self._size = 0
        """Bytes of the file that was written last."""
        self._patience = 0

    def add(self, part: Part, table: pa.Table | None = None) -> None:
        """A file was written that stays as it is; its `table` is kept in memory where it is small."""
        self.forget(part.path)
        try:
            self._size = part.path.stat().st_size
        except OSError:  # As where the run was deleted: whoever writes next is told.
            return
        if self._known and part < self._known[-1].part:  # As of a window that was lost and is recorded anew.
            self.end()
        known = _Known(part, self._size, table if self._size < _KEPT else None)
        self._known = sorted([*self._known, known], key=lambda known: known.part)

    def forget(self, path: Path) -> None:
        """A file was deleted, or is not what it was."""
        self._known = [known for known in self._known if known.part.path != path]
        self._left = [left for left in self._left if left != path]
        for one in [one for one in self._running if path in one.paths]:
            self._give_up(one)

    def go_on(self) -> bool:
        """Copy a little of what is due, and return whether there was anything.

        Raises `RunError` where the path is not this process's any more.
        """
        if self._patience:
            self._patience -= 1
            return False
        try:
            self._delete_left()
            self._begin()
            copied = bool(self._running)
            for one in list(self._running):
                if one.go_on(max(SMALL, 2 * self._size)):
                    self.put(one)
        except RunError:
            self.end()
            raise
        except Exception as error:  # noqa: BLE001  (Nothing is lost, whatever it is: the recording goes on.)
            if not isinstance(error, OSError) or error.errno is None:  # What is read is damaged, not the disk full.
                self._leave(self._running[-1].sources[-1].part if self._running else self._known[-1].part)
            self._patience = _PATIENCE
            self.end()
            return False
        return copied

    def end(self) -> None:
        """Leave what is under way: the files are there."""
        for one in list(self._running):
            self._give_up(one)
        with suppress(OSError):
            self._delete_left()

    def put(self, one: Compacted) -> None:
        """Put a file that is whole in place of those that it is made of. Raises `OSError` where that fails."""
        self._refuse()
        one.aside.replace(one.path)
        self._running = [other for other in self._running if other is not one]
        self._left += [path for path in one.paths if path != one.path]
        places = [number for number, known in enumerate(self._known) if known.part.path in one.paths]
        part = part_of(one.path)
        if part is not None and places:
            self._known[places[0] : places[-1] + 1] = [_Known(part, one.path.stat().st_size)]
        self._replaced(one)
        self._delete_left()

    def _delete_left(self) -> None:
        if self._left:
            names_to_disk(self._left[0].parent)
        while self._left:
            self._left[-1].unlink(missing_ok=True)
            self._left.pop()

    def _begin(self) -> None:
        busy = {path for one in self._running for path in one.paths}
        free = len(self._known)
        while free and self._known[free - 1].part.path not in busy:
            free -= 1
        places = due([known.level for known in self._known[free:]])
        if places is None:
            return
        wanted = self._known[free:][places.start : places.stop]
        try:
            sources = [source(known.part, table=known.table) for known in wanted]
        except RunError:  # A damaged file stays as it is: whoever reads is told.
            self._leave(wanted[-1].part)
            return
        other = [one.part for one in sources if not one.schema.equals(sources[-1].schema)]
        if _between([one.part for one in sources]):
            self._leave(wanted[-1].part)
        elif other:
            self._leave(other[-1])
        else:
            self._refuse()
            self._running.append(Compacted(sources, self._run_id, told_apart=self._told_apart))

    def _leave(self, last: Part) -> None:
        """Leave the files up to this one as they are for good."""
        self._known = [known for known in self._known if known.part.first > last.last]

    def _give_up(self, one: Compacted) -> None:
        self._running.remove(one)
        with suppress(OSError):
            one.abandon()


def _between(parts: Sequence[Part]) -> bool:
    """Whether there is a file between some of one folder, which would not stand beside what is made of these."""
    first, last = parts[0], parts[-1]
    there = parts_in(first.path.parent, first.rank + 1)
    return any(part.rank == first.rank and first < part < last and part not in parts for part in there)
