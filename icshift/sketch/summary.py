"""What is kept of steps while they are recorded: moments, sketches and blocks, and how two stretches are joined."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from icshift.blocks import BlockKeeper, Sums
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
        self.kernel = kernel(dtype)
        self._dtype = dtype
        self.blocks = BlockKeeper(units, dtype) if blocks else None
        self.sketch = Sketch(units, dtype)
        self.restart()

    def restart(self) -> None:
        """Forgets everything but the memory it took."""
        self.sketch.restart()
        if self.blocks is not None:
            self.blocks.restart()
        self.moments: list[Moments] = []
        self.zeros = np.zeros(self.units, np.int64)
        self.sampled = np.zeros(self.units, np.int64)

    def begin(self, most: int, n: int) -> Intake:
        """Begins steps of n values: as many of those that have come as there is room for, but for the rest of one."""
        space = self.sketch.space()
        count = min(most, -(-space // n), most if self.blocks is None else self.blocks.room())
        sums = Sums() if self.blocks is None else self.blocks.begin(count)
        return Intake(count, self.sketch.room(min(space, count * n)), self.sketch, sums)

    def add(self, order: Order) -> None:
        """Takes in what a block of steps shows, but its moments: `note` takes these, or those of all activations.

        Where its values and slices are None, these were taken in as steps began.
        """
        if order.values is not None:
            self.sketch.update(self.kernel.in_turn(order.values))
        if self.blocks is not None and order.slices is not None:
            self.blocks.add(order.slices, order.finite, order.zeros)
        self.zeros += order.zeros.sum(1)
        self.sampled += order.finite.sum(1)

    def absorb(self, following: Summary) -> None:
        """Takes in what followed, of the same site and phase, which stays as it is."""
        self.sketch.absorb(following.sketch)
        if self.blocks is not None and following.blocks is not None:
            self.blocks.absorb(following.blocks)
        if following.moments:
            self.note(exact.stack(following.moments))
        self.zeros += following.zeros
        self.sampled += following.sampled

    @property
    def form(self) -> Hashable:
        """What is the same of summaries that can be read together, as one of all their units.

        One with values that are not finite has a form of its own: its units have different numbers of values.
        """
        if (self.sampled != self.sketch.seen).any():
            return id(self)
        return self._dtype, len(self.moments), self.sketch.form, None if self.blocks is None else self.blocks.form

    def note(self, moments: Moments) -> None:
        """Takes in the moments of steps, a group each."""
        self.moments.append(self.kernel.total(moments))
        if len(self.moments) > _PARTS:
            self.moments = [self.kernel.total(exact.stack(self.moments))]
