"""Distributions of one site from many processes as one: all their values in one pass, sorted once, cut once.

Merging two at a time would cut the quantile function anew with every merge, and each cut adds to the stated errors. In
one pass the stated errors are the parts' own, by their shares, and that of one cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift import kernel_choice
from icshift.blocks import Blocks
from icshift.distribution import EXACT, QUANTILES, Distribution, Floats, Ints, ordered, summarise, weighted_values
from icshift.runs.held import repeated
from icshift.tails import TAIL

_AT_ONCE = 16
"""Units whose values are put together at once: with 64 processes, 8,192 values a unit, an array takes 1 MB."""

_SUMMED = 128
"""Units whose blocks are added up at once: their sums take 128 kB, which stay in the cache from part to part."""

_MOST_RANKS = 1 << 16
"""Parts that a value can be marked with."""

Summary = tuple[Floats, Floats, float]
"""Values that are kept, how far they are from all values, and from the ranks of these: as `summarise` returns them."""


def pooled(parts: Sequence[Distribution]) -> Distribution:
    """Returns the distribution of all parts together, as if recorded in one; see `Distribution.merge`.

    There are examples where one part alone has them. Raises `ValueError` where the parts' units differ.
    """
    if len(parts) < 3:
        return parts[0] if len(parts) == 1 else parts[0].merge(parts[1])
    if len({part.units for part in parts}) > 1:
        raise ValueError(f"cannot merge {sorted({part.units for part in parts})} units: not the same site")
    sampled = np.array([part.sampled for part in parts])
    share = sampled / np.maximum(sampled.sum(0), 1)
    held = [part for part in parts if part.values.shape[1]]
    values, cut, rank = _values(held) if held else (parts[0].values, np.zeros(parts[0].units), 0.0)
    count = np.array([part.count for part in parts])
    mean, std = _moments(count, *(np.array([getattr(part, name) for part in parts]) for name in ("mean", "std")))
    examples = [part.examples for part in parts if part.examples is not None]
    blocks = [part.blocks for part in parts if part.blocks is not None]
    return Distribution(
        count=count.sum(0),
        nonfinite=np.sum([part.nonfinite for part in parts], axis=0),
        mean=mean,
        std=std,
        min=np.fmin.reduce([part.min for part in parts]),
        max=np.fmax.reduce([part.max for part in parts]),
        zero_share=_weighted(sampled, np.array([part.zero_share for part in parts])),
        sampled=sampled.sum(0),
        values=values,
        w1_error=np.sum(share * [part.w1_error for part in parts], axis=0) + cut,
        rank_error=float(
            sum(np.max(own, initial=0.0) * part.rank_error for own, part in zip(share, parts, strict=True))
        )
        + rank,
        blocks=_blocks(blocks) if len(blocks) == len(parts) else None,
        examples=examples[0] if len(examples) == 1 else None,
        tails=_tails(held, values, sampled.sum(0)) if held else None,
    )


def _weighted(weights: Ints, values: Floats) -> Floats:
    """Returns means [units] of values [parts, units], NaN without weight; a part of no weight may hold NaN."""
    total = weights.sum(0)
    return np.where(total > 0, np.where(weights > 0, weights * values, 0.0).sum(0) / np.maximum(total, 1), np.nan)


def _moments(count: Ints, mean: Floats, std: Floats) -> tuple[Floats, Floats]:
    middle = _weighted(count, mean)
    return middle, np.sqrt(_weighted(count, std**2 + (mean - middle) ** 2))


def _values(parts: Sequence[Distribution]) -> Summary:
    dtype = np.result_type(*(part.values for part in parts)).type
    found = []
    for start in range(0, parts[0].units, _AT_ONCE):
        here = slice(start, start + _AT_ONCE)
        values = [part.values[here] for part in parts]
        sampled = np.array([part.sampled[here] for part in parts])
        found.append(_summarised(values, sampled, dtype))
    kept, errors, ranks = zip(*found, strict=True)
    return np.concatenate(kept), np.concatenate(errors), max(ranks)


def _summarised(values: Sequence[Floats], sampled: Ints, dtype: type[np.floating[Any]]) -> Summary:
    """Returns what is kept of the values [units, k] of every part, which stand for `sampled` [parts, units] ones."""
    widths = np.array([part.shape[1] for part in values])
    points = np.concatenate(values, axis=1)
    weights = sampled / widths[:, None]
    complete = not np.isnan(points).any()
    alike, count = complete and bool((weights == weights[0]).all()), points.shape[1]
    if alike and count <= EXACT and (weights == 1).all():
        return np.sort(points, axis=1).astype(dtype), np.zeros(len(points)), 0.0
    if alike and count > EXACT and count % QUANTILES == 0:
        points.sort(axis=1)
        return *_even(points, dtype), 1.0 / QUANTILES
    if complete and dtype is np.float32 and count > EXACT and len(values) <= _MOST_RANKS:
        share = (weights / sampled.sum(0)).T
        if share.max() <= 1 / QUANTILES:
            return *_uneven(points, widths, share, dtype), 1.0 / QUANTILES
    each = [weighted_values(part, own) for part, own in zip(values, sampled, strict=True)]
    whole = bool((weights == 1).all())
    of_points = np.ones(points.shape[1]) if whole else np.concatenate([own for _, own in each], axis=1)
    return summarise(*ordered(points, of_points), dtype)


def _even(points: Floats, dtype: type[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Returns the means of equal slices of sorted points of equal weight, and the points' mean distance from them."""
    if kernel_choice.uses_native() and points.dtype == dtype == np.float32:
        kept, error = np.empty((len(points), QUANTILES), np.float32), np.empty(len(points))
        kernel_choice.compiled.cut_even(points, *points.shape, QUANTILES, kept, error)
        return kept, error
    slices = points.reshape(len(points), QUANTILES, -1)
    means = np.clip(slices.mean(2, dtype=float), slices[:, :, 0], slices[:, :, -1])
    apart = slices - means[:, :, None]
    return means.astype(dtype), np.abs(apart, out=apart).mean((1, 2))


def _uneven(points: Floats, widths: Ints, share: Floats, dtype: type[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Returns the same of points [units, k] that are not sorted, those of every part with its `share` [units, parts].

    No share is more than that of a slice, so that a point is cut by one edge at most.
    """
    x, weights = _with_weights(points, widths, share)
    units, count = x.shape
    first = x[:, :1].copy()
    x -= first
    place, integral = np.cumsum(weights, axis=1), np.cumsum(x * weights, axis=1)
    place *= QUANTILES / place[:, -1:]
    # The point in which each edge lies, but for the outermost; what of it is beyond the edge is the next slice's.
    edges, row = np.arange(1, QUANTILES), np.arange(units)[:, None]
    axis = (place + (QUANTILES + 1.0) * row).ravel()
    cut = np.searchsorted(axis, (edges + (QUANTILES + 1.0) * row).ravel()).reshape(units, -1) - row * count
    cut = np.clip(cut, 0, count - 1)
    at_cut = x[row, cut]
    beyond = np.maximum((place[row, cut] - edges) / QUANTILES, 0.0)
    until = integral[row, cut] - beyond * at_cut
    sums = np.diff(until, axis=1, prepend=0.0, append=integral[:, -1:])
    low = np.concatenate([np.zeros((units, 1)), at_cut], axis=1)
    high = np.concatenate([at_cut, x[:, -1:]], axis=1)
    means = np.maximum.accumulate(np.clip(sums * QUANTILES, low, high), axis=1)
    members = np.diff(cut + 1, axis=1, prepend=0, append=count)
    x -= np.repeat(means.ravel(), members.ravel()).reshape(x.shape)
    error = np.einsum("ij,ij->i", weights, np.abs(x, out=x))
    moved = np.abs(at_cut - means[:, 1:]) - np.abs(at_cut - means[:, :-1])
    return (means + first).astype(dtype), np.maximum(error + (beyond * moved).sum(1), 0.0)


def _with_weights(points: Floats, widths: Ints, share: Floats) -> tuple[Floats, Floats]:
    """Returns the points sorted, as doubles, and the share of each.

    A double that holds a float has 29 bits to spare, in which the number of the part travels along while it is sorted:
    that is three times as fast as sorting places.
    """
    marked = points.astype(np.float64)
    bits = marked.view(np.int64)
    bits |= np.repeat(np.arange(len(widths)), widths)
    marked.sort(axis=1)
    parts = bits & (_MOST_RANKS - 1)
    bits ^= parts
    same = (share == share[0]).all()
    return marked, share[0][parts] if same else np.take_along_axis(share, parts, 1)


def _blocks(parts: Sequence[Blocks]) -> Blocks:
    """Returns blocks of what all hold, block by block, as `Blocks.merge` has it."""
    held = [part for part in parts if len(part)]
    if len(held) < 2:
        return held[0] if held else parts[0]
    count = min(map(len, held))
    joined = [part.joined(count) for part in held]
    sampled = _added([part.sampled for part in joined])
    with np.errstate(invalid="ignore", divide="ignore"):
        slices = (_weighted_slices(joined) / sampled[:, :, None]).astype(joined[0].slices.dtype)
    zeros = _added([part.zeros for part in joined])
    return Blocks(slices, sampled, zeros, np.max([part.steps for part in joined], axis=0))


def _weighted_slices(parts: Sequence[Blocks]) -> Floats:
    """Returns the sums over all parts of their slices, each times the number of values that it stands for."""
    sums = np.zeros(parts[0].slices.shape)
    if kernel_choice.uses_native() and all(part.slices.dtype == np.float32 for part in parts):
        add, units, count = kernel_choice.compiled.add_blocks, len(sums), len(parts[0])
        given = [(np.ascontiguousarray(part.slices), *_once(part.sampled)) for part in parts]
        for start in range(0, units, _SUMMED):
            stop = min(start + _SUMMED, units)
            for slices, sampled, each in given:
                own = sampled[start:stop] if each else sampled
                add(slices[start:stop], own, stop - start, count, each, sums[start:stop])
        return sums
    for part in parts:
        slices = part.slices if part.sampled.all() else np.where(part.sampled[:, :, None] > 0, part.slices, 0.0)
        sums += slices * part.sampled.astype(float)[:, :, None]
    return sums


def _once(counts: Ints) -> tuple[Ints, int]:
    """Returns counts [units, blocks] and how many a unit has; where all share them in memory, one row and 0."""
    return (np.ascontiguousarray(counts), counts.shape[1]) if counts.strides[0] else (counts[:1].copy(), 0)


def _added(counts: Sequence[Ints]) -> Ints:
    """Returns the sum of counts [units, blocks], which are once in memory where they are so in all parts."""
    if any(one.strides[0] for one in counts):
        return np.sum(counts, axis=0)
    return repeated(np.sum([one[0] for one in counts], axis=0), len(counts[0]))


def _tails(parts: Sequence[Distribution], values: Floats, sampled: Ints) -> Floats | None:
    """Returns the lowest and the highest values one by one; see `icshift.tails`."""
    if not (sampled > values.shape[1]).any():
        return None
    known = [part.tails for part in parts if part.tails is not None]
    if kernel_choice.uses_native() and len(known) == len(parts) and all(one.dtype == np.float32 for one in known):
        kept = np.array(known[0], order="C")
        for other in known[1:]:
            kernel_choice.compiled.merge_ends(np.ascontiguousarray(other), len(kept), kept)
        return kept
    ends = [_ends(part) for part in parts]
    both = []
    for side, place in ((0, slice(None, TAIL)), (1, slice(-TAIL, None))):
        end = np.sort(np.concatenate([one[side] for one in ends], axis=1), axis=1)
        both.append(np.where(np.isnan(end[:, -1:]), np.nan, end[:, place]))
    return np.concatenate(both, axis=1).astype(values.dtype) if both[0].shape[1] == TAIL else None


def _ends(part: Distribution) -> tuple[NDArray[Any], NDArray[Any]]:
    if part.tails is not None:
        return part.tails[:, :TAIL], part.tails[:, TAIL:]
    alone = ((part.sampled == part.values.shape[1]) & (part.w1_error == 0))[:, None]
    return np.where(alone, part.values[:, :TAIL], np.nan), np.where(alone, part.values[:, -TAIL:], np.nan)
