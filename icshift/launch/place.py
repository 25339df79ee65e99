"""Where a process puts its runs, and who closes them at its end."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from multiprocessing import parent_process, util
from pathlib import Path

from icshift.model.processes import this_process
from icshift.runs.format import CHILD


class Place:
    """The folder for the runs of the process in which it is made.

    The process that `icshift run` begins puts them at `path`, and so do the processes of a distributed training, whose
    files make one run. Any other `child` has a folder `process-N` of its own there; N counts those that record.
    """

    def __init__(self, path: Path, *, child: bool) -> None:
        self._path = path
        self.child = child
        """Whether another process that records has started this one."""
        self._process = os.getpid()
        self._own: Path | None = None
        self.left = False
        """Whether the recordings of this process are closed."""

    @property
    def is_here(self) -> bool:
        """Whether this process made it, and not one that it is a fork of."""
        return os.getpid() == self._process

    def in_fork(self, close: Callable[[], None]) -> Place:
        """Returns the place of this process, a fork of the one that made this; `close` is called when it ends."""
        at_end(close)
        return Place(self._path, child=True)

    def folder(self) -> Path:
        """The folder, which is made if need be."""
        if not self.child or this_process()[1] > 1:
            return self._path
        if self._own is None:
            self._own = _claimed(self._path)
        return self._own

    def leave(self) -> None:
        """Note that the recordings are closed; take an empty folder of its own away."""
        self.left = True
        if self._own is not None:
            with suppress(OSError):  # One that holds anything stays.
                self._own.rmdir()


def at_end(close: Callable[[], None]) -> None:
    """Have a function called when this process ends, also where it is a child of `multiprocessing`."""
    atexit.register(close)
    if parent_process() is not None:
        # A forked one never comes to what `atexit` holds.
        util.Finalize(None, close, exitpriority=100)


def _claimed(path: Path) -> Path:
    """Make the first folder that no other process has made."""
    path.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = path / f"{CHILD}{number}"
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError
