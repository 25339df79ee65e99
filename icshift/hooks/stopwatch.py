"""How much of a training's time recording takes: what passes within blocks of ours, and how much they slow the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any


class Place:
    """Where a thread is on a timeline: the blocks of stopwatches that it is in."""

    __slots__ = ("open", "since")

    def __init__(self) -> None:
        self.open: list[Stopwatch] = []
        """One for each block, that of the innermost block last."""
        self.since = 0.0
        """When the innermost block began, or went on after one within it."""


class Timeline(threading.local):
    """The clock that blocks of stopwatches are timed by, and where this thread is."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.place = Place()  # An object: what is local to a thread is found ten times as slowly as what is in it.


_everything = Timeline()


@contextmanager
def apart(clock: Callable[[], float] | None = None) -> Iterator[None]:
    """A block that counts for the one that it is in, and within which stopwatches are timed as if they were in none.

    Those that are made within it go by another `clock`, if one is given.
    """
    line = _everything
    before = line.place, line.clock
    line.place, line.clock = Place(), clock or line.clock
    try:
        yield
    finally:
        line.place, line.clock = before


class Stopwatch:
    """Adds up the seconds spent in its `with` blocks. Threads add to each other's.

    Of blocks within one another, of several stopwatches too, each second counts for the innermost: what all stopwatches
    of a timeline show together has no second twice, and none is lost between them.

    >>> clock = iter(range(100))
    >>> line = Timeline(lambda: next(clock))
    >>> outer, inner = Stopwatch(line), Stopwatch(line)
    >>> with outer:  # From 0 to 1.
    ...     with inner, inner:  # From 1 to 2.
    ...         pass  # And the rest of `outer` from 2 to 3.
    >>> outer.seconds, inner.seconds, outer.blocks, inner.blocks
    (2.0, 1.0, 1, 0)
    """

    def __init__(self, timeline: Timeline = _everything) -> None:
        self.seconds = 0.0
        """Those of all blocks, as far as they have ended."""
        self.blocks = 0
        """How many blocks have ended that were within no other: so often was the training interrupted."""
        self.touches = 0
        """How often hooks were called that did nothing or next to it, blocks of `times` among them."""
        self.beside: float | None = None
        """Seconds by which a block slows the training beside its own; None where that is not known."""
        self.touch = 0.0
        """The same of a touch."""
        self._timeline = timeline
        self.clock = timeline.clock
        """Returns the time, in seconds, that blocks are timed by."""

    def __enter__(self) -> None:
        place = self._timeline.place
        if not place.open:
            place.since = self.clock()
        elif place.open[-1] is not self:
            place.open[-1]._count(place)
        place.open.append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        place = self._timeline.place
        if self not in place.open:
            return
        while place.open.pop() is not self:  # One within it that was kept from its end.
            pass
        if not place.open:
            self.seconds += self.clock() - place.since
            self.blocks += 1
        elif place.open[-1] is not self:
            self._count(place)

    @contextmanager
    def times(self, many: int) -> Iterator[None]:
        """A block like so many others, which are not timed: what it takes, they take. They count as touches."""
        before, blocks = self.seconds, self.blocks
        with self:
            yield
        self.seconds += (many - 1) * (self.seconds - before)
        self.blocks, self.touches = blocks, self.touches + many

    def stop(self) -> None:
        """Ends its blocks, in this thread, that were kept from their end, as by Ctrl-C: they would hide later ones."""
        place = self._timeline.place
        place.open = [watch for watch in place.open if watch is not self]

    def now(self) -> float:
        """Returns the time, in seconds, by the clock that blocks are timed by."""
        return self.clock()

    @property
    def whole(self) -> float:
        """The seconds so far, of open blocks too, and those by which blocks slowed the training beside their own."""
        place = self._timeline.place
        if place.open and place.open[-1] is self:
            self._count(place)
        return self.seconds + self.blocks * (self.beside or 0.0) + self.touches * self.touch

    def overhead(self, started: float, behind: float = 0.0) -> dict[str, Any]:
        """Returns the entries of a manifest: the seconds of `whole`, and those since `started`, of the same clock.

        `behind` are seconds of another thread that come to them: it had a processor, perhaps the training's.
        Where it is not known what is beside the blocks, `at_least` says that it was more. It is not known either where
        the estimate of it leaves no time for the training: then it is too high, and those within blocks are told.
        """
        self.seconds += behind
        whole, wall = self.whole, self.clock() - started
        known = self.beside is not None and whole < wall
        told = min(whole if known else self.seconds, wall)
        seconds = {"recording_seconds": round(told, 6), "wall_seconds": round(wall, 6)}
        return seconds if known else {**seconds, "at_least": True}

    def _count(self, place: Place) -> None:
        now = self.clock()
        self.seconds += now - place.since
        place.since = now
