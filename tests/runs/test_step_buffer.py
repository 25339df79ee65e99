"""Step rows that wait: of the units that the series holds, in memory that grows and is used again."""

from __future__ import annotations

import numpy as np

from icshift.runs.format import StepRows
from icshift.runs.step_buffer import StepBuffer, step_table
from tests.recorded import site


def rows(steps: range, units: int) -> StepRows:
    code = np.asarray(steps)[:, None] * 100 + np.arange(units)
    return StepRows(np.asarray(steps), code, code + 1, *[code + 0.5] * 5, np.stack([code + 0.25] * 5))


def test_of_a_site_with_units_in_the_series_only_their_rows_wait() -> None:
    some = StepBuffer("train", site("a", units=9, kept=(1, 3, 5, 7), in_steps=(3, 7)))
    some.append(rows(range(4), 4), np.array([0, 2]))
    some.append(rows(range(4, 6), 4), np.array([0, 1]))
    table = step_table([some])
    assert table["step"].to_pylist() == [0, 0, 2, 2, 4, 4, 5, 5]
    assert table["unit"].to_pylist() == [3, 7] * 4
    assert table["count"].to_pylist() == [1, 3, 201, 203, 401, 403, 501, 503]
    assert table["nonfinite"].to_pylist() == [2, 4, 202, 204, 402, 404, 502, 504]
    assert table["max"].to_pylist() == [code + 0.5 for code in table["count"].to_pylist()]
    assert table["q85"].to_pylist() == [code + 0.25 for code in table["count"].to_pylist()]


def test_growing_keeps_what_waits() -> None:
    buffer = StepBuffer("train", site("a"))
    first = buffer.capacity
    buffer.append(rows(range(first), 3), np.arange(first))
    size = buffer.size
    buffer.grow()
    assert (buffer.capacity, buffer.size) == (2 * first, 2 * size)
    buffer.append(rows(range(first, first + 2), 3), np.arange(2))
    assert step_table([buffer])["q05"].to_pylist() == (rows(range(first + 2), 3).quantiles[0]).ravel().tolist()


def test_of_what_waits_some_steps_are_left_out() -> None:
    buffer, every = StepBuffer("train", site("a")), np.arange(7)
    buffer.append(rows(range(7), 3), every)
    buffer.keep(every % 3 == 0)
    buffer.append(rows(range(9, 10), 3), np.arange(1))
    table = step_table([buffer])
    assert table["step"].to_pylist() == np.repeat([0, 3, 6, 9], 3).tolist()
    expected = rows(range(0, 10, 3), 3)
    assert table["count"].to_pylist() == expected.count.ravel().tolist()
    assert table["q50"].to_pylist() == expected.quantiles[2].ravel().tolist()


def test_buffers_of_several_sites_are_one_table_in_which_nothing_is_missing() -> None:
    one, other = StepBuffer("train", site("a")), StepBuffer("tune", site("b", units=2))
    one.append(rows(range(2), 3), np.arange(2))
    other.append(rows(range(1), 2), np.arange(1))
    table = step_table([one, other])
    assert table["phase"].to_pylist() == ["train"] * 6 + ["tune"] * 2
    assert table["site"].to_pylist() == ["a"] * 6 + ["b"] * 2
    assert not any(field.nullable for field in table.schema)
