"""What a recording does where it cannot write: it waits for the fault to pass, and says which steps it missed.

A full disk is freed, files are closed, a share comes back: until then steps are left out whole, and the window that
could not be written is kept. Whatever else goes wrong ends the recording, and the run says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from icshift.errors import RecordingError, message_of

_FIRST, _LONGEST = 0.1, 10.0
"""Seconds until it is tried again to write: each time twice as many, up to so many."""


class Faults:
    """Why nothing is recorded now, and which steps were missed.

    >>> faults = Faults(clock=lambda: 0.0)
    >>> faults.begin(OSError(28, "No space left on device"), step=7, passes=True)
    >>> faults.waiting, faults.entries()["stopped"]["reason"], faults.entries()["stopped"]["step"]
    (True, 'No space left on device', 7)
    >>> faults.passed(step=9)
    >>> faults.waiting, faults.left_out(0, 99), faults.entries()["stopped"]
    (False, 2, None)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting = False
        """Whether nothing is recorded until it can be written again."""
        self.over = False
        """Whether nothing is recorded any more."""
        self.told = False
        """Whether the user was told of a fault."""
        self._clock = clock
        self._stopped: dict[str, Any] | None = None
        self._gaps: list[dict[str, Any]] = []
        self._pause = self._next = 0.0

    @property
    def reason(self) -> str:
        """Why nothing is recorded now; empty where it is."""
        return self._stopped["reason"] if self._stopped else ""

    def begin(self, error: Exception, step: int, *, passes: bool) -> None:
        """Nothing is recorded from this step on, for good or until what is wrong `passes`."""
        if self._stopped is None:
            time_now = datetime.now(UTC).isoformat(timespec="seconds")
            self._stopped = {"reason": in_words(error), "step": step, "time": time_now}
        self.over |= not passes
        if passes and not self.waiting:
            self._pause = _FIRST
            self._next = self._clock() + self._pause
        self.waiting = not self.over

    def due(self) -> bool:
        """Whether it should be tried now to write again; if so, the next time comes later."""
        if not self.waiting or self._clock() < self._next:
            return False
        self._pause = min(2 * self._pause, _LONGEST)
        self._next = self._clock() + self._pause
        return True

    def passed(self, step: int) -> None:
        """What was waited for is over: steps are recorded again from this one on."""
        assert self._stopped is not None
        if step > self._stopped["step"]:
            gap = {"first_step": self._stopped["step"], "last_step": step - 1}
            self._gaps = [*self._gaps, gap | {name: self._stopped[name] for name in ("reason", "time")}]
        self._stopped, self.waiting = None, False

    def missing(self, step: int) -> bool:
        """Whether any step before this one is missing since nothing is recorded."""
        return self._stopped is not None and step > self._stopped["step"]

    def missed(self, first: int, last: int, reason: str) -> None:
        """Note that steps are missing for another reason."""
        time_now = datetime.now(UTC).isoformat(timespec="seconds")
        self._gaps = [*self._gaps, {"first_step": first, "last_step": last, "reason": reason, "time": time_now}]

    def left_out(self, first: int, last: int) -> int:
        """Returns how many of these steps are in a gap."""
        return sum(end - begin + 1 for begin, end in self.spans(first, last))

    def spans(self, first: int, last: int) -> list[tuple[int, int]]:
        """Returns the first and the last step of every gap, as far as they are among these steps."""
        spans = [(gap["first_step"], gap["last_step"]) for gap in self._gaps]
        if self._stopped is not None:
            spans.append((self._stopped["step"], last))
        within = [(max(first, begin), min(last, end)) for begin, end in spans]
        return [(begin, end) for begin, end in within if begin <= end]

    def entries(self) -> dict[str, Any]:
        """Returns the entries `stopped` and `gaps` of the manifest."""
        return {"stopped": self._stopped, "gaps": self._gaps}


def may_pass(error: BaseException) -> bool:
    """Whether what went wrong is the system's and may pass: a run that was deleted or taken does not come back.

    >>> may_pass(OSError(24, "Too many open files")), may_pass(ValueError("a bug"))
    (True, False)
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, (FileNotFoundError, NotADirectoryError))


def in_words(error: BaseException) -> str:
    """Returns what an error says, in one line: of the system's own the words that everybody knows.

    >>> in_words(OSError(28, "Error writing bytes to file. Detail: …"))
    'No space left on device'
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno and may_pass(error):
        return os.strerror(cause.errno)
    return message_of(error) or type(error).__name__


def interruption(error: BaseException | None, step: int, window: int | None = None) -> dict[str, Any] | None:
    """Returns the entry `interrupted` of the manifest of a training that an exception ended after so many steps.

    `window` is the number of the one that was under way, if any was.

    >>> interruption(SystemExit(0), 3) is interruption(None, 3) is None
    True
    >>> interruption(KeyboardInterrupt(), 3)["by"]
    'KeyboardInterrupt'
    """
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return None
    return {
        # Errors of our own stand for what happened: they say it.
        "by": str(error) if isinstance(error, RecordingError) else type(error).__name__,
        "step": step,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "window": window,
    }
