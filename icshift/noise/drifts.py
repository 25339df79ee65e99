"""Drifts of one site under every exchange of blocks: its statistic, and how unusual each of its units is.

The compiled kernel takes a few units at a time through all exchanges (kernel/exchange.cc); where it was not built, or
the environment asks for NumPy's, matrices are multiplied. Both agree but for rounding in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icshift import kernel_choice
from icshift.blocks import SLICES, Floats
from icshift.noise.exchange import MOST, magnitude, patterns

_AT_ONCE = 1 << 15
"""Units whose exchanges are computed at once, times the patterns: 1 MB, which a processor keeps at hand."""

POOLED = 100
"""Patterns that units are compared with: of all units of the site together."""

Flags = NDArray[np.bool_]
Singles = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Drifts:
    """What the exchanges of one site show: its statistic [patterns], and how unusual each unit is [units].

    `own` is the probability that noise makes any unit of the site drift as much; NaN of units that are not known.
    """

    statistic: Floats
    own: Floats

    @property
    def differs(self) -> bool:
        """Whether any unit that is known differs in any exchange."""
        return bool(np.isfinite(self.statistic).all())


@dataclass(frozen=True, eq=False)
class Exchanged:
    """The drifts of units relative to what they are over all exchanges.

    `total` and `largest` [patterns] are over the units that are `kept` [units], those that differ in some exchange.
    `shown` [units] are those of the windows as they are, `pooled` [patterns, units] those of the next patterns.
    """

    total: Floats
    largest: Floats
    shown: Singles
    pooled: Singles
    kept: Flags


def drifts(apart: Floats, known: Flags) -> Drifts:
    """Returns what exchanges show of the units that are `known` [units], given differences [blocks, units, slices]."""
    signs = patterns(len(apart))
    native = kernel_choice.uses_native() and len(apart) <= MOST and apart.shape[2] <= SLICES
    exchanged = (_native if native else _numpy)(apart, known, signs)
    return Drifts(statistic(exchanged), unusual(exchanged, known))


def statistic(exchanged: Exchanged) -> Floats:
    """Returns the statistic of a site [patterns]; -inf where nothing differs in any exchange: the least that can be."""
    kept = int(exchanged.kept.sum())
    if not kept:
        return np.full(len(exchanged.total), -np.inf)
    return np.maximum(_standardised(exchanged.total / kept), _standardised(exchanged.largest))


def unusual(exchanged: Exchanged, known: Flags) -> Floats:
    """Returns how unusual each unit is [units], of those that are `known`."""
    own, kept = np.where(known, 1.0, np.nan), exchanged.kept
    if kept.any():
        # Of most sites all units are kept, and nothing is copied out. What is looked up in order is found sooner.
        pooled = exchanged.pooled if kept.all() else exchanged.pooled[:, kept]
        others, shown = np.sort(pooled.ravel()), exchanged.shown[kept]
        order = np.argsort(shown)
        found = np.empty(len(shown), np.int64)
        found[order] = np.searchsorted(others, shown[order])
        own[kept] = (len(others) - found + 1) / (len(others) + 1)
    return own


def _native(apart: Floats, known: Flags, signs: Floats) -> Exchanged:
    blocks, units, slices = apart.shape
    pool = min(POOLED, len(signs)) - 1
    total, largest = np.empty((2, len(signs)))
    shown, pooled, kept = np.zeros(units, np.float32), np.zeros((pool, units), np.float32), known.copy()
    at = np.ascontiguousarray(apart), units, blocks, slices
    how = np.ascontiguousarray(signs), len(signs)
    kernel_choice.compiled.exchange_blocks(*at, *how, total, largest, shown, pooled, pool, kept)
    return Exchanged(total, largest, shown, pooled, kept)


def _numpy(apart: Floats, known: Flags, signs: Floats) -> Exchanged:
    kept = known.copy()
    total, largest = np.zeros(len(signs)), np.full(len(signs), -np.inf)
    shown, pooled = np.zeros(len(kept), np.float32), np.zeros((min(POOLED, len(signs)) - 1, len(kept)), np.float32)
    relative, units = _relative(apart), _AT_ONCE // len(signs)
    for start in range(0, len(kept), units):
        here = slice(start, start + units)
        each = _of_every_exchange(relative[:, :, here], signs)
        kept[here] &= each.max(0) > 0
        each = each[:, kept[here]]
        each /= np.sqrt(np.einsum("pu,pu->u", each, each, dtype=float) / len(signs)).astype(np.float32)
        total += each.sum(1, dtype=float)
        largest = np.maximum(largest, each.max(1, initial=-np.inf))
        place = np.flatnonzero(kept[here]) + start
        shown[place], pooled[:, place] = each[0], each[1:POOLED]
    return Exchanged(total, largest, shown, pooled, kept)


def _relative(slices: Floats) -> Singles:
    """Returns the differences of blocks [blocks, slices, units], each slice measured by how much it varies.

    That no exchange changes; and a wild tail would hide what the middle shows.
    """
    scale = magnitude(slices)
    relative = slices / np.where(scale > 0, scale, np.inf)
    return np.ascontiguousarray(relative.transpose(0, 2, 1), np.float32)


def _of_every_exchange(relative: Singles, signs: Floats) -> Singles:
    """Returns the drift [patterns, units] of every exchange: the mean over slices of their absolute differences.

    Units lie side by side, so that they are added up many at a time.
    """
    exchanged = signs.astype(np.float32) @ np.ascontiguousarray(relative).reshape(len(relative), -1)
    return np.asarray(np.abs(exchanged, out=exchanged).reshape(len(signs), *relative.shape[1:]).sum(1))


def _standardised(statistic: Floats) -> Floats:
    spread = statistic.std()
    return (statistic - statistic.mean()) / spread if spread > 0 else np.zeros(len(statistic))
