"""What is kept of steps while they are recorded: moments, sketches and blocks, and how two stretches are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from icshift.blocks import BlockKeeper, Sums
from icshift.distribution import Distribution, Floats
from icshift.sketch import moments as exact
from icshift.sketch.block import Order
from icshift.sketch.compactor import MOST_LEVELS, Sketch
from icshift.sketch.kernel import kernel
from icshift.sketch.moments import Moments

_PARTS = 16
"""Moments of blocks that wait to be merged into one."""


@dataclass(frozen=True, eq=False)
class Begun:
    """So many steps that begin, and what takes them in.

    They go in turn to one `memory` [units, values] after the other. Where one ends within the last step of its own, the
    rest of that is for its sketch to `update` with.
    """

    count: int
    memory: list[Floats]
    sketches: list[Sketch]
    sums: Sums


class Summary:
    """All that a window, or a part of it, showed of one site in one phase.

    Without `blocks` there are none: so for a probe, whose inputs are the same in every window.
    """

    def __init__(self, units: int, dtype: type[np.floating[Any]], random: np.random.Generator, *, blocks: bool) -> None:
        self.units = units
        self._kernel = kernel(dtype)
        self._blocks = BlockKeeper(units, dtype) if blocks else None
        # Steps take turns between two sketches: twice as many values stay as they are, with half the error of ranks.
        self._sketches = [Sketch(units, dtype) for _ in range(2 if blocks else 1)]
        self.restart(random)

    def restart(self, random: np.random.Generator) -> None:
        """Forgets everything but the memory it took."""
        offsets = 1 + random.integers(2, size=(len(self._sketches), MOST_LEVELS))
        for sketch, own in zip(self._sketches, offsets, strict=True):
            sketch.restart(own)
        if self._blocks is not None:
            self._blocks.restart()
        self._moments: list[Moments] = []
        self._zeros = np.zeros(self.units, np.int64)
        self._sampled = np.zeros(self.units, np.int64)
        self._steps = 0

    def begin(self, most: int, n: int) -> Begun:
        """Begins steps of n values: as many of those that have come as there is room for, but for the rest of one."""
        turns, count = len(self._sketches), most if self._blocks is None else min(most, self._blocks.room())
        sketches = [self._sketches[(self._steps + turn) % turns] for turn in range(min(turns, count))]
        space = [sketch.space() for sketch in sketches]
        count = min(count, *(turn + turns * -(-free // n) for turn, free in enumerate(space)))
        own = [(count - turn + turns - 1) // turns * n for turn in range(len(sketches))]
        memory = [sketch.room(min(*both)) for sketch, *both in zip(sketches, space, own, strict=True)]
        self._steps += count
        return Begun(count, memory, sketches, Sums() if self._blocks is None else self._blocks.begin(count))

    def add(self, order: Order) -> None:
        """Takes in what a block of steps shows, but its moments: `note` takes these, or those of all activations.

        Where its values and slices are None, these were taken in as steps began.
        """
        turns = len(self._sketches)
        if order.values is not None:
            for turn in range(turns):
                values = self._kernel.steps_of(order.values, turn, turns)
                self._sketches[(self._steps + turn) % turns].update(values)
            self._steps += order.values.shape[1]
        if self._blocks is not None and order.slices is not None:
            self._blocks.add(order.slices, order.finite, order.zeros)
        self._zeros += order.zeros.sum(1)
        self._sampled += order.finite.sum(1)

    def absorb(self, following: Summary) -> None:
        """Takes in what followed, of the same site and phase, which stays as it is."""
        for own, given in zip(self._sketches, following._sketches, strict=True):
            own.absorb(given)
        self._steps += following._steps
        if self._blocks is not None and following._blocks is not None:
            self._blocks.absorb(following._blocks)
        if following._moments:
            self.note(exact.stack(following._moments))
        self._zeros += following._zeros
        self._sampled += following._sampled

    @np.errstate(all="ignore")  # As where steps are worked off.
    def distribution(self, examples: Floats | None) -> Distribution:
        """Returns the distribution of all that was taken in; `examples` [units, k] are part of it."""
        total = exact.stack(self._moments).total()
        count, nonfinite = total.table[:2, 0].astype(np.int64)
        seen = count > 0
        std = total.deviation[0] / np.sqrt(count)
        zero_share = self._zeros / self._sampled
        digest = self._kernel.digest([level for sketch in self._sketches for level in sketch.kept()], self._sampled)
        ranks = sum(sketch.ranks for sketch in self._sketches)
        w1_error = sum(sketch.moved for sketch in self._sketches) / np.maximum(self._sampled, 1) + digest.error
        # Pairs of a finite and a non-finite value have no gap to add up; no error exceeds the range of the values.
        spread = np.where(seen, total.max[0] - total.min[0], 0.0)
        w1_error = np.where(np.isfinite(w1_error), np.minimum(w1_error, spread), spread)
        return Distribution(
            count=count,
            nonfinite=nonfinite,
            mean=np.where(seen, total.mean[0], np.nan),
            std=std,
            min=np.where(seen, total.min[0], np.nan),
            max=np.where(seen, total.max[0], np.nan),
            zero_share=zero_share,
            sampled=self._sampled.copy(),
            values=digest.values,
            w1_error=w1_error,
            rank_error=min(1.0, ranks / max(int(self._sampled[seen].min(initial=1 << 62)), 1) + digest.rank),
            blocks=None if self._blocks is None else self._blocks.blocks(),
            examples=examples,
            tails=digest.tails,
        )

    def note(self, moments: Moments) -> None:
        """Takes in the moments of steps, a group each."""
        self._moments.append(self._kernel.total(moments))
        if len(self._moments) > _PARTS:
            self._moments = [exact.stack(self._moments).total()]
