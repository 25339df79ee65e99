"""Anatomy: what a drift is made of, change of mean (location), of sd (scale) and of all else (shape).

The squares of the three add up to that of `w2` exactly. Normalising could take the first two away, the third it cannot.
"""

from __future__ import annotations

import numpy as np

from icshift.analysis import over_units
from icshift.analysis.comparison import Comparison
from icshift.analysis.distances import near_constant, w2_shares
from icshift.distribution import Floats

PARTS = ("location", "scale", "shape")
"""What the shares of a drift are called, in the order in which they come."""


def shares(comparison: Comparison) -> Floats:
    """Returns the typical shares [3] of `PARTS` in w2 squared, which sum to 1; NaN where none is known.

    They are medians over the units that are not near-constant.
    """
    steady = ~near_constant(comparison.before, comparison.after)
    typical = np.array([over_units.median(part[steady]) for part in w2_shares(comparison.before, comparison.after)])
    with np.errstate(invalid="ignore"):
        return typical / typical.sum()  # Medians of three shares need not add up to 1.
