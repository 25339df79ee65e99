"""Two windows of one site compared: how far it stands out among all exchanges of blocks, and each of its units.

The compiled kernel does all of it in one go, a few units at a time (`compare` in kernel/exchange.cc): differences of a
hundred thousand units are never written down. Where it cannot, or NumPy is asked for, it is done step by step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icshift import kernel_choice
from icshift.blocks import Blocks, Floats
from icshift.noise.dependence import BlockProducts
from icshift.noise.drifts import Drifts, Exchanged, Flags, drifts, statistic, unusual
from icshift.noise.exchange import FEWEST, ROUNDING, Differences, alike, compiled, differences, handed, patterns

_FEWEST_NONZERO = 8
"""Values other than 0 that blocks have on average where means are compared of more and of fewer values: a mean of fewer
is skewed, and a sum of exchanges that are not as likely either way is no noise."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What exchanges show of a site: its `statistic` [patterns], and how unusual each unit is, `own` [units], if asked.

    `told` [units] are the units of which that is known. Others may be `seldom` active where windows are not equally
    long, or `coarse`: see `Differences`.
    """

    statistic: Floats
    own: Floats | None
    told: Flags
    seldom: bool
    coarse: bool

    @property
    def differs(self) -> bool:
        """Whether any unit that is known differs in any exchange."""
        return bool(np.isfinite(self.statistic).all())


def compared(a: Blocks, b: Blocks, count: int, products: BlockProducts, pool: int) -> Compared:
    """Returns what exchanges of so many blocks of two windows show, and adds to the products of their differences.

    Units are compared with `pool` patterns of all units of the site; with none they are not.
    """
    similar = alike(a, b, count)
    return (_native if similar and compiled(a, b, count) else _stepwise)(a, b, count, products, pool)


def _native(a: Blocks, b: Blocks, count: int, products: BlockProducts, pool: int) -> Compared:
    units, signs = len(a.slices), patterns(count)
    pool = max(min(pool, len(signs)) - 1, 0)
    total, largest = np.empty((2, len(signs)))
    shown, pooled = np.zeros(units, np.float32), np.zeros((pool, units), np.float32)
    kept, coarse, seen = np.empty(units, bool), np.empty(units, bool), np.empty(units, np.int64)
    fine = products.blocks if products.blocks <= min(len(a), len(b)) else 0
    kernel_choice.compiled.compare(
        *(*handed(a, count), *handed(b, count), units, count, np.ascontiguousarray(signs), len(signs)),
        *(total, largest, shown, pooled, pool, kept, seen, coarse, FEWEST),
        *(fine, a.edges(max(fine, 1)), b.edges(max(fine, 1)), products.products, ROUNDING),
    )
    told, exchanged = (seen >= FEWEST) & ~coarse, Exchanged(total, largest, shown, pooled, kept)
    own = unusual(exchanged, told) if pool else None
    return Compared(statistic(exchanged), own, told, seldom=False, coarse=bool(coarse.any()))


def _stepwise(a: Blocks, b: Blocks, count: int, products: BlockProducts, pool: int) -> Compared:
    apart = differences(a, b, count)
    _add(products, apart, a, b)
    # Of blocks that are not alike means alone are compared, of units that have enough values for these.
    similar = alike(a, b, count)
    even = np.ones(len(apart.known), bool) if similar else _even(a, count) & _even(b, count) | _still(apart)
    told = apart.known & even
    found: Drifts = drifts(apart.slices if similar else apart.means[:, :, None], told)
    seldom, coarse = bool((apart.known & ~even).any()), bool(apart.coarse.any())
    return Compared(found.statistic, found.own if pool else None, told, seldom, coarse)


def _add(products: BlockProducts, apart: Differences, a: Blocks, b: Blocks) -> None:
    """Take in a site, `apart` being the differences of blocks that can be exchanged: fewer, where they are of steps."""
    if min(len(a), len(b)) < products.blocks:
        return
    same = len(apart.slices) == products.blocks
    products.add(apart if same else differences(a, b, products.blocks))


def _even(blocks: Blocks, count: int) -> Flags:
    """Returns which units [units] have enough values other than 0 in one of so many blocks for its mean to be as good
    as normal."""
    sampled, zeros = blocks.sizes(count)
    return np.asarray((sampled - zeros).mean(1) >= _FEWEST_NONZERO)


def _still(apart: Differences) -> Flags:
    """Returns the units [units] of which no block differs, as dead ones: whatever their distribution is, they stand
    still."""
    return np.asarray(~apart.slices.any((0, 2)))
