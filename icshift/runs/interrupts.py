"""A lock that also holds Ctrl-C back: what a recording keeps in memory must never be left half changed.

Hooks may run in several threads, and Ctrl-C raises `KeyboardInterrupt` between any two instructions of the main one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any


class Guard:
    """A lock, within which the main thread holds Ctrl-C back until it leaves.

    The handler of SIGINT is wrapped between `install` and `restore`, of all guards together; one that the script sets
    in the meantime stays.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> None:
        if get_ident() == _interrupts.main:
            _interrupts.depth += 1
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        if get_ident() == _interrupts.main:
            _interrupts.depth -= 1
            if not _interrupts.depth and _interrupts.waiting is not None:
                _interrupts.deliver()


def install() -> None:
    """Begins to hold Ctrl-C back within guards. Called outside of the main thread, it changes no handler."""
    _interrupts.install()


def restore() -> None:
    """Ends what `install` began: with the last of several, the handler from before is back."""
    _interrupts.restore()


class _Interrupts:
    """What all guards of the process share: how deep the main thread is within them, and the Ctrl-C that waits."""

    def __init__(self) -> None:
        self._installed = 0
        self.depth = 0
        self.waiting: tuple[int, FrameType | None] | None = None
        self._handler: Callable[[int, FrameType | None], Any] | None = None
        self._main = threading.main_thread()
        self.main = self._main.ident

    def install(self) -> None:
        self._installed += 1
        current = signal.getsignal(signal.SIGINT)
        # Bound methods are equal, not identical.
        if threading.current_thread() is self._main and callable(current) and current != self._interrupt:
            self._handler = current
            signal.signal(signal.SIGINT, self._interrupt)

    def restore(self) -> None:
        self._installed -= 1
        if (
            not self._installed
            and threading.current_thread() is self._main
            and signal.getsignal(signal.SIGINT) == self._interrupt
        ):
            signal.signal(signal.SIGINT, self._handler)

    def deliver(self) -> None:
        """Have the script's handler do now what Ctrl-C asked for within a guard."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None and self._handler is not None:
            self._handler(*waiting)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.depth:
            self.waiting = number, frame
        elif self._handler is not None:
            self._handler(number, frame)


_interrupts = _Interrupts()
