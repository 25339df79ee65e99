"""When a recorder writes: windows as they close, and in between what would be lost with the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from icshift.distribution import Distribution
from icshift.runs.format import LOGGED, Seen, Site, Window
from icshift.runs.writer import Recording

FLUSH_SECONDS = 10.0
"""Step rows are written at least so often while recording."""

_SNAPSHOT_SHARE = 0.02
"""The open window is written with them, unless that takes more than this share of the time since the last time."""


@dataclass(frozen=True)
class Open:
    """Functions that return what is known of the open window so far.

    `distributions` by phase and site; `inputs`: which examples each phase saw; `logged`: rows of the series `LOGGED`
    that came since the last call.
    """

    distributions: Callable[[], dict[tuple[str, Site], Distribution]]
    inputs: Callable[[], dict[str, Seen | None]]
    logged: Callable[[], list[dict[str, Any]]]


class Journal:
    """Keeps the number, name and first step of the open window, and writes it with `recording`.

    `seen` is what that window holds, `state` returns the entries of the manifest that change. Every method that writes
    raises `OSError` where the disk is full or the path is gone.
    """

    def __init__(
        self,
        recording: Recording,
        seen: Open,
        state: Callable[[], dict[str, Any]],
    ) -> None:
        self._recording = recording
        self._seen = seen
        self._state = state
        self.window = Window(index=1, name="1", first_step=0, last_step=0, closed=False)
        self._flushed = self._snapshot = time.perf_counter()
        self._snapshot_cost = 0.0

    def close_window(self, name: str | None, step: int, parameter_change: float | None) -> None:
        """Write the open window, which ends before `step`, and all that waits; begin the next one.

        `name` is by default the window's number; `parameter_change` is that of the model over the window, or None.
        """
        closed = replace(
            self._up_to(step), name=name or str(self.window.index), closed=True, parameter_change=parameter_change
        )
        self._recording.write_window(closed, self._seen.distributions())
        following = self.window.index + 1
        self.window = Window(following, str(following), step, step, closed=False)
        self._snapshot = time.perf_counter()
        self.flush()

    def flush_if_due(self, step: int) -> None:
        """Every `FLUSH_SECONDS`, write what waits and, where that costs little, the open window as far as it goes."""
        now = time.perf_counter()
        if now - self._flushed < FLUSH_SECONDS:
            return
        if self._snapshot_cost <= _SNAPSHOT_SHARE * (now - self._snapshot):
            self._recording.write_window(self._up_to(step), self._seen.distributions())
            self._snapshot = time.perf_counter()
            self._snapshot_cost = self._snapshot - now
        self.flush()

    def flush(self) -> None:
        """Write the rows of all series that wait, and the manifest."""
        if rows := self._seen.logged():
            self._recording.append_measured(LOGGED, rows)
        self._recording.flush()
        self._recording.update(self._state())
        self._flushed = time.perf_counter()

    def _up_to(self, step: int) -> Window:
        return replace(self.window, last_step=max(step - 1, self.window.first_step), inputs=self._seen.inputs())
