"""A quantile compactor in lockstep: all units of a site share one array a level.

This is the sketch of Karnin, Lang & Liberty (2016), "Optimal quantile approximation in streams", with two changes.
A full level is sorted, one value of every four neighbours is kept and goes up a level with four times the weight. (The
paper keeps one of two. One of four, taken from the middle, has the same error for half the sorting.) And the `TAIL`
values at either end of a full level stay where they are: far out, neighbours lie far apart and dropping one costs most.
So the `TAIL` lowest and highest of all values that were seen are there, each with the weight 1.

All units of a site see equally many values, so levels fill at the same moment for all of them and one
sort of `[units, K]` rows serves every unit (one sketch object a unit is about 230 times slower). It is shift- and
scale-equivariant, which a histogram on a fixed grid is not: there a unit with mean 100 and standard
deviation 1 is invisible.

Guarantee: up to `K` values the sketch is exact. Beyond that, dropping a value moves its weight to the kept neighbour.
The sum of weights times distances, `moved`, bounds the Wasserstein-1 distance between the sketch and everything it saw,
for every unit, whatever the data and their order; `ranks`, a count of compactions by their weights, bounds the error of
every rank in the same way. Both are known when the sketch is read. Of 100,000 normal values a unit the bounds are 0.04
of a standard deviation and 1.1 % of the ranks; the distance itself is 0.006 of a standard deviation. Of ten million the
bounds are 0.064 and 2.1 %.

Memory: `K` values a unit and level, and a level overflows a quarter as often as the one below: 100,000 values take five
levels (10 KiB a unit in float32), ten million take eight (16 KiB).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from icshift.distribution import Floats, Ints
from icshift.sketch.kernel import kernel
from icshift.sketch.level import GOING_UP, GROUP, K, Level, points
from icshift.tails import TAIL

MOST_LEVELS = 32
"""Levels that a sketch can have: 10^21 values take so many."""


class Sketch:
    """Quantile sketch of `units` units that always see equally many values.

    Non-finite values enter as +inf and stay at the end of the sorted rows; they count as values until
    `points` marks them.
    """

    def __init__(self, units: int, dtype: type[np.floating[Any]]) -> None:
        self.units = units
        self._dtype = dtype
        self._kernel = kernel(dtype)
        self._levels: list[Floats] = []
        self.restart(np.ones(MOST_LEVELS, np.int64))

    def restart(self, offsets: Ints) -> None:
        """Forgets everything but the memory it took, which costs much to get anew.

        `offsets` [MOST_LEVELS], drawn from 1 and 2, say which neighbour goes up from each level at first.
        """
        self.seen = 0
        self.moved = np.zeros(self.units)
        """Weight times distance [units] by which compactions moved values: an upper bound on W1 times `seen`.
        NaN for units with non-finite values."""
        self._fill = [0] * len(self._levels)
        self._offset: list[int] = offsets.tolist()
        self._lowered = 0
        self._raised = 0

    def update(self, values: Floats) -> None:
        """Takes in values [units, m], in any order."""
        self.seen += values.shape[1]
        self._push(0, values)

    def space(self) -> int:
        """Returns for how many values there is room in one piece. Values have to come: a full level is compacted."""
        self._begin(0)
        if self._fill[0] == K:
            self._compact(0)
        return K - self._fill[0]

    def room(self, count: int) -> Floats:
        """Returns memory [units, count] for so many values, which are then taken in; there is `space` for them."""
        fill = self._fill[0]
        self._fill[0] = fill + count
        self.seen += count
        return self._levels[0][:, fill : fill + count]

    def absorb(self, other: Sketch) -> None:
        """Takes in what another sketch of as many units saw, with its errors; the other stays as it is."""
        self.seen += other.seen
        self.moved += other.moved
        self._raised += other._raised
        self._lowered += other._lowered
        for height, (level, fill) in enumerate(zip(other._levels, other._fill, strict=True)):
            if fill:
                self._push(height, level[:, :fill])

    @property
    def ranks(self) -> int:
        """A bound on the error of any rank, as a number of values.

        Of four neighbours below a point all count, of three the kept one may be missing or count for four: keeping
        the second value raises a rank by at most two weights and lowers it by at most one; the third, the other way
        round.
        """
        return max(self._lowered, self._raised)

    def kept(self) -> list[Level]:
        """Returns what the levels hold, the lowest first: as it is, to be read before the sketch goes on."""
        filled = zip(self._levels, self._fill, strict=True)
        return [Level(level, fill, float(GROUP**height)) for height, (level, fill) in enumerate(filled)]

    def points(self) -> tuple[Floats, Floats]:
        """Returns all values kept [units, m] in sorted runs, NaN for non-finite ones, and their weights [m]."""
        return points(self.kept(), self.units, self._dtype)

    def _push(self, height: int, values: Floats) -> None:
        """Put values [units, n] on a level, each standing for `GROUP**height`; full levels move up on the way."""
        self._begin(height)
        taken = 0
        while taken < values.shape[1]:
            if self._fill[height] == K:
                self._compact(height)
            fill = self._fill[height]
            room = min(K - fill, values.shape[1] - taken)
            self._levels[height][:, fill : fill + room] = values[:, taken : taken + room]
            self._fill[height] = fill + room
            taken += room

    def _compact(self, height: int) -> None:
        """Sort a full level, and move one value of every four neighbours between its ends up a level."""
        level, weight, offset = self._levels[height], GROUP**height, self._offset[height]
        self._begin(height + 1)
        if self._fill[height + 1] == K:
            self._compact(height + 1)
        fill = self._fill[height + 1]
        fits = fill + GOING_UP <= K
        up = self._levels[height + 1][:, fill : fill + GOING_UP] if fits else self._kernel.values(self.units, GOING_UP)
        # Infinite ends make this NaN for good, which says that there is no bound.
        self.moved += weight * self._kernel.compact(level, offset, up)
        self._raised += weight * (GROUP - 1 - offset)
        self._lowered += weight * offset
        # A random start, then taking turns, makes the rank errors of neighbouring compactions cancel.
        self._offset[height] = GROUP - 1 - offset
        self._fill[height] = 2 * TAIL
        if fits:
            self._fill[height + 1] = fill + GOING_UP
        else:
            self._push(height + 1, up)

    def _begin(self, height: int) -> None:
        if height == len(self._levels):
            self._levels.append(self._kernel.values(self.units, K))
            self._fill.append(0)
