"""From what was taken in to distributions: small sites that are alike are read together, as one of all their units.

What is computed of three units takes as long as of a hundred, and a mixture of experts has thousands of such sites.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from icshift.blocks import Blocks, side_by_side
from icshift.distribution import Distribution, Floats
from icshift.sketch import moments as exact
from icshift.sketch.moments import Moments
from icshift.sketch.summary import Summary

_TOGETHER = 256
"""Units that are read together, at most, unless one site has more: what is copied of them stays in the cache."""


@dataclass(frozen=True, eq=False)
class Ended:
    """A summary that is to be read, and the `examples` [units, k] that are part of the distribution, if there are."""

    summary: Summary
    examples: Floats | None = None


def distribution_of(ended: Ended) -> Distribution:
    """Returns the distribution of one."""
    return distributions([ended])[0]


def distributions(ended: Sequence[Ended]) -> list[Distribution]:
    """Returns the distribution of each, in order. What they are read from stays as it is."""
    found: list[Any] = [None] * len(ended)
    for places in _alike(ended):
        for place, one in zip(places, _of_alike([ended[place] for place in places]), strict=True):
            found[place] = one
    return found


def _alike(ended: Sequence[Ended]) -> Iterator[list[int]]:
    """The places of those that are read together."""
    groups: dict[Hashable, list[int]] = {}
    sizes: dict[Hashable, int] = {}
    for place, one in enumerate(ended):
        form, units = one.summary.form, one.summary.units
        if sizes.get(form, 0) + units > _TOGETHER and form in groups:
            yield groups.pop(form)
            sizes[form] = 0
        groups.setdefault(form, []).append(place)
        sizes[form] = sizes.get(form, 0) + units
    yield from groups.values()


@np.errstate(all="ignore")  # As where steps are worked off.
def _of_alike(ended: Sequence[Ended]) -> list[Distribution]:
    summaries = [one.summary for one in ended]
    first, sketches = summaries[0], [one.sketch for one in summaries]
    edges = np.cumsum([0, *(one.units for one in summaries)]).tolist()
    sampled, zeros = (
        np.concatenate([one.sampled for one in summaries]),
        np.concatenate([one.zeros for one in summaries]),
    )
    total = _total(summaries)
    count, nonfinite = total.table[:2, 0].astype(np.int64)
    seen = count > 0
    digest = first.kernel.digests([sketch.kept() for sketch in sketches], sampled)
    w1_error = np.concatenate([sketch.moved for sketch in sketches]) / np.maximum(sampled, 1) + digest.error
    # Pairs of a finite and a non-finite value have no gap to add up; no error exceeds the range of the values.
    spread = np.where(seen, total.max[0] - total.min[0], 0.0)
    w1_error = np.where(np.isfinite(w1_error), np.minimum(w1_error, spread), spread)
    least = np.minimum.reduceat(np.where(seen, sampled, 1 << 62), edges[:-1])
    rank_error = np.minimum(1.0, sketches[0].ranks / np.maximum(least, 1) + digest.rank).tolist()
    blocks = None if first.blocks is None else side_by_side([one.blocks for one in summaries if one.blocks is not None])
    whole = Distribution(
        count=count,
        nonfinite=nonfinite,
        mean=np.where(seen, total.mean[0], np.nan),
        std=total.deviation[0] / np.sqrt(count),
        min=np.where(seen, total.min[0], np.nan),
        max=np.where(seen, total.max[0], np.nan),
        zero_share=zeros / sampled,
        sampled=sampled,
        values=digest.values,
        w1_error=w1_error,
        rank_error=max(rank_error),
        blocks=blocks,
        tails=digest.tails,
    )
    units = [slice(start, end) for start, end in pairwise(edges)]
    return [_part(whole, *one) for one in zip(units, rank_error, [one.examples for one in ended], strict=True)]


def _part(whole: Distribution, units: slice, rank_error: float, examples: Floats | None) -> Distribution:
    """The distribution of some units, which lie side by side."""
    blocks = whole.blocks
    if blocks is not None:
        blocks = Blocks(blocks.slices[units], blocks.sampled[units], blocks.zeros[units], blocks.steps)
    return Distribution(
        count=whole.count[units],
        nonfinite=whole.nonfinite[units],
        mean=whole.mean[units],
        std=whole.std[units],
        min=whole.min[units],
        max=whole.max[units],
        zero_share=whole.zero_share[units],
        sampled=whole.sampled[units],
        values=whole.values[units],
        w1_error=whole.w1_error[units],
        rank_error=rank_error,
        blocks=blocks,
        examples=examples,
        tails=None if whole.tails is None else whole.tails[units],
    )


def _total(summaries: Sequence[Summary]) -> Moments:
    """The moments of each unit."""
    parts = zip(*(one.moments for one in summaries), strict=True)
    whole = exact.stack([Moments(np.concatenate([one.table for one in part], axis=2)) for part in parts])
    return whole if whole.table.shape[1] == 1 else summaries[0].kernel.total(whole)
