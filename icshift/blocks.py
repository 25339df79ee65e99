"""`Blocks`: a window cut into consecutive stretches of steps, from which the noise of its drift is computed.

If nothing moved, a block of one window and the block at the same place of another differ by the noise of their steps
alone. Steps are kept together, not activations, so that correlated positions of one image, and all units of a site,
which see the same examples, count as what they are. Blocks are consecutive, and matched by place: training that
oscillates from step to step and data that come from several sources in turns fall within a block, and what every epoch
does in the same order is the same in both windows.

Of a block only sums over its steps are kept, so that blocks are joined by adding: neighbours in time, and the same
block of several processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

BLOCKS = 16
"""Blocks that are kept of a window, at most: 32,768 ways to exchange them with those of another."""

SLICES = 8
"""Equal slices of the quantile function of every step, of which a block keeps the means."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """What the consecutive blocks of a window showed.

    `slices` [units, blocks, SLICES] are the means of equal slices of the quantile functions of a block's steps,
    averaged over its steps by their number of values; NaN where a unit has none. `sampled` and `zeros` [units, blocks]
    are the numbers of finite values that they stand for, and of exact zeros among these. `steps` [blocks] are the
    numbers of steps (in phases that have no steps, of forwards).

    Four blocks of two steps, joined to two of four:

    >>> blocks = Blocks(np.arange(32.0).reshape(1, 4, 8), np.full((1, 4), 64), np.zeros((1, 4), int), np.full(4, 2))
    >>> joined = blocks.joined(2)
    >>> joined.steps, joined.sampled
    (array([4, 4]), array([[128, 128]]))
    >>> joined.slices[0, :, 0]
    array([ 4., 20.])
    """

    slices: Floats
    sampled: Ints
    zeros: Ints
    steps: Ints

    def __len__(self) -> int:
        return len(self.steps)

    def joined(self, count: int) -> Blocks:
        """Returns so many blocks, each of neighbouring ones; the same blocks where there are no more than that."""
        return self if count >= len(self) else self._starting_at(self.edges(count)[:-1])

    def edges(self, count: int) -> Ints:
        """Returns at which block each of so many joined ones begins, and the number of blocks [count + 1]."""
        return edges_of(len(self), count)

    def sizes(self, count: int) -> tuple[Ints, Ints]:
        """Returns how many finite values, and exact zeros among these, so many joined blocks have [units, count]."""
        if count >= len(self):
            return self.sampled, self.zeros
        starts = self.edges(count)[:-1]
        return _added(self.sampled, starts), _added(self.zeros, starts)

    def _starting_at(self, starts: Ints) -> Blocks:
        return self._of_sums(
            _added(self._weighted(), starts),
            _added(self.sampled, starts),
            _added(self.zeros, starts),
            np.add.reduceat(self.steps, starts),
        )

    def take(self, units: Ints) -> Blocks:
        """Returns the same blocks of some of the units, in the order given."""
        return Blocks(self.slices[units], self.sampled[units], self.zeros[units], self.steps)

    def merge(self, other: Blocks) -> Blocks:
        """Returns blocks of what both hold, block by block: so for the same window recorded by two processes.

        Where one has more blocks, its neighbours are joined first. One without blocks leaves the other as it is.
        """
        if not len(self) or not len(other):
            return self if len(self) else other
        count = min(len(self), len(other))
        a, b = self.joined(count), other.joined(count)
        return self._of_sums(
            a._weighted() + b._weighted(), a.sampled + b.sampled, a.zeros + b.zeros, np.maximum(a.steps, b.steps)
        )

    def followed_by(self, other: Blocks) -> Blocks:
        """Returns the blocks of both one after the other: so for a window that was recorded in two parts.

        Where blocks of one are longer, neighbours of the other are joined first, and where there would be more than
        `BLOCKS`, every two neighbours. So blocks of equally many steps give blocks of equally many steps.
        """
        if not len(self) or not len(other):
            return self if len(self) else other
        longest = max(int(self.steps.max()), int(other.steps.max()))
        parts = [part._of_length(longest) for part in (self, other)]
        both = Blocks(
            np.concatenate([part.slices for part in parts], axis=1),
            np.concatenate([part.sampled for part in parts], axis=1),
            np.concatenate([part.zeros for part in parts], axis=1),
            np.concatenate([part.steps for part in parts]),
        )
        while len(both) > BLOCKS:
            both = both._starting_at(np.arange(0, len(both), 2))
        return both

    def _of_length(self, steps: int) -> Blocks:
        """The same, neighbours joined until a block has so many steps; what is left at the end may have fewer."""
        places = (np.cumsum(self.steps) - self.steps) // steps
        return self._starting_at(np.flatnonzero(np.diff(places, prepend=-1)))

    def _weighted(self) -> Floats:
        return np.where(self.sampled[:, :, None] > 0, self.slices * self.sampled[:, :, None].astype(float), 0.0)

    def _of_sums(self, weighted: Floats, sampled: Ints, zeros: Ints, steps: Ints) -> Blocks:
        return Blocks(_means(weighted, sampled).astype(self.slices.dtype), sampled, zeros, steps)


@lru_cache(maxsize=256)
def edges_of(blocks: int, count: int) -> Ints:
    """Returns at which of so many blocks each of so many joined ones begins, and their number [count + 1]."""
    edges = np.linspace(0, blocks, count + 1).round().astype(np.int64)
    edges.flags.writeable = False
    return edges


def no_blocks(units: int) -> Blocks:
    """Returns the blocks of no step at all; merged with any others, they leave these as they are."""
    none = np.zeros((units, 0), np.int64)
    return Blocks(np.zeros((units, 0, SLICES), np.float32), none, none, np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Sums:
    """What takes in steps that begin, after so many that were `taken` and in blocks of such a `length`.

    To `slices` [blocks, SLICES, units] a step's slice means are added, each times its number of values, and to
    `sampled` and `zeros` [blocks, units] its numbers of values and of zeros. All are None where blocks are not kept.
    """

    slices: Floats | None = None
    sampled: Ints | None = None
    zeros: Ints | None = None
    taken: int = 0
    length: int = 1


class BlockKeeper:
    """Takes in steps one after another and keeps them in up to `BLOCKS` blocks of equally many steps.

    How long a window gets is not known while it is recorded: where one block too many would begin, each is joined with
    its neighbour, and blocks are twice as long from then on. The last one may be shorter.

    >>> keeper = BlockKeeper(units=1)
    >>> for step in range(100):
    ...     keeper.add(np.full((1, 1, SLICES), float(step)), np.array([[64]]), np.array([[0]]))
    >>> keeper.blocks().steps
    array([8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4])
    """

    def __init__(self, units: int, dtype: type[np.floating[Any]] = np.float32) -> None:
        # Units lie side by side: what blocks are added up from does so where it is computed fastest.
        self.dtype = dtype
        self._sums = np.zeros((BLOCKS, SLICES, units))
        self._sampled = np.zeros((BLOCKS, units), np.int64)
        self._zeros = np.zeros((BLOCKS, units), np.int64)
        self._steps = np.zeros(BLOCKS, np.int64)
        self.restart()

    def restart(self) -> None:
        """Forgets everything but the memory it took."""
        for array in (self._sums, self._sampled, self._zeros, self._steps):
            array[:] = 0
        self._length, self._taken = 1, 0

    def room(self) -> int:
        """Returns how many steps can begin before blocks are joined; at least one."""
        if self._taken == self._length * BLOCKS:
            self._join_neighbours()
        return self._length * BLOCKS - self._taken

    def begin(self, steps: int) -> Sums:
        """Begins so many steps, for which there is `room`. Returns what takes them in."""
        taken, length = self._taken, self._length
        for place in range(taken // length, (taken + steps - 1) // length + 1):
            self._steps[place] += min(taken + steps, (place + 1) * length) - max(taken, place * length)
        self._taken += steps
        return Sums(self._sums, self._sampled, self._zeros, taken, length)

    def add(self, slices: Floats, sampled: Ints, zeros: Ints) -> None:
        """Takes in steps in order: slice means [units, steps, SLICES], numbers of values and zeros [units, steps].

        Slice means of a unit without values are not read: they may be anything but NaN.
        """
        weighted, sampled, zeros = slices.transpose(1, 2, 0) * sampled.T[:, None], sampled.T, zeros.T
        begun, count = 0, len(sampled)
        while begun < count:
            if self._taken == self._length * BLOCKS:
                self._join_neighbours()
            end = min(count, begun + self._length * BLOCKS - self._taken)
            places = (self._taken + np.arange(end - begun)) // self._length
            starts = np.flatnonzero(np.diff(places, prepend=-1))
            filled = slice(places[0], places[-1] + 1)
            self._sums[filled] += np.add.reduceat(weighted[begun:end], starts, axis=0)
            self._sampled[filled] += np.add.reduceat(sampled[begun:end], starts, axis=0)
            self._zeros[filled] += np.add.reduceat(zeros[begun:end], starts, axis=0)
            self._steps[filled] += np.diff(starts, append=end - begun)
            self._taken += end - begun
            begun = end

    def absorb(self, other: BlockKeeper) -> None:
        """Takes in the steps of another keeper, which stays as it is, as those that follow.

        Its blocks are taken whole: of equally long parts one after the other, all get blocks of equally many steps.
        """
        for place in range(int(np.count_nonzero(other._steps))):
            steps = int(other._steps[place])
            while self._length < other._length or self._taken + steps > self._length * BLOCKS:
                self._join_neighbours()
            own = self._taken // self._length
            self._sums[own] += other._sums[place]
            self._sampled[own] += other._sampled[place]
            self._zeros[own] += other._zeros[place]
            self._steps[own] += steps
            self._taken += steps

    @property
    def form(self) -> tuple[int, ...]:
        """What keepers have in common that took in equally many steps in equally long blocks."""
        return self._length, self._taken, *self._steps.tolist()

    def sums(self) -> tuple[Floats, Ints, Ints, Ints]:
        """Returns what was added up so far of the blocks that have begun, to be read before more is taken in.

        Sums of slice means [blocks, SLICES, units], numbers of values and of zeros [blocks, units], and steps [blocks].
        """
        used = slice(int(np.count_nonzero(self._steps)))
        return self._sums[used], self._sampled[used], self._zeros[used], self._steps[used]

    def blocks(self) -> Blocks:
        """Returns what was taken in so far."""
        return side_by_side([self])

    def _join_neighbours(self) -> None:
        for array in (self._sums, self._sampled, self._zeros, self._steps):
            joined = np.add.reduceat(array, np.arange(0, BLOCKS, 2), axis=0)
            array[: BLOCKS // 2], array[BLOCKS // 2 :] = joined, 0
        self._length *= 2


def side_by_side(keepers: Sequence[BlockKeeper]) -> Blocks:
    """Returns the blocks of keepers of one `form`, as those of all their units: of the first keeper, then the next."""
    parts = [keeper.sums() for keeper in keepers]
    sums, sampled, zeros = (np.concatenate([part[place] for part in parts], axis=-1) for place in range(3))
    sampled = sampled.T.copy()
    slices = _means(sums.transpose(2, 0, 1), sampled)
    return Blocks(slices.astype(keepers[0].dtype, "C"), sampled, zeros.T.copy(), parts[0][3].copy())


def _added(values: NDArray[Any], starts: Ints) -> NDArray[Any]:
    """Returns sums of stretches of the second axis, each of which begins at one of `starts`."""
    lengths = np.diff(starts, append=values.shape[1])
    if not len(starts) or (lengths != lengths[0]).any():
        return np.asarray(np.add.reduceat(values, starts, axis=1))
    each = values.reshape(len(values), len(starts), int(lengths[0]), *values.shape[2:])
    return sum((each[:, :, place] for place in range(1, each.shape[2])), start=each[:, :, 0])


def _means(weighted: Floats, sampled: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return weighted / sampled[:, :, None]
