"""Exchange of blocks: what two windows of a site would show if nothing but noise told them apart.

If nothing moved, block i of one window and block i of the other may change places. Flips of a coin decide which do, and
every pattern of flips gives one draw of what noise shows: exact whatever the distributions are and however units and
sites depend on each other, since all of them are exchanged together. It takes blocks that do not depend on each other;
`dependence.py` tells where they do.

Blocks of single steps are joined in pairs where enough are left, so that training which goes to and fro from step to
step, or two sources of data in turns, fall within a block. With fewer than `FEWEST` blocks there are too few patterns
to tell anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from icshift import kernel_choice
from icshift.blocks import BLOCKS, SLICES, Blocks, Floats, Ints, edges_of
from icshift.noise.rounding import share_of_rounding

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

FEWEST = 6
"""Blocks that it takes in each window: with 5, one pattern in 16 looks like the windows as they are."""

PATTERNS = 500
"""Patterns of flips that are tried, all that there are where there are fewer."""

BALANCED = 31
"""Patterns with as many blocks exchanged as not that are tried for a floor."""

MOST = BLOCKS
"""Blocks that the compiled kernel compares, at most."""

_ALIKE = 1.25
"""Blocks with up to so many times as many values count as alike."""

_TOLD = 4.0
"""Times rounding that the noise of independent values has to be for blocks to tell it: less is rounded away."""

_LOST = 0.1
"""Of a unit's slices that differ, the share that may do so by no more than rounding where noise is not above it."""

ROUNDING = np.array([share_of_rounding(np.float32), _TOLD, _LOST])
"""What the compiled kernel, which takes blocks of float32, gets to know of rounding."""

_SQUARES = 1e-280, 1e280
"""A sum of squares between these has lost nothing."""


@dataclass(frozen=True, eq=False)
class Differences:
    """How the blocks of one window differ from those of another: what an exchange gives the other sign.

    `slices` [blocks, units, slices] add up over blocks to the difference of the windows' slice means, in activation
    units, `means` [blocks, units] to that of their means. `zeros` [blocks, units] add up to the difference of the
    shares of zeros. `weights` [blocks] are the blocks' shares of the windows. `known` [units] marks the units that
    were seen in at least `FEWEST` blocks of both windows and are not `coarse` [units]: these differ, but by no more
    than the rounding of what blocks keep, and vary so little beside their mean that noise would be as small. All
    differences of their slices and means are 0.
    """

    slices: Floats
    means: Floats
    zeros: Floats
    weights: Floats
    known: Flags
    coarse: Flags


@dataclass(frozen=True, eq=False)
class Noise:
    """What noise alone does to a window against another, in so many draws: `signs` [draws, blocks] times `apart`."""

    apart: Differences
    signs: Floats

    @cached_property
    def displacement(self) -> Floats:
        """How far equal slices of the quantile function move [draws, units, slices], in activation units."""
        return np.asarray(np.tensordot(self.signs, self.apart.slices, 1))

    @cached_property
    def distance(self) -> Floats:
        """The mean distance that slices move [draws, units]; the compiled kernel does not keep how far each does."""
        slices = self.apart.slices
        if not (kernel_choice.uses_native() and 0 < len(slices) <= MOST and slices.shape[2] == SLICES):
            return np.asarray(np.abs(self.displacement).mean(2))
        found = np.empty((len(self.signs), slices.shape[1]))
        at = np.ascontiguousarray(slices), slices.shape[1], len(slices)
        kernel_choice.compiled.distances(*at, np.ascontiguousarray(self.signs), len(self.signs), found)
        return found

    @cached_property
    def zeros(self) -> Floats:
        """How far the share of exact zeros moves [draws, units]."""
        return np.asarray(np.tensordot(self.signs, self.apart.zeros, 1))


_Apart = tuple[Floats, Floats, Floats, Floats, Ints, Flags]
"""What `Differences` begins with, in how many blocks of both windows each unit was seen, and which are coarse."""


def matched(a: Blocks | None, b: Blocks | None) -> tuple[Blocks, Blocks] | None:
    """Returns equally many blocks of both windows, which can be exchanged; None where there are fewer than `FEWEST`."""
    count = matching(a, b)
    return None if a is None or b is None or count is None else (a.joined(count), b.joined(count))


def matching(a: Blocks | None, b: Blocks | None) -> int | None:
    """Returns how many blocks of both windows can be exchanged; None where there are fewer than `FEWEST`."""
    count = 0 if a is None or b is None else min(_count(a), _count(b))
    return None if count < FEWEST else count


def differences(a: Blocks, b: Blocks, count: int | None = None) -> Differences:
    """Returns the differences of two windows, b less a, of so many blocks of each: by default as many as `a` has.

    Neighbours are joined where a window has more, as by `Blocks.joined`. The compiled kernel does it in one go, unit by
    unit (kernel/exchange.cc).
    """
    count = len(a) if count is None else count
    slices, means, zeros, weights, seen, coarse = (_native if compiled(a, b, count) else _numpy)(a, b, count)
    return Differences(slices, means, zeros, weights, (seen >= FEWEST) & ~coarse, coarse)


def compiled(a: Blocks, b: Blocks, count: int) -> bool:
    """Whether the compiled kernel takes so many blocks of two windows."""
    single = a.slices.dtype == b.slices.dtype == np.float32
    return kernel_choice.uses_native() and single and 0 < count <= len(a) <= MOST and count <= len(b) <= MOST


def _native(a: Blocks, b: Blocks, count: int) -> _Apart:
    units = len(a.slices)
    slices, means, zeros = np.empty((count, units, SLICES)), np.empty((count, units)), np.empty((count, units))
    weights, seen, coarse = np.empty(count), np.empty(units, np.int64), np.empty(units, bool)
    both = [*handed(a, count), *handed(b, count)]
    kernel_choice.compiled.differ(*both, units, count, slices, means, zeros, weights, seen, coarse, ROUNDING)
    return slices, means, zeros, weights, seen, coarse


def handed(blocks: Blocks, count: int) -> list[Any]:
    """Returns the blocks of a window, to be joined to so many, as the compiled kernel takes them."""
    counts = blocks.sampled, blocks.zeros
    shared = len(blocks.sampled) and not any(one.strides[0] for one in counts)
    sampled, zeros = (np.ascontiguousarray(one[0] if shared else one, np.int64) for one in counts)
    slices = np.ascontiguousarray(blocks.slices)
    return [slices, sampled, zeros, len(blocks), 0 if shared else len(blocks), blocks.edges(count)]


def _numpy(a: Blocks, b: Blocks, count: int) -> _Apart:
    coarse = _coarse(a, b, count)
    a, b = a.joined(count), b.joined(count)
    seen = (a.sampled > 0) & (b.sampled > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.where(seen, (_shares(a) + _shares(b)) / 2, 0.0)
        zeros = np.where(seen, (b.zeros / b.sampled - a.zeros / a.sampled) * weights, 0.0)
        apart = np.where(seen[:, :, None], b.slices - a.slices, 0.0).astype(float)
    largest = np.fmax(np.abs(a.slices), np.abs(b.slices)).max(axis=(1, 2), initial=0.0, where=seen[:, :, None])
    rounding = largest * share_of_rounding(a.slices.dtype, b.slices.dtype)
    means = _beyond(apart.mean(2), rounding[:, None]) * weights
    apart = _beyond(apart, rounding[:, None, None]) * weights[:, :, None]
    by_block = np.ascontiguousarray(apart.transpose(1, 0, 2))
    total = weights.sum(0) / max(len(weights), 1)
    by_block[:, coarse] = means[coarse] = 0
    return by_block, means.T, zeros.T, total, seen.sum(1), coarse


@np.errstate(all="ignore")
def _coarse(a: Blocks, b: Blocks, count: int) -> Flags:
    """Returns which units [units] of so many blocks are coarse: see `Differences`.

    Windows over the same examples in the same order differ by rounding alone as well. There units vary by so much that
    independent values would have shown more, and it is known that there is no noise.
    """
    share = share_of_rounding(a.slices.dtype, b.slices.dtype)
    lows, highs = zip(*(_ends(one) for one in (a, b)), strict=True)
    most = np.maximum(*(one.sizes(count)[0].max(1, initial=1) for one in (a, b)))
    largest = np.fmax(np.fmax(*np.abs(lows)), np.fmax(*np.abs(highs)))
    spread = np.fmax(highs[0] - lows[0], highs[1] - lows[1])
    few = np.flatnonzero(spread <= _TOLD * share * largest * np.sqrt(most))
    coarse = np.zeros(len(largest), bool)
    if len(few):
        first, second = (one.take(few).joined(count) for one in (a, b))
        apart = np.abs(second.slices.astype(float) - first.slices)  # NaN where either has none.
        lost = (apart > 0) & (apart <= share * largest[few, None, None])
        coarse[few] = lost.sum((1, 2)) > _LOST * (apart > 0).sum((1, 2))
    return coarse


def _ends(blocks: Blocks) -> tuple[Floats, Floats]:
    """Returns the lowest and the highest slice mean of every unit [units]; NaN where it was not seen."""
    low, high = (blocks.slices[:, :, place].astype(float) for place in (0, -1))
    return np.fmin.reduce(low, 1, initial=np.nan), np.fmax.reduce(high, 1, initial=np.nan)


def magnitude(values: Floats) -> Floats:
    """Returns the root of the sum of squares over the first axis, right also where squares leave the range of float64.

    >>> magnitude(np.array([[3.0, 3e200, 3e-200], [4.0, 4e200, 4e-200]]))
    array([5.e+000, 5.e+200, 5.e-200])
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("n...,n...->...", values, values)
    found: Floats = np.sqrt(squares)
    odd = ~((squares > _SQUARES[0]) & (squares < _SQUARES[1]))
    if odd.any():
        found[odd] = np.hypot.reduce(values[:, odd])  # Many times as slow.
    return found


def _beyond(apart: Floats, rounding: Floats) -> Floats:
    return np.where(np.abs(apart) > rounding, apart, 0.0)


@cache
def patterns(blocks: int) -> Floats:
    """Returns signs [patterns, blocks], -1 for a block that changes places; the first row leaves all as they are.

    All patterns that differ, where these are at most `PATTERNS`, else so many at random, the same every time. (The
    first block never changes places: all others the other way round is the same exchange.)
    """
    if 2 ** (blocks - 1) <= PATTERNS:
        places = np.arange(2 ** (blocks - 1))[:, None] >> np.arange(blocks - 1) & 1
        return np.hstack([np.ones((len(places), 1)), 1.0 - 2.0 * places])
    drawn = np.random.default_rng(blocks).choice([-1.0, 1.0], (PATTERNS - 1, blocks))
    return np.vstack([np.ones(blocks), drawn])


def alike(a: Blocks, b: Blocks, count: int | None = None) -> bool:
    """Returns whether so many blocks of two windows, by default as they are, hold about as many values.

    Where they do not, their slices differ by that alone, and a skewed difference is not as likely the other way round:
    then exchanges can compare only their means.
    """
    sizes = [_typical(one, len(one) if count is None else count) for one in (a, b)]
    return max(sizes) <= _ALIKE * min(sizes)


def _typical(blocks: Blocks, count: int) -> float:
    """Returns the median number of values of so many joined blocks."""
    if not blocks.sampled.size:
        return 0.0
    every = blocks.sampled if blocks.sampled.strides[0] else blocks.sampled[0]  # They may be the same of all units.
    first = every.flat[0]
    if (every == first).all():  # As of most sites; a median of all takes longer.
        return float(first * _typical_length(len(blocks), min(count, len(blocks))))
    return float(np.median(blocks.sizes(count)[0]))


@cache
def _typical_length(blocks: int, count: int) -> float:
    """Returns the median number of blocks that are joined to one, of so many to so many."""
    return float(np.median(np.diff(edges_of(blocks, count))))


def noise(apart: Differences) -> Noise:
    """Returns what noise alone does to one window against the other.

    As many blocks are exchanged as not, so that a difference that all blocks have, a true shift, is in no draw.
    """
    weights = apart.weights
    signs = _balanced(len(weights))
    signs = signs - (signs @ weights)[:, None] / weights.sum()
    kept = np.sqrt((signs**2 @ weights**2) / np.sum(weights**2))
    signs /= kept[:, None]
    return Noise(apart, signs)


@cache
def _balanced(blocks: int) -> Floats:
    random = np.random.default_rng([blocks, BALANCED])
    half = np.where(np.arange(blocks) < blocks // 2, -1.0, 1.0)
    return np.array([random.permutation(half) for _ in range(BALANCED)])


def _count(blocks: Blocks) -> int:
    single = blocks.steps.sum() < 2 * len(blocks)
    return len(blocks) // 2 if single and len(blocks) >= 2 * FEWEST else len(blocks)


def _shares(blocks: Blocks) -> Floats:
    return np.asarray(blocks.sampled / blocks.sampled.sum(1, keepdims=True))
