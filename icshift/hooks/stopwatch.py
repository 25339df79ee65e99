"""How much of a training's time recording takes."""

from __future__ import annotations

import time
from types import TracebackType


class Stopwatch:
    """Adds up the seconds spent in its `with` blocks; a block within a block counts once. For one thread at a time.

    >>> watch = Stopwatch()
    >>> with watch, watch:
    ...     pass
    >>> watch.seconds > 0
    True
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """Those of all blocks that have ended."""
        self._depth = 0
        self._started = 0.0

    def __enter__(self) -> None:
        if not self._depth:
            self._started = time.perf_counter()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self.seconds += time.perf_counter() - self._started

    def overhead(self, started: float) -> dict[str, float]:
        """Returns the entries of a manifest: its seconds, and those since `started`, a value of `time.perf_counter`."""
        wall = time.perf_counter() - started
        return {"recording_seconds": round(self.seconds, 6), "wall_seconds": round(wall, 6)}
