"""Whether anything moved at all between two windows, told from a few of many sites where that will do.

Where something moved it did so in most sites as a rule, and a few of them say so as surely as all. So those are asked
first, at a small share of the level (`FIRST`), and all of them, at the rest of it, only where these say nothing: in 5 %
of windows in which nothing moved, at most, either says that something did (Bonferroni). Which sites come first depends
on nothing but their order and their numbers of units.

Fewer than `MANY` units are asked at once, at the whole level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icshift.noise.exchange import matching, patterns
from icshift.noise.movement import Windows

FIRST = 0.2
"""The share of the level at which a few sites are asked: with 8 blocks, 128 patterns, one of them is below it."""

FEW = 1 << 12
"""Units that are asked first, in at least `_SITES` sites."""

MANY = 4 * FEW

_SITES = 4


def few_of(units: Sequence[int]) -> list[int]:
    """Returns the places of the sites to ask first, of so many units each: all over the model; none where there are few
    units or few sites.

    >>> few_of([4096] * 12), few_of([1024] * 12), few_of([100_000] * 3)
    ([0, 3, 6, 9], [], [])
    """
    step = min(sum(units) // FEW, len(units) // _SITES)
    return list(range(0, len(units), step)) if sum(units) >= MANY and step > 1 else []


def can_tell(windows: Windows, level: float) -> bool:
    """Returns whether any site has so many blocks that it could be called at this level."""
    counts = [count for pair in windows.values() if (count := matching(*pair)) is not None]
    return bool(counts) and 1 / len(patterns(int(np.max(counts)))) <= level
