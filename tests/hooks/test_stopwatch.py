"""Each second counts once, and for the innermost block."""

import itertools
import random
import threading

import pytest

from icshift.hooks.stopwatch import Stopwatch, Timeline, apart


class Clock:
    """One that goes on by itself only as far as it is told."""

    now = 0.0
    raises = False

    def __call__(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds
        if self.raises:
            raise KeyError


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def line(clock):
    return Timeline(clock)


def test_a_block_within_a_block_counts_once(clock, line):
    watch = Stopwatch(line)
    with watch:
        for _ in range(3):
            with watch:
                clock.passes(1)
    assert (watch.seconds, watch.blocks) == (3, 1)


def test_blocks_add_up_and_time_between_them_does_not(clock, line):
    watch = Stopwatch(line)
    for _ in range(2):
        with watch:
            clock.passes(2)
        clock.passes(100)
    assert (watch.seconds, watch.blocks) == (4, 2)


def test_a_block_that_raises_counts_and_the_next_one_starts_anew(clock, line):
    outer, watch = Stopwatch(line), Stopwatch(line)
    clock.raises = True
    with pytest.raises(KeyError), outer, watch:
        clock.passes(1)
    clock.raises = False
    clock.passes(100)
    with watch, watch:
        clock.passes(2)
    assert (outer.seconds, watch.seconds, watch.blocks) == (0, 3, 1)


def abandon(*watches):
    """Blocks that never end: an exception that comes as `__exit__` is called, as Ctrl-C may, keeps it from its work."""
    for watch in watches:
        watch.__enter__()


def test_a_block_that_was_kept_from_its_end_does_not_hide_those_of_another_stopwatch(clock, line):
    watch, following = Stopwatch(line), Stopwatch(line)
    abandon(watch)
    clock.passes(100)
    watch.stop()
    with following:
        clock.passes(2)
    assert (watch.blocks, following.seconds, following.blocks) == (0, 2, 1)
    assert not line.place.open


def test_a_block_ends_with_those_within_it(clock, line):
    outer, watch = Stopwatch(line), Stopwatch(line)
    with outer:
        abandon(watch, watch)
        clock.passes(3)
    with outer:
        clock.passes(1)
    assert (outer.seconds, outer.blocks, watch.blocks) == (4, 2, 0)
    assert not line.place.open


def test_a_block_that_ends_late_ends_no_other(clock, line):
    """As that of a generator that nobody closes does, when the garbage is collected."""
    late, watch = Stopwatch(line), Stopwatch(line)
    late.__enter__()
    late.stop()
    with watch:
        clock.passes(1)
        late.__exit__(None, None, None)
        clock.passes(1)
    assert (watch.seconds, watch.blocks, late.seconds, late.blocks) == (2, 1, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_stopwatches_within_one_another_lose_no_second_and_count_none_twice(seed, clock, line):
    watches, draw = [Stopwatch(line) for _ in range(3)], random.Random(seed)
    expected = dict.fromkeys(watches, 0.0)

    def nest(depth):
        watch = draw.choice(watches)
        with watch:
            for _ in range(draw.randrange(3) if depth < 6 else 0):
                nest(depth + 1)
            clock.passes(1)
            expected[watch] += 1
            assert watch.whole == expected[watch]

    for _ in range(20):
        nest(0)
        clock.passes(7)
    assert {watch: watch.seconds for watch in watches} == expected
    assert sum(watch.blocks for watch in watches) == 20
    assert sum(expected.values()) == clock.now - 20 * 7


def test_what_an_open_block_took_so_far_is_in_the_whole(clock, line):
    watch = Stopwatch(line)
    with watch:
        clock.passes(1)
        assert watch.whole == 1
        clock.passes(1)
        told = {"recording_seconds": 2.0, "wall_seconds": 4.0}
        assert watch.overhead(started=-2.0) == {**told, "at_least": True}
        watch.beside = 0.0
        assert watch.overhead(started=-2.0) == told
    assert watch.seconds == 2


@pytest.mark.parametrize(("wall", "told"), [(8.5, {"recording_seconds": 8.0}), (8.0, {"at_least": True})])
def test_an_estimate_that_leaves_no_time_for_the_training_is_too_high(clock, line, wall, told):
    watch = Stopwatch(line)
    watch.beside = 1.0
    for _ in range(4):
        with watch:
            clock.passes(1)
    clock.passes(wall - 4)
    assert watch.overhead(started=clock.now - wall) == {"recording_seconds": 4.0, "wall_seconds": wall} | told


def test_interruptions_cost_something_beside(clock, line):
    watch = Stopwatch(line)
    for _ in range(4):
        with watch, watch:
            clock.passes(1)
    assert watch.whole == 4
    watch.beside = 0.5
    assert watch.whole == 4 + 4 * 0.5


def test_a_block_like_others_counts_for_them_and_as_touches(clock, line):
    watch = Stopwatch(line)
    watch.beside, watch.touch = 100.0, 0.25
    with watch.times(8):
        clock.passes(1)
    assert (watch.seconds, watch.blocks, watch.touches, watch.whole) == (8, 0, 8, 8 + 8 * 0.25)


def test_stopwatches_made_apart_go_by_a_clock_of_their_own(clock):
    with apart(clock):
        watch = Stopwatch()
        with watch:
            clock.passes(3)
    assert watch.seconds == 3


def test_threads_are_timed_each_by_itself(line):
    watch, steps = Stopwatch(line), itertools.count()
    line.clock = lambda: next(steps)

    def work():
        with watch:
            pass

    with watch:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert watch.blocks == 2


def test_what_is_measured_apart_counts_for_the_block_around_it():
    outer, within = Stopwatch(), Stopwatch()
    with apart(), outer:  # Apart too from what other tests left open, as by Ctrl-C.
        with apart():
            for _ in range(3):
                with within:
                    pass
        before = outer.whole
    assert within.blocks == 3
    assert outer.blocks == 1
    assert 0 < within.seconds < before <= outer.seconds
