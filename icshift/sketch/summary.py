"""What is kept of steps while they are recorded: moments, sketches and blocks, and how two stretches are joined."""

from __future__ import annotations

from typing import Any

import numpy as np

from icshift.blocks import BlockKeeper, Sums
from icshift.distribution import Distribution, Floats
from icshift.sketch import moments as exact
from icshift.sketch.block import Order
from icshift.sketch.compactor import Sketch
from icshift.sketch.kernel import Intake, kernel
from icshift.sketch.moments import Moments

_PARTS = 4
"""Moments of blocks that wait to be merged into one."""


class Summary:
    """All that a window, or a part of it, showed of one site in one phase.

    Without `blocks` there are none: so for a probe, whose inputs are the same in every window.
    """

    def __init__(self, units: int, dtype: type[np.floating[Any]], *, blocks: bool) -> None:
        self.units = units
        self._kernel = kernel(dtype)
        self._blocks = BlockKeeper(units, dtype) if blocks else None
        self._sketch = Sketch(units, dtype)
        self.restart()

    def restart(self) -> None:
        """Forgets everything but the memory it took."""
        self._sketch.restart()
        if self._blocks is not None:
            self._blocks.restart()
        self._moments: list[Moments] = []
        self._zeros = np.zeros(self.units, np.int64)
        self._sampled = np.zeros(self.units, np.int64)

    def begin(self, most: int, n: int) -> Intake:
        """Begins steps of n values: as many of those that have come as there is room for, but for the rest of one."""
        space = self._sketch.space()
        count = min(most, -(-space // n), most if self._blocks is None else self._blocks.room())
        sums = Sums() if self._blocks is None else self._blocks.begin(count)
        return Intake(count, self._sketch.room(min(space, count * n)), self._sketch, sums)

    def add(self, order: Order) -> None:
        """Takes in what a block of steps shows, but its moments: `note` takes these, or those of all activations.

        Where its values and slices are None, these were taken in as steps began.
        """
        if order.values is not None:
            self._sketch.update(self._kernel.in_turn(order.values))
        if self._blocks is not None and order.slices is not None:
            self._blocks.add(order.slices, order.finite, order.zeros)
        self._zeros += order.zeros.sum(1)
        self._sampled += order.finite.sum(1)

    def absorb(self, following: Summary) -> None:
        """Takes in what followed, of the same site and phase, which stays as it is."""
        self._sketch.absorb(following._sketch)
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
        digest = self._kernel.digest(self._sketch.kept(), self._sampled)
        w1_error = self._sketch.moved / np.maximum(self._sampled, 1) + digest.error
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
            rank_error=min(
                1.0, self._sketch.ranks / max(int(self._sampled[seen].min(initial=1 << 62)), 1) + digest.rank
            ),
            blocks=None if self._blocks is None else self._blocks.blocks(),
            examples=examples,
            tails=digest.tails,
        )

    def note(self, moments: Moments) -> None:
        """Takes in the moments of steps, a group each."""
        self._moments.append(self._kernel.total(moments))
        if len(self._moments) > _PARTS:
            self._moments = [exact.stack(self._moments).total()]
