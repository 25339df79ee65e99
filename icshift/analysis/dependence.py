"""Dependence of steps: whether neighbouring blocks of steps are more alike than blocks further apart.

Where they are, as in data that change slowly, or in a network whose parameters swing within a window, the mean of a
window varies more than its blocks tell: its floor is too low, and what seems to have moved may not have. No floor from
within two windows mends that, so it is told.

It is measured on the differences of two windows' blocks, which are free of what both windows do in the same order,
after a straight line is taken out of them: a network that learns faster at the start of a window than at its end is no
noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from icshift.analysis.exchange import Differences
from icshift.blocks import Floats

FEWEST = 8
"""Blocks with which dependence can be told at all."""

LARGE = 0.1
"""Correlation of neighbouring blocks from which on they are said to depend on each other.

At this level, of data that follow an autoregression of 0.9 a step with 32 steps a window, all windows are told that
would seem to have moved; of independent steps none in hundred.
"""

_SHUFFLES = 199


@dataclass(frozen=True)
class Dependence:
    """How much blocks of steps depend on each other, over all sites of a report.

    `first` and `second` are the correlations of blocks next to each other and of every second one, less what
    independent blocks show; NaN with fewer than `FEWEST` blocks. `large` says that they are beyond `LARGE` and beyond
    what all but 5 % of the same blocks in another order show. `steps` is the number of steps a block.
    """

    first: float
    second: float
    large: bool
    steps: float


class BlockProducts:
    """Adds up, over sites, the products of every two blocks' differences: all that dependence takes."""

    def __init__(self, blocks: int, steps: float) -> None:
        self._products = np.zeros((blocks, blocks))
        self._steps = steps

    def add(self, site: Differences) -> None:
        """Takes in one site; every unit and slice counts the same, whatever its scale."""
        flat = site.slices.reshape(len(self._products), -1)
        scale = np.sqrt((flat**2).sum(0))
        flat = flat[:, scale > 0] / scale[scale > 0]
        self._products += flat @ flat.T

    def dependence(self) -> Dependence:
        """Returns the dependence of the blocks of all sites that were taken in."""
        blocks = len(self._products)
        if blocks < FEWEST or not self._products.any():
            return Dependence(np.nan, np.nan, False, self._steps)
        straight = _without_line(blocks)
        rest = straight @ self._products @ straight
        first, second = _correlations(rest)
        expected = _correlations(straight)
        shuffled = [_correlations(rest[np.ix_(order, order)])[0] for order in _orders(blocks)]
        large = first - expected[0] >= LARGE and first >= float(np.quantile(shuffled, 0.95))
        return Dependence(first - expected[0], second - expected[1], large, self._steps)


def _correlations(products: Floats) -> tuple[float, float]:
    total = np.trace(products)
    first, second = (float(np.trace(products, lag) / total) if total > 0 else 0.0 for lag in (1, 2))
    return first, second


@cache
def _without_line(blocks: int) -> Floats:
    """Returns the matrix that takes a constant and a straight line out of a series."""
    line = np.linalg.qr(np.vander(np.linspace(-1, 1, blocks), 2))[0]
    return np.asarray(np.eye(blocks) - line @ line.T)


@cache
def _orders(blocks: int) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    random = np.random.default_rng([blocks, _SHUFFLES])
    return [random.permutation(blocks) for _ in range(_SHUFFLES)]
