"""The rows of a table that matter most, where not all of them are shown."""

from __future__ import annotations

import pandas as pd


def furthest(table: pd.DataFrame, top: int, *columns: str) -> pd.DataFrame:
    """Returns the `top` rows with the largest values, in the order of the table.

    The first of the `columns` that is there and has a finite value decides; rows without one go first.

    >>> furthest(pd.DataFrame({"site": ["a", "b", "c"], "ratio": [3.0, None, 4.0]}), 2, "ratio")["site"].tolist()
    ['a', 'c']
    """
    decides = next((name for name in columns if name in table and table[name].notna().any()), None)
    if decides is None:
        return table.head(top)
    return table.loc[table[decides].sort_values(ascending=False, kind="stable").index[:top].sort_values()]
