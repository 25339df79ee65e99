"""What is done behind the training is done in order, and whatever goes wrong is told and loses nothing."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from icshift.runs.behind import _MOST, Behind, at_once, in_thread, pause_all


def noting(done: list[int], number: int) -> Callable[[], None]:
    return lambda: done.append(number)


class Gate:
    """A job that waits until it is opened."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.opened.wait(60)


def working(seconds: float) -> Callable[[], None]:
    """A job that takes so many seconds of a processor."""

    def work() -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    return work


class Disk:
    """A job that raises as long as the disk is full, and counts how often it was tried."""

    def __init__(self) -> None:
        self.full, self.tried = True, 0

    def __call__(self) -> None:
        self.tried += 1
        if self.full:
            raise OSError(28, "No space left on device")


def test_jobs_are_done_in_order_while_whoever_gives_them_goes_on() -> None:
    behind, gate, done = Behind(in_thread), Gate(), list[int]()
    behind.give(gate)
    for number in range(_MOST):
        behind.give(noting(done, number))
    assert gate.begun.wait(60)
    assert done == []
    gate.opened.set()
    behind.settle()
    assert done == list(range(_MOST))


def test_where_many_wait_whoever_gives_another_waits() -> None:
    behind, gate, done = Behind(in_thread), Gate(), list[int]()
    behind.give(gate)
    threading.Timer(0.2, gate.opened.set).start()
    for number in range(_MOST + 1):
        behind.give(noting(done, number))
    assert gate.opened.is_set()
    behind.settle()
    assert done == list(range(_MOST + 1))


def test_what_failed_is_raised_where_it_is_waited_for_and_tried_again_there() -> None:
    behind, disk, done = Behind(in_thread), Disk(), list[int]()
    behind.give(disk)
    behind.pause()
    for number in range(3 * _MOST):
        behind.give(noting(done, number))
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            behind.settle()
    assert disk.tried > 2
    assert done == []


def test_nothing_is_lost_once_what_failed_succeeds() -> None:
    behind, gate, disk, done = Behind(in_thread), Gate(), Disk(), list[int]()
    behind.give(gate)
    behind.give(disk)
    behind.give(noting(done, 1))
    gate.opened.set()
    behind.pause()
    assert done == []
    disk.full = False
    behind.give(noting(done, 2))
    behind.settle()
    assert done == [1, 2]


def ended() -> None:
    """Waits until no thread writes."""
    for thread in threading.enumerate():
        if thread.name == "icshift writes":
            thread.join(60)
            assert not thread.is_alive()


def test_a_thread_ends_once_all_is_done() -> None:
    behind = Behind(in_thread)
    behind.give(noting([], 1))
    behind.settle()
    ended()


@pytest.mark.parametrize("begin", [in_thread, at_once])
def test_where_nobody_else_works_jobs_are_done_as_they_are_given(
    begin: Callable[[Callable[[], None]], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    behind, disk, done = Behind(begin), Disk(), list[int]()
    behind.give(noting(done, 1))
    assert done == [1]
    with pytest.raises(OSError, match="No space"):
        behind.give(disk)
    disk.full = False
    behind.give(noting(done, 2))
    assert done == [1, 2]


def test_a_process_is_forked_when_nothing_is_under_way() -> None:
    behind, gate, done = Behind(in_thread), Gate(), list[int]()
    behind.give(gate)
    behind.give(noting(done, 1))
    threading.Timer(0.2, gate.opened.set).start()
    child = os.fork()
    if not child:
        os._exit(len(done))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_what_failed_hinders_no_fork() -> None:
    behind = Behind(in_thread)
    behind.give(Disk())
    pause_all()
    child = os.fork()
    if not child:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_processor_time_is_counted_once() -> None:
    """Nobody waits by `behind` here: what is waited for there counts for whoever waits."""
    behind = Behind(in_thread)

    def work() -> None:
        sum(range(1_000_000))

    behind.give(work)
    ended()
    assert behind.seconds() > 0
    assert behind.seconds() == 0


def test_nobody_keeps_what_is_done_with() -> None:
    behind = Behind(in_thread)
    behind.give(noting([], 1))
    behind.settle()
    ended()
    left = weakref.ref(behind)
    del behind
    gc.collect()
    assert left() is None


def test_what_somebody_waits_for_is_counted_once():
    """The training waited for a disk at each window, and what wrote meanwhile was added: more than all of the time."""
    behind = Behind(in_thread)
    behind.give(working(0.2))
    behind.settle()
    assert behind.seconds() < 0.1
    done = threading.Event()
    behind.give(working(0.2))
    behind.give(done.set)
    assert done.wait(60)
    assert behind.seconds() >= 0.2
    assert behind.seconds() == 0
