"""Counts of what waits are the same in Python and in the native kernel, which closes steps by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icshift.kernel_choice import compiled
from icshift.sketch.waiting import Waiting


def _arrays(rows: int = 8, units: int = 3) -> tuple[Any, ...]:
    steps = np.zeros((4, 2), np.int64)
    return (
        np.zeros((rows, units), np.float32),
        np.zeros((2, 3), np.int64),
        steps,
        np.zeros((0, 6, units)),
        np.zeros(units),
    )


@pytest.fixture(params=["Python", "native"])
def waiting(request: pytest.FixtureRequest) -> Any:
    """Counts of either kind."""
    if request.param == "native" and compiled is None:
        pytest.skip("the native kernel was not built")
    return Waiting() if request.param == "Python" else compiled.Waiting()


def test_nothing_waits_at_first_nor_when_it_is_emptied(waiting: Any) -> None:
    counts = ("filled", "closed", "opened", "n", "room")
    assert [getattr(waiting, name) for name in counts] == [0] * 5
    for name in counts:
        setattr(waiting, name, 7)
    assert [getattr(waiting, name) for name in counts] == [7] * 5
    waiting.empty()
    assert [getattr(waiting, name) for name in counts] == [0] * 5


def test_the_first_and_the_last_step_of_a_block_are_closed_by_the_accumulator(waiting: Any) -> None:
    arrays = _arrays()
    waiting.hold(*arrays)
    assert not waiting.tick(0)
    waiting.filled, waiting.opened, waiting.n, waiting.room = 2, 1, 2, 3
    arrays[1][0] = 0, 2, 0
    assert not waiting.tick(0)
    waiting.closed = 2
    assert not waiting.tick(2)


@pytest.mark.skipif(compiled is None, reason="the native kernel was not built")
def test_a_step_as_the_one_before_is_closed_by_counting() -> None:
    waiting, arrays = compiled.Waiting(), _arrays()
    _, spans, steps, *_ = arrays
    waiting.hold(*arrays)
    waiting.closed, waiting.n, waiting.room, waiting.filled, waiting.opened = 1, 2, 4, 4, 1
    spans[0] = 2, 4, 1
    assert waiting.tick(41)
    assert (waiting.closed, waiting.opened, waiting.filled, steps[1].tolist()) == (2, 0, 4, [41, 1])
    waiting.filled, waiting.opened = 5, 1
    spans[0] = 4, 5, 0
    assert not waiting.tick(42), "of fewer rows"
    waiting.filled, waiting.opened = 6, 2
    assert not waiting.tick(42), "of two forwards"


@pytest.mark.skipif(compiled is None, reason="the native kernel was not built")
def test_what_is_no_memory_is_refused() -> None:
    waiting = compiled.Waiting()
    with pytest.raises(TypeError):
        waiting.hold(np.zeros(3))
    with pytest.raises(ValueError, match="contiguous"):
        waiting.hold(np.zeros((4, 4))[:, :2], *_arrays()[1:])
    waiting.closed, waiting.opened, waiting.room = 1, 1, 9
    assert not waiting.tick(3), "it holds nothing"
