"""What recording a script costs, as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from icshift.record.recorder import Recorder


class Costs:
    """Adds up the seconds that a launcher takes beside its recorders: to find models, to make and close recorders.

    >>> costs = Costs()
    >>> with costs.counting([]):
    ...     pass
    >>> 0 < costs.whole([]) < 1
    True
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._counting = False

    @contextmanager
    def counting(self, recorders: Iterable[Recorder]) -> Iterator[None]:
        """A block whose seconds count, but for those that these recorders count themselves."""
        if self._counting:
            yield
            return
        self._counting, recorders = True, list(recorders)
        theirs, started = _of(recorders), time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - started - (_of(recorders) - theirs)
            self._counting = False

    def add(self, seconds: float) -> None:
        """Count seconds that passed before, or elsewhere."""
        self._seconds += seconds

    def whole(self, recorders: Iterable[Recorder]) -> float:
        """The seconds of all blocks, and those of the recorders."""
        return self._seconds + _of(recorders)


def _of(recorders: Iterable[Recorder]) -> float:
    return sum(recorder.stopwatch.whole for recorder in recorders)
