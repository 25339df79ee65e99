"""A lock that also holds Ctrl-C back: what a recording keeps in memory must never be left half changed.

Hooks may run in several threads, and Ctrl-C raises `KeyboardInterrupt` between any two instructions of the main one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Guard:
    """A lock, within which the main thread holds Ctrl-C back until it leaves.

    The handler of SIGINT is wrapped between `install` and `restore`, of all guards together; one that the script sets
    in the meantime stays.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        _interrupts.hold()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        _interrupts.release()


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
        self._depth = 0
        self._waiting: tuple[int, FrameType | None] | None = None
        self._handler: Callable[[int, FrameType | None], Any] | None = None
        self._main = threading.main_thread()

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

    def hold(self) -> None:
        if threading.get_ident() == self._main.ident:
            self._depth += 1

    def release(self) -> None:
        if threading.get_ident() == self._main.ident:
            self._depth -= 1
            if not self._depth and self._waiting is not None:
                waiting, self._waiting = self._waiting, None
                if self._handler is not None:
                    self._handler(*waiting)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._waiting = number, frame
        elif self._handler is not None:
            self._handler(number, frame)


_interrupts = _Interrupts()
