"""The ends of a large window: its lowest and highest sampled values, one by one.

A window of more values than are kept is a row of slice means, and the mean of the outermost slice says little of the
values in it: of a million activations the largest can hold most of the variance. The ends cost 128 bytes a unit and are
exact, since the sketch never lets them go and those of two windows together are among the ends of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

TAIL = 16
"""Values kept of either end."""


def beside(values: Floats, sampled: NDArray[np.int64], singles: Floats) -> Floats | None:
    """Returns the ends to keep beside values [units, k] that stand for `sampled` ones [units].

    None where the values are all there is. singles [units, m] are sampled values, among them all of the ends.
    """
    return ends(singles).astype(values.dtype) if (sampled > values.shape[1]).any() else None


def ends(values: Floats) -> Floats:
    """Returns the lowest `TAIL` of values [units, m] and then the highest [units, 2 TAIL], in order.

    NaN for an end in which a NaN stands for a non-finite value; these count as the highest. NaN too where there are
    fewer than `TAIL` values.
    """
    values = np.sort(values, axis=1)
    high = values[:, -TAIL:]
    return _whole(values[:, :TAIL], np.where(np.isnan(high).any(1, keepdims=True), np.nan, high))


def merged(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Floats:
    """Returns the ends [units, 2 TAIL] of two windows together, of the low and the high end [units, k] of each.

    An end may be shorter where it is all there is. NaN where one of the two is not known.
    """
    low, high = (np.sort(np.concatenate(pair, axis=1), axis=1) for pair in zip(first, second, strict=True))
    known = [~np.isnan(end).any(1, keepdims=True) for end in (low, high)]
    return _whole(np.where(known[0], low[:, :TAIL], np.nan), np.where(known[1], high[:, -TAIL:], np.nan))


def _whole(low: Floats, high: Floats) -> Floats:
    if low.shape[1] < TAIL:
        return np.full((len(low), 2 * TAIL), np.nan, low.dtype)
    return np.concatenate([low, high], axis=1)
