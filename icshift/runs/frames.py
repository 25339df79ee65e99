"""Data frames that are made of a run: one word for one thing, and sites in the order of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from icshift.runs.format import Site

if TYPE_CHECKING:
    import pandas as pd

FILED = {"std": "sd"}
"""Columns whose name in the files of a run is not that of everywhere else."""


def in_model_order(frame: pd.DataFrame, sites: Iterable[Site]) -> pd.DataFrame:
    """Returns the frame with its column `site` as an ordered categorical: sorted by it, sites are in model order.

    Its categories are all `sites`, whether or not there is a row of them: group with `observed=True`, which pandas 3
    does by itself.
    """
    import pandas as pd

    if "site" not in frame:
        return frame
    names = list(dict.fromkeys(site.name for site in sites))
    return frame.assign(site=pd.Categorical(frame["site"], categories=names, ordered=True))
