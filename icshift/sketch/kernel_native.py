"""The compiled kernel, for float32: what it needs to know of arrays and tensors, and what it leaves to NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icshift.blocks import SLICES
from icshift.distribution import EXACT, QUANTILES, Floats, Ints
from icshift.kernel_choice import compiled
from icshift.runs.format import STEP_QUANTILES
from icshift.sketch.block import Order
from icshift.sketch.kernel_numpy import NumPy
from icshift.sketch.level import TERMS, Digest, Level, joined
from icshift.sketch.moments import Moments
from icshift.sketch.sampler import Sampler
from icshift.sketch.waiting import Waiting
from icshift.sketch.workspace import Workspace
from icshift.tails import TAIL

_MOST = 1024
"""Values of a step that are sorted column by column; more go to NumPy, which sorts rows."""

_SMALL = 1 << 14
"""Values of a step below which steps are sorted together: calls in turn with the training's code, which drives them out
of the cache each time, cost more than rows that are no longer there."""

_MOST_LEVELS = 64
"""Levels that are digested together."""

_ROUNDING = TERMS * float(np.finfo(np.float32).eps)
_PROBABILITIES = np.array(STEP_QUANTILES)


class Shown:
    """Memory for what up to `room` steps of `units` units show, all but their values and slices."""

    def __init__(self, room: int, units: int) -> None:
        self.room, self.units = room, units
        self._table, self._zeros = np.empty((room, 6, units)), np.empty((room, units), np.int64)
        self._quantiles = np.empty((room, len(STEP_QUANTILES), units), np.float32)
        self.arrays = self._table, self._zeros, self._quantiles

    def order(self, steps: int, values: Floats | None, slices: Floats | None) -> Order:
        """Returns what the first steps show, with sorted `values` and `slices` where they are asked for."""
        table, zeros = self._table[:steps].transpose(1, 0, 2), self._zeros[:steps]
        return Order(
            values=values,
            clean=not table[1].any(),
            finite=table[0].T.astype(np.int64),
            zeros=zeros.T,
            quantiles=self._quantiles[:steps].transpose(1, 2, 0),
            slices=slices,
            moments=Moments(table),
        )


class OneByOne:
    """Closed steps, each of which is sorted as it is added; see `Closed`.

    Those with too many rows, or few values, are sorted `together`.
    """

    def __init__(self, units: int, by_rows: Callable[[Floats, int, Workspace], Order]) -> None:
        self._by_rows = by_rows
        self._shown = Shown(0, units)

    def add(self, rows: Floats, place: int, room: int, begin: Callable[[int, int], Any]) -> bool:
        """Sorts the rows of a step, into where they are taken in if there is room."""
        if len(rows) > _MOST or rows.size < _SMALL:
            return False
        if not place:
            self._make_room(room)
        self._sort(rows, place, 1, begin)
        return True

    def order(self, rows: Floats, steps: int, workspace: Workspace, begin: Callable[[int, int], Any]) -> Order:
        """Returns what was noted of each step, the rows of which are sorted as those of `add` if they are not yet."""
        if len(rows) // steps > _MOST:
            return self._by_rows(rows, steps, workspace)
        if len(rows):
            self._make_room(steps)
            self._sort(rows, 0, steps, begin)
        return self._shown.order(steps, None, None)

    def _make_room(self, steps: int) -> None:
        if self._shown.room < steps:
            self._shown = Shown(steps, self._shown.units)

    def _sort(self, rows: Floats, place: int, steps: int, begin: Callable[[int, int], Any]) -> None:
        """Sorts the rows of steps, the first of which is that at a place, into where they are taken in."""
        n, shown, last = len(rows) // steps, self._shown, place + steps
        while place < last:
            begun = begin(last - place, n)
            count, sums, to = begun.count, begun.sums, begun.memory.T
            given, rows = rows[: count * n], rows[count * n :]
            compiled.order(
                *(given, count, n, shown.units, to, *shown.arrays, None, _PROBABILITIES, place, shown.room),
                *(sums.slices, sums.sampled, sums.zeros, sums.taken, sums.length),
            )
            if len(to) < len(given):
                begun.sketch.update(given[len(to) :].T)
            place += count


class Native:
    """Operations on float32; see `Kernel`. Here the values of all units at one place lie side by side."""

    def __init__(self) -> None:
        self._numpy = NumPy(np.float32)

    def rows(self, count: int, units: int) -> Floats:
        """Returns memory for rows, one directly after the other."""
        return np.empty((count, units), np.float32)

    def take(
        self, activations: Tensor, sampler: Sampler, rows: Floats, first: int, centre: Floats, workspace: Workspace
    ) -> Tensor | None:
        """Reads all activations once, and draws the samples meanwhile. `centre` is where deviations are taken from."""
        if activations.dtype is not torch.float32 or not activations.numel():
            return self._numpy.take(activations, sampler, rows, first, centre, workspace)
        layout = layout_of(activations)
        if layout is None:
            activations = activations.contiguous()
            layout = layout_of(activations)
            assert layout is not None
        total, address = layout[0] * layout[2], activations.data_ptr()
        if total <= sampler.samples:
            compiled.scan(address, *layout, None, None, False, None, total, rows, first)
            return None
        drawn, table = sampler.places(total), np.empty((6, 1, layout[1]))
        known = not math.isnan(centre[0])
        compiled.scan(address, *layout, table, centre, known, drawn, len(drawn), rows, first)
        return torch.from_numpy(table)

    def moments(self, activations: Tensor, workspace: Workspace) -> Tensor:
        """Reads all activations once, and draws none."""
        if not activations.is_cpu or activations.dtype is not torch.float32 or not activations.numel():
            return self._numpy.moments(activations, workspace)
        layout = layout_of(activations)
        if layout is None:
            activations = activations.contiguous()
            layout = layout_of(activations)
            assert layout is not None
        units = layout[1]
        table, centre, no_rows = np.empty((6, 1, units)), np.empty(units, np.float32), np.empty((0, units), np.float32)
        compiled.scan(activations.data_ptr(), *layout, table, centre, False, None, 0, no_rows, 0)
        return torch.from_numpy(table)

    def waiting(self) -> Waiting:
        """Returns counts that change as forwards are taken without Python: see `icshift/hooks/again.py`."""
        counts: Waiting = compiled.Waiting()
        return counts

    def order(self, rows: Floats, steps: int, workspace: Workspace) -> Order:
        """Sorts columns where they are, and reads from each of them all that it shows."""
        n, units = len(rows) // steps, rows.shape[1]
        if n > _MOST:
            return self._numpy.order(rows, steps, workspace)
        shown, slices = Shown(steps, units), np.empty((steps, SLICES, units))
        no_sums = None, None, None, 0, 1
        compiled.order(rows, steps, n, units, rows, *shown.arrays, slices, _PROBABILITIES, 0, steps, *no_sums)
        return shown.order(steps, rows.reshape(steps, n, units).transpose(2, 0, 1), slices.transpose(2, 0, 1))

    def total(self, moments: Moments) -> Moments:
        """Adds up groups in double, in which squares of float32 have room."""
        table, (groups, units) = moments.table, moments.table.shape[1:]
        by_group = table.transpose(1, 0, 2)
        if table.flags.c_contiguous:
            memory, column, group = table, groups * units, units
        elif by_group.flags.c_contiguous:
            memory, column, group = by_group, units, 6 * units
        else:
            return moments.total()
        found = np.empty((6, 1, units))
        compiled.total(memory, column, group, groups, units, found)
        return Moments(found)

    def closed(self, units: int) -> OneByOne:
        """Returns what sorts each step as it is added, while its rows are in the cache."""
        return OneByOne(units, self.order)

    def in_turn(self, values: Floats) -> Floats:
        """Returns values of all steps, places one after the other."""
        return values.transpose(1, 2, 0).reshape(-1, len(values)).T

    def values(self, units: int, count: int) -> Floats:
        """Returns memory for values of all units at one place after the other."""
        return np.empty((count, units), np.float32).T

    def compact(self, level: Floats, up: Floats) -> Floats:
        """Sorts the columns of a full level, and writes back what is read again."""
        moved = np.empty(len(level))
        compiled.compact(level.T, len(level), _ROUNDING, moved, up.T)
        return moved

    def digest(self, levels: Sequence[Level], sampled: Ints) -> Digest:
        """Merges the levels unit by unit. Where values are not finite, units differ in number, which is for NumPy."""
        held = sorted((level for level in levels if level.fill), key=lambda level: level.weight)
        if not held or (sampled != int(sum(level.fill * level.weight for level in held))).any():
            return self._numpy.digest(levels, sampled)
        units, points = len(sampled), sum(level.fill for level in held)
        singles = sum(level.fill for level in held if level.weight == 1)
        memory = tuple(level.values.T for level in held)
        fills = np.array([level.fill for level in held], np.int32)
        weights = np.array([level.weight for level in held], np.int32)
        if points <= EXACT and singles == points:
            values = np.empty((units, points), np.float32)
            compiled.digest(memory, fills, weights, units, 0, values, None, None)
            return Digest(values, np.zeros(units), 0.0, None)
        if not TAIL <= singles <= _MOST or len(held) > _MOST_LEVELS or held[-1].weight > 1 << 30:
            return self._numpy.digest(levels, sampled)
        values, error = np.empty((units, QUANTILES), np.float32), np.empty(units)
        tails = np.empty((units, 2 * TAIL), np.float32)
        compiled.digest(memory, fills, weights, units, QUANTILES, values, error, tails)
        return Digest(values, error, 1.0 / QUANTILES, tails)

    def digests(self, sites: Sequence[Sequence[Level]], sampled: Ints) -> Digest:
        """As one site of all their units, which are merged each for itself."""
        return self.digest(sites[0] if len(sites) == 1 else [*map(joined, zip(*sites, strict=True))], sampled)


def layout_of(activations: Tensor) -> tuple[int, int, int, int] | None:
    """Returns rows, units, positions and how far rows lie apart; None unless values of a row lie together in memory."""
    count, units, *rest = activations.shape
    positions = rest[0] if rest else 1
    stride = units * positions
    if not activations.is_contiguous():
        strides = activations.stride()
        if strides[1] != positions or strides[-1] != 1 or (count > 1 and strides[0] < stride):
            return None
        stride = strides[0]
    return count, units, positions, stride
