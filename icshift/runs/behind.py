"""What is written while the training goes on: one thing after another, in a thread that lives as long as there is any.

Compressing and waiting for a disk take most of the time of writing, and neither needs the interpreter. A thread of
Python is enough for that: no process has to be fed, and where nothing is written there is none.

Whatever goes wrong is told to whoever waits next, not sooner, so that no chance decides when: it is tried again there,
and what failed and all after it wait until that succeeds. A process is forked, and a run is read in the process that
records it, with nothing under way.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakSet

_MOST = 3
"""Jobs that wait for the one that is being done: those of the end of one window."""


def in_thread(work: Callable[[], None]) -> bool:
    """Has a new thread work; returns whether there can be one, as there cannot while the interpreter ends."""
    try:
        threading.Thread(target=work, name="icshift writes").start()
    except RuntimeError:
        return False
    return True


def at_once(_: Callable[[], None]) -> bool:
    """Nobody else works: whoever gives a job waits until it is done."""
    return False


class Behind:
    """Does jobs in the order in which one thread gives them. Each may be done again where it failed.

    `begin` has somebody else do what it is given, or returns that nobody does: then jobs are done as they are given.

    >>> behind, done = Behind(in_thread), []
    >>> for number in range(9):
    ...     behind.give(lambda number=number: done.append(number))
    >>> behind.settle()
    >>> done
    [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """

    def __init__(self, begin: Callable[[Callable[[], None]], bool]) -> None:
        self._begin = begin
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        """The first is being done, or has failed."""
        self._running = False
        self._seconds = 0.0
        _all.add(self)

    def give(self, job: Callable[[], None]) -> None:
        """Have a job done after those before it, for which it waits where they are many.

        Raises only where it is done at once, what it or one before it raises.
        """
        with self._changed:
            self._wait(lambda: len(self._jobs) <= _MOST or not self._running)
            self._jobs.append(job)
            if self._running:
                return
            self._running = True
        if not self._begin(self._work):
            self._running = False
            self.settle()

    def settle(self) -> None:
        """Wait until all jobs are done; what failed is tried again. Raises what that raises."""
        self.pause()
        while self._jobs:
            self._jobs[0]()
            self._jobs.popleft()

    def pause(self) -> None:
        """Wait until all jobs are done, or one has failed."""
        with self._changed:
            self._wait(lambda: not self._running)

    def seconds(self) -> float:
        """Returns the processor time that the thread took since this was asked last, less what others waited for it.

        While they wait it takes nothing from them but that time, which is theirs to count.
        """
        with self._changed:
            taken, self._seconds = self._seconds, 0.0
        return max(taken, 0.0)

    def _wait(self, until: Callable[[], bool]) -> None:
        began = time.perf_counter()
        self._changed.wait_for(until)
        self._seconds -= time.perf_counter() - began

    def _work(self) -> None:
        while True:
            began, failed = time.thread_time(), False
            try:
                self._jobs[0]()
            except BaseException:  # noqa: BLE001  It is tried again, and raises where it can be told.
                failed = True
            with self._changed:
                self._seconds += time.thread_time() - began
                if not failed:
                    self._jobs.popleft()
                self._running = not failed and bool(self._jobs)
                self._changed.notify_all()
                if not self._running:
                    return


_all: WeakSet[Behind] = WeakSet()


def pause_all() -> None:
    """Wait until whatever this process writes is written, or has failed."""
    for behind in list(_all):
        behind.pause()


# A child has none of the threads, but their locks: those of the memory of Arrow, for one.
os.register_at_fork(before=pause_all)
