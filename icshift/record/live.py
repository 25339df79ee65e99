"""The recorders of this process that record now: one a path. Those that nobody closes are closed with the process."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from icshift.errors import RecordingError
from icshift.runs import ending

TAKEN = RecordingError("another recorder of its process, which took its path")
"""Given in place of an exception to a recorder whose path is taken by one that is told to replace it."""

NOT_CLOSED = RecordingError(ending.NOT_CLOSED)


class Closing(Protocol):
    """What records to a path."""

    path: Path

    def close(self, error: BaseException | None = None) -> None:
        """End the recording."""


_live: WeakValueDictionary[str, Closing] = WeakValueDictionary()


def begin(recorder: Closing) -> None:
    """A recorder begins to record; one that records to the same path ends."""
    before = _live.get(_key(recorder.path))
    if before is not None and before is not recorder:
        before.close(TAKEN)
    _live[_key(recorder.path)] = recorder


def end(recorder: Closing) -> None:
    """A recorder records no more."""
    if _live.get(_key(recorder.path)) is recorder:
        del _live[_key(recorder.path)]


def _key(path: Path) -> str:
    return os.path.realpath(path)


@atexit.register
def _close_all() -> None:
    # In a session that goes on after exceptions, the last one is not what ended it.
    uncaught = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    for recorder in list(_live.values()):
        recorder.close(uncaught or NOT_CLOSED)
