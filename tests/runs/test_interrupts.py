"""Ctrl-C within a guard waits for its end; threads wait for one another. Handlers are those of the test alone."""

import signal
import threading

import pytest

from icshift.runs import interrupts
from icshift.runs.interrupts import Guard


@pytest.fixture
def heard():
    """The Ctrl-Cs that came through, with a handler of the test's own, whatever the shell set."""
    signals = []
    before = signal.signal(signal.SIGINT, lambda number, _: signals.append(number))
    yield signals
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def installed(heard):
    interrupts.install()
    yield heard
    interrupts.restore()


def test_it_waits_for_the_end_of_the_guard_and_comes_once(installed):
    with Guard():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert installed == []
    assert installed == [signal.SIGINT]
    with Guard():
        pass
    assert installed == [signal.SIGINT]


def test_it_waits_for_the_end_of_the_outermost_guard(installed):
    one, other = Guard(), Guard()
    with one:
        with other, one:
            signal.raise_signal(signal.SIGINT)
        assert installed == []
    assert installed == [signal.SIGINT]


def test_it_comes_at_once_outside_of_guards(installed):
    signal.raise_signal(signal.SIGINT)
    assert installed == [signal.SIGINT]


def test_it_comes_although_the_guard_was_left_by_an_error(installed):
    with pytest.raises(ValueError, match="in the guard"), Guard():  # noqa: PT012  Both in one block, in this order.
        signal.raise_signal(signal.SIGINT)
        raise ValueError("in the guard")
    assert installed == [signal.SIGINT]


def test_the_last_of_several_restores_puts_the_handler_back(heard):
    own = signal.getsignal(signal.SIGINT)
    interrupts.install()
    interrupts.install()
    assert signal.getsignal(signal.SIGINT) != own
    interrupts.restore()
    assert signal.getsignal(signal.SIGINT) != own
    interrupts.restore()
    assert signal.getsignal(signal.SIGINT) is own
    assert heard == []


def test_a_handler_that_was_set_in_the_meantime_stays(heard):
    interrupts.install()
    theirs = []
    signal.signal(signal.SIGINT, lambda number, _: theirs.append(number))
    interrupts.restore()
    signal.raise_signal(signal.SIGINT)
    assert (heard, theirs) == ([], [signal.SIGINT])


def test_one_thread_at_a_time_is_within_a_guard():
    guard, entered, left = Guard(), threading.Event(), threading.Event()
    order = []

    def other():
        entered.wait(60)
        with guard:
            order.append("other")
        left.set()

    thread = threading.Thread(target=other)
    thread.start()
    with guard:
        entered.set()
        assert not left.wait(0.05)
        order.append("first")
    thread.join(60)
    assert order == ["first", "other"]


def test_a_guard_of_another_thread_holds_nothing_back(installed):
    guard, inside, done = Guard(), threading.Event(), threading.Event()

    def other():
        with guard:
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(60)
    signal.raise_signal(signal.SIGINT)
    assert installed == [signal.SIGINT]
    done.set()
    thread.join(60)
