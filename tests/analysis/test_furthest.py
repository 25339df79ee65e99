"""Where not all rows are shown, those that matter most are."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.furthest import furthest

TABLE = pd.DataFrame(
    {"site": list("abcd"), "ratio": [1.0, np.nan, 5.0, 2.0], "median": [9.0, 8.0, 1.0, 0.0], "blank": [np.nan] * 4}
)


@pytest.mark.parametrize(
    ("top", "columns", "sites"),
    [
        (1, ("ratio",), "c"),
        (2, ("ratio", "median"), "cd"),
        (4, ("ratio",), "abcd"),
        (9, ("ratio",), "abcd"),
        (2, ("blank", "median"), "ab"),
        (2, ("nowhere",), "ab"),
        (3, ("ratio",), "acd"),
    ],
)
def test_the_largest_in_the_order_of_the_table(top, columns, sites):
    assert furthest(TABLE, top, *columns)["site"].tolist() == list(sites)


def test_a_table_without_rows_stays_so():
    assert furthest(TABLE.iloc[:0], 3, "ratio").empty
