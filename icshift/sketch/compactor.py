"""A quantile compactor in lockstep: all units of a site share one array.

This is the sketch of Karnin, Lang & Liberty (2016), "Optimal quantile approximation in streams", with three changes.

The lowest level, which values come to, is full with `K` of them, the first time with `MOST`. Then it is sorted, one
value of every four neighbours goes up a level with four times the weight, and the others are dropped. (The paper keeps
one of two. One of four, taken from the middle, has the same error for half the sorting.) From there on the middle one
of three goes up, which moves no mean: at great weights there are not enough compactions for their errors to cancel.

Higher levels share what `room` there is, in whatever proportion they need, and only where they outgrow it is one of
them cut: that which frees most for the least error. So all memory is in use all the time, and few large levels are cut
in place of many small ones: two sketches with levels of 512 values each took twice as much for the same errors.

And some values at either end of a level stay where they are: far out, neighbours lie far apart and dropping one costs
most. So the `TAIL` lowest and highest of all values that were seen are there, each with the weight 1.

All units of a site see equally many values, so levels fill at the same moment for all of them and one
sort of `[units, K]` rows serves every unit (one sketch object a unit is about 230 times slower). It is shift- and
scale-equivariant, which a histogram on a fixed grid is not: there a unit with mean 100 and standard
deviation 1 is invisible.

Guarantee: up to `MOST` values the sketch is exact. Beyond that, dropping a value moves its weight to the kept
neighbour. The sum of weights times distances, `moved`, bounds the Wasserstein-1 distance between the sketch and
everything it saw, for every unit, whatever the data and their order; `ranks`, a count of compactions by their weights,
bounds the error of every rank in the same way. Both are known when the sketch is read. Of 100,000 normal values a unit
the bounds are 0.03 of a standard deviation and 0.9 % of the ranks; the distance itself is 0.005 of a standard
deviation. Of ten million the bounds are 0.063 and 1.8 %.

Memory: 1,408 values a unit (5.6 kB in float32) in a window of up to 16,384, as 256 steps of 64; 2,048 in one of
100,000.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from icshift.distribution import Floats
from icshift.sketch.kernel import kernel
from icshift.sketch.level import MOST, QUARTER, THIRD, K, Level, goes_up, points

_LEAST, _MORE = 1408, 128
"""Values that there is room for, all levels together: in a sketch of up to 2^14 values, and by how much more in one of
twice as many, at every doubling; at the first, where a fourth level is needed, three times as much."""

_WORTH = 160
"""Values that go up at least where a higher level is cut, if there is one of so many: the error of a compaction does
not depend on how many they are."""

_PIECE = 128
"""Values that are put on a higher level at a time."""


def room(seen: int) -> int:
    """Returns how many values a sketch that saw so many may keep, of a unit.

    >>> room(16_383), room(20_000), room(100_000), room(10_000_000)
    (1408, 1792, 2048, 2944)
    """
    doublings = (seen >> 14).bit_length()
    return _LEAST + _MORE * (doublings + 2 * (doublings > 0))


class Sketch:
    """Quantile sketch of `units` units that always see equally many values.

    Non-finite values enter as +inf and stay at the end of the sorted rows; they count as values until
    `points` marks them.
    """

    def __init__(self, units: int, dtype: type[np.floating[Any]], random: np.random.Generator) -> None:
        self.units = units
        self._dtype = dtype
        self._kernel = kernel(dtype)
        self._memory = self._kernel.level(units, K)
        self.restart(random)

    def restart(self, random: np.random.Generator) -> None:
        """Forgets everything but the memory it took, which costs much to get anew."""
        self.seen = 0
        self.moved = np.zeros(self.units)
        """Weight times distance [units] by which compactions moved values: an upper bound on W1 times `seen`.
        NaN for units with non-finite values."""
        self._fill = [0]
        """Of each level, the lowest first. In memory the lowest comes last: it grows, and what leaves it for the next
        one lies at that one's end already."""
        self._random = random
        self._offset = 0
        self._lowered = 0
        self._raised = 0

    def update(self, values: Floats) -> None:
        """Takes in values [units, m], in any order."""
        taken = 0
        while taken < values.shape[1]:
            most = MOST if len(self._fill) == 1 else K
            if self._fill[0] >= most:
                self._compact(0)
                self._fit(0)
                continue
            first = sum(self._fill)
            new = min(most - self._fill[0], values.shape[1] - taken)
            self._extend(first + new)
            self._memory[:, first : first + new] = values[:, taken : taken + new]
            self._fill[0] += new
            self.seen += new
            taken += new

    def absorb(self, other: Sketch) -> None:
        """Takes in what another sketch of as many units saw, with its errors; the other stays as it is."""
        self.moved += other.moved
        self._raised += other._raised
        self._lowered += other._lowered
        self.seen += other.seen - other._fill[0]
        for height, level in enumerate(other.kept()):
            for first in range(0, level.fill, _PIECE):
                piece = level.values[:, first : min(first + _PIECE, level.fill)]
                self._insert(height, piece) if height else self.update(piece)

    @property
    def ranks(self) -> int:
        """A bound on the error of any rank, as a number of values.

        Of four neighbours below a point all count, of three the kept one may be missing or count for four: keeping
        the second value raises a rank by at most two weights and lowers it by at most one; the third, the other way
        round. Keeping the middle one of three does either by at most one.
        """
        return max(self._lowered, self._raised)

    def kept(self) -> list[Level]:
        """Returns what the levels hold, the lowest first: as it is, to be read before the sketch goes on."""
        return [
            Level(self._memory[:, self._first(height) :], fill, float(_weight(height)))
            for height, fill in enumerate(self._fill)
        ]

    def points(self) -> tuple[Floats, Floats]:
        """Returns all values kept [units, m] in sorted runs, NaN for non-finite ones, and their weights [m]."""
        return points(self.kept(), self.units, self._dtype)

    def _first(self, height: int) -> int:
        """Where a level begins: after all that are higher."""
        return sum(self._fill[height + 1 :])

    def _extend(self, count: int) -> None:
        """Have memory for so many values of a unit."""
        there = self._memory.shape[1]
        if count > there:
            longer = self._kernel.level(self.units, min(max(count, there + K // 2), max(count, room(self.seen))))
            longer[:, :there] = self._memory
            self._memory = longer

    def _insert(self, height: int, values: Floats) -> None:
        """Put values [units, n] on a higher level, each standing for its weight."""
        count = values.shape[1]
        if self._fill[0] > K:  # What was exact until now is no longer.
            self._compact(0)
        self._fill += [0] * (height + 1 - len(self._fill))
        if self._fill[height] + count > MOST:
            self._compact(height)
        self._fit(count)
        first, end = self._first(height) + self._fill[height], sum(self._fill)
        self._extend(end + count)
        self._memory[:, first + count : end + count] = self._memory[:, first:end]
        self._memory[:, first : first + count] = values
        self._fill[height] += count

    def _fit(self, count: int) -> None:
        """Cut higher levels until they, with so many values more, leave the lowest one its room."""
        while sum(self._fill[1:]) + count > room(self.seen) - K:
            up = {height: goes_up(fill, THIRD) for height, fill in enumerate(self._fill) if height}
            some = [height for height in up if up[height] > 1]
            self._compact(min(some, key=lambda height: (up[height] < _WORTH, _weight(height) / up[height])))

    def _compact(self, height: int) -> None:
        """Sort a level, and move one value of all neighbours between its ends up a level."""
        # A random start, then taking turns, makes the rank errors of neighbouring compactions cancel.
        self._offset = self._offset or 1 + int(self._random.integers(2))
        group, fill, weight = THIRD if height else QUARTER, self._fill[height], _weight(height)
        up, offset = goes_up(fill, group), 1 if height else self._offset
        if height + 1 == len(self._fill):
            self._fill.append(0)
        if self._fill[height + 1] + up > MOST:
            self._compact(height + 1)
        first, end = self._first(height), sum(self._fill)
        # Infinite ends make this NaN for good, which says that there is no bound.
        self.moved += weight * self._kernel.compact(self._memory[:, first : first + fill], group, offset)
        left = fill - up * group
        self._memory[:, first + up + left : end - fill + up + left] = self._memory[:, first + fill : end]
        self._raised += weight * (group - 1 - offset)
        self._lowered += weight * offset
        if not height:
            self._offset = QUARTER - 1 - offset
        self._fill[height], self._fill[height + 1] = left, self._fill[height + 1] + up


def _weight(height: int) -> int:
    return QUARTER * THIRD ** (height - 1) if height else 1
