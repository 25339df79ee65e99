"""What numbers of a type resolve: two values nearer to each other may be one that was computed twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from icshift.blocks import Floats

ROUNDING = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}
"""A mean of a type whose differences are at most this share of its values differs by rounding, as one that batch norm
makes 0 does from step to step."""


def share_of_rounding(*types: DTypeLike) -> float:
    """Returns the share of values of the coarsest of these types that is rounding."""
    return max(ROUNDING[np.dtype(one)] for one in types)


def within_rounding(distance: Floats, spread: Floats, size: Floats, *types: DTypeLike) -> NDArray[np.bool_]:
    """Marks units [units] that are constant but for rounding, and differ, but by no more: did they move? Unknown.

    `distance` is how far they differ, `spread` their standard deviation and `size` their absolute mean, all [units].

    >>> within_rounding(np.array([0.0, 8.0, 800.0]), np.zeros(3), np.full(3, 1e8), np.float32)
    array([False,  True, False])
    >>> within_rounding(np.array([0.0, 8.0, 800.0]), np.zeros(3), np.full(3, 1e8), np.float64)
    array([False, False, False])
    """
    rounding = share_of_rounding(*types) * size
    return np.asarray((distance > 0) & (distance <= rounding) & (spread <= rounding))
