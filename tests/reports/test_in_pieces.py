"""Pieces are gathered and counted, and put below one another column by column."""

import numpy as np
import pytest

from icshift.analysis.drift import UNTOLD
from icshift.reports.in_pieces import Written, column, gathered


def piece(rows: int, **rest: object) -> dict[str, object]:
    return {"metric": "w1", "value": np.zeros(rows), "n": np.ones(rows, int), **rest}


@pytest.mark.parametrize(("rows", "expected"), [(1, [2, 3, 1]), (4, [5, 1]), (6, [6]), (100, [6])])
def test_pieces_have_so_many_rows_together(rows, expected):
    written = Written()
    found = list(gathered([piece(2), piece(3), piece(1)], written, rows))
    assert [sum(len(one["value"]) for one in some) for some in found] == expected
    assert written.rows == 6
    assert list(gathered([], written, rows)) == []


def test_metrics_by_example_without_any_value_are_missing():
    written = Written()
    for name, n in (("displacement", [0, 0]), ("cka_distance", [0]), ("cka_distance", [3])):
        written.add(piece(len(n), metric=name, n=np.array(n)))
    assert written.missing == ["displacement"]


def test_a_column_is_words_numbers_or_flags():
    pieces = [
        piece(2, site="b", window=1, floor=np.array([0.5, np.nan]), moved=np.array([1, UNTOLD]), unit=np.arange(2)),
        piece(1, site="a", window=2, floor=np.array([2.0]), moved=np.array([0]), unit=np.arange(1)),
        piece(1, site="b", window=3, floor=np.array([np.inf]), moved=np.array([1]), unit=np.arange(1)),
    ]
    assert column("site", pieces).to_pylist() == ["b", "b", "a", "b"]
    assert column("window", pieces).to_pylist() == [1, 1, 2, 3]
    assert column("unit", pieces).to_pylist() == [0, 1, 0, 0]
    assert column("floor", pieces).to_pylist() == [0.5, None, 2.0, np.inf]
    assert column("moved", pieces).to_pylist() == [True, None, False, True]
