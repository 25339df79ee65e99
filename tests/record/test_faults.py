"""Which steps are missing while faults come and go."""

import errno
from itertools import pairwise

import pytest

from icshift.errors import RecordingError, RunError
from icshift.record.faults import Faults, in_words, interruption, may_pass

FULL = OSError(errno.ENOSPC, "Error writing bytes to file. Detail: and much more")


def test_each_try_waits_twice_as_long_until_the_longest():
    now = [0.0]
    faults = Faults(clock=lambda: now[0])
    faults.begin(FULL, 1, passes=True)
    tried = []
    for tick in range(1000):
        now[0] = tick / 20
        if faults.due():
            tried.append(now[0])
            faults.begin(FULL, 1, passes=True)
    assert tried[:4] == pytest.approx([0.1, 0.3, 0.7, 1.5], abs=0.11)
    assert max(after - before for before, after in pairwise(tried)) == pytest.approx(10)


def test_what_follows_a_fault_does_not_move_its_step():
    faults = Faults()
    faults.begin(FULL, 5, passes=True)
    faults.begin(FULL, 8, passes=True)
    assert faults.entries()["stopped"]["step"] == 5
    assert faults.missing(6)
    assert not faults.missing(5)
    faults.passed(9)
    faults.begin(FULL, 20, passes=True)
    faults.passed(20)
    assert [(gap["first_step"], gap["last_step"]) for gap in faults.entries()["gaps"]] == [(5, 8)]
    assert [faults.left_out(0, 4), faults.left_out(4, 6), faults.left_out(8, 30), faults.left_out(9, 30)] == [
        0,
        2,
        1,
        0,
    ]


def test_what_is_over_does_not_come_back():
    faults = Faults()
    faults.begin(ValueError("a bug"), 3, passes=False)
    faults.begin(FULL, 4, passes=True)
    assert (faults.over, faults.waiting, faults.due(), faults.reason) == (True, False, False, "a bug")


def caused(by):
    error = RunError("a file cannot be read")
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "passes", "words"),
    [
        (FULL, True, "No space left on device"),
        (caused(OSError(errno.EMFILE, "x")), True, "Too many open files"),
        (FileNotFoundError(errno.ENOENT, "No such file"), False, "[Errno 2] No such file"),
        (caused(FileNotFoundError()), False, "a file cannot be read"),
        (RecordingError("the mask\ncannot be used"), False, "the mask cannot be used"),
        (ValueError(), False, "ValueError"),
        (MemoryError(), False, "MemoryError"),
    ],
)
def test_what_may_pass_and_how_it_is_called(error, passes, words):
    assert may_pass(error) == passes
    assert in_words(error) == words


@pytest.mark.parametrize(
    ("error", "by"), [(SystemExit(3), "SystemExit"), (RecordingError("no end was told"), "no end was told")]
)
def test_interruptions(error, by):
    assert interruption(error, 7)["by"] == by
