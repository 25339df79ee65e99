"""Blocks within blocks count once."""

import time

import pytest

from icshift.hooks.stopwatch import Stopwatch


def test_a_block_within_a_block_counts_once():
    watch = Stopwatch()
    started = time.perf_counter()
    with watch:
        for _ in range(3):
            with watch:
                time.sleep(0.01)
    assert 0.03 <= watch.seconds <= time.perf_counter() - started


def test_blocks_add_up_and_time_between_them_does_not():
    watch = Stopwatch()
    with watch:
        pass
    first = watch.seconds
    time.sleep(0.02)
    assert watch.seconds == first
    with watch:
        time.sleep(0.01)
    assert watch.seconds >= first + 0.01


def test_a_block_that_raises_counts_and_the_next_one_starts_anew():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch:
        raise KeyError
    before = watch.seconds
    with watch, watch:
        time.sleep(0.01)
    assert watch.seconds >= before + 0.01
