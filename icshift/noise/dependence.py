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

from icshift import kernel_choice
from icshift.blocks import Floats, Ints
from icshift.noise.exchange import MOST, Differences, magnitude

FEWEST = 8
"""Blocks with which dependence can be told at all."""

CLEAR = 12
"""Blocks with which a small correlation says that steps do not depend on each other. With fewer, that of any series is
small once its line is taken out: of AR(1) 0.9 with 9 to 11 blocks, 33 to 40 steps, one window in eight goes unnoticed.
"""

LARGE = 0.05
"""Correlation of neighbouring blocks from which on they are said to depend on each other.

Less does little to a floor. Of data that follow an autoregression of 0.9 a step, nearly all windows of 64 steps are
told that would seem to have moved, most of 32 and half of 16; of independent steps up to 5 in 100, in networks that do
few different things, and none in networks that do many (`benchmarks/calibration.py`).
"""

_SHUFFLES = 199

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Dependence:
    """How much blocks of steps depend on each other, over all sites of a report.

    `first` and `second` are the correlations of blocks next to each other and of every second one, less what
    independent blocks show; NaN with fewer than `FEWEST` blocks. `large` says that they are beyond `LARGE` and beyond
    what all but 5 % of the same blocks in another order show. `steps` is the number of steps a block, `blocks` that of
    blocks.
    """

    first: float
    second: float
    large: bool
    steps: float
    blocks: int

    @property
    def clear(self) -> bool:
        """Whether there are blocks enough to say that steps do not depend on each other, where nothing says that."""
        return self.blocks >= CLEAR


class BlockProducts:
    """Adds up, over sites, the products of every two blocks' differences: all that dependence takes."""

    def __init__(self, blocks: int, steps: float) -> None:
        self.blocks = blocks
        self.products = np.zeros((blocks, blocks))
        """What was added up so far: others may add to it."""
        self._steps = steps

    def add(self, site: Differences) -> None:
        """Takes in one site; every unit and slice counts the same, whatever its scale."""
        flat = site.slices.reshape(len(self.products), -1)
        if kernel_choice.uses_native() and len(flat) <= MOST:
            kernel_choice.compiled.multiply_blocks(np.ascontiguousarray(flat), *flat.shape, self.products)
            return
        scale = magnitude(flat)
        flat = flat[:, scale > 0] / scale[scale > 0]
        self.products += flat @ flat.T

    def dependence(self) -> Dependence:
        """Returns the dependence of the blocks of all sites that were taken in."""
        blocks = len(self.products)
        if blocks < FEWEST or not self.products.any():
            return Dependence(np.nan, np.nan, False, self._steps, blocks)
        straight = _without_line(blocks)
        rest = straight @ self.products @ straight
        if np.trace(rest) <= _ROUNDING * np.trace(self.products):  # All blocks differ alike, but for rounding.
            return Dependence(np.nan, np.nan, False, self._steps, blocks)
        # The line is taken out of every other order too: it leaves neighbours less alike than they were.
        orders = _orders(blocks)
        others = _correlations(straight @ rest[orders[:, :, None], orders[:, None, :]] @ straight)
        first, second = (_correlations(rest) - others.mean(1)).tolist()
        large = first >= LARGE and first >= float(np.quantile(others[0] - others[0].mean(), 0.95))
        return Dependence(first, second, large, self._steps, blocks)


def _correlations(products: Floats) -> Floats:
    """Returns the correlations [2, ...] of blocks next to each other and of every second one, given [..., b, b]."""
    total = np.trace(products, axis1=-2, axis2=-1)
    lagged = np.array([np.trace(products, lag, axis1=-2, axis2=-1) for lag in (1, 2)])
    return lagged / np.where(total > 0, total, 1.0)


@cache
def _without_line(blocks: int) -> Floats:
    """Returns the matrix that takes a constant and a straight line out of a series."""
    line = np.linalg.qr(np.vander(np.linspace(-1, 1, blocks), 2))[0]
    return np.asarray(np.eye(blocks) - line @ line.T)


@cache
def _orders(blocks: int) -> Ints:
    """Returns other orders of the blocks [orders, blocks], the same every time."""
    random = np.random.default_rng([blocks, _SHUFFLES])
    return np.array([random.permutation(blocks) for _ in range(_SHUFFLES)])
