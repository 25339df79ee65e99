"""From rows of activations to a `Distribution`: one site in one phase of one window.

Rows are only copied as they come. Work is done on blocks of steps: one transposing copy, one sort and one
sketch update serve some thirty steps of a small site, so that the cost a step is a memory copy and not
thirty small calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from icshift.distribution import Floats, Ints
from icshift.runs.format import StepRows
from icshift.sketch import moments as exact
from icshift.sketch.block import Order
from icshift.sketch.ended import Ended
from icshift.sketch.kernel import kernel
from icshift.sketch.moments import Moments
from icshift.sketch.sampler import Sampler
from icshift.sketch.summary import Summary
from icshift.sketch.workspace import Workspace

BLOCK_VALUES = 1 << 18
"""Values in a block: 1 MiB of float32; larger blocks leave the cache, smaller ones call more often."""

_BLOCK_STEPS = 64
"""Steps in a block, at most: what they show takes memory too."""

_FORWARDS = 8
"""Forwards of a step that there is room for at first."""


class Accumulator:
    """Takes in activations of `units` units, forward by forward and step by step, and returns what they showed.

    `samples` bounds the values a unit and step that quantiles are made from (infinite: no bound). Without `blocks` the
    distribution has none: so for a probe, whose inputs are the same in every window, which leaves no sampling noise to
    estimate. Finished steps go to `sink` as `StepRows`, several at a time, whose memory is used again.
    Rows wait in a block of about `block_values`; the `first_block` of a window is that share of one, so that not all
    accumulators work off theirs at the same step. `random` makes what draws where a step has too many rows, anew for
    every window: few sites need any.
    """

    def __init__(
        self,
        units: int,
        samples: float,
        dtype: type[np.floating[Any]],
        random: Callable[[], np.random.Generator],
        workspace: Workspace,
        *,
        blocks: bool = True,
        sink: Callable[[StepRows], None] | None = None,
        block_values: int = BLOCK_VALUES,
        first_block: float = 1.0,
    ) -> None:
        self.units = units
        self._samples = samples
        self._dtype = dtype
        self._workspace = workspace
        self._kernel = kernel(dtype)
        self._summary = Summary(units, dtype, blocks=blocks)
        self._before: Summary | None = None
        self._keeps_parts = blocks
        self._sink = sink
        self._first_block = first_block
        self._block_rows = int(max(min(samples, 1024), min(64 * samples, block_values // units)))
        self._centre = np.empty(units, dtype)
        self._closed = self._kernel.closed(units)
        self._rows = self._kernel.rows(int(min(samples, self._block_rows)), units)
        self._spans = np.empty((_FORWARDS, 3), np.int64)
        """Of every forward of the open step its first row, where its rows end, and whether it has its own moments."""
        self._steps = np.empty((_BLOCK_STEPS, 2), np.int64)
        """Of every closed step its number, and whether it has its own moments."""
        self._tables = np.empty((0, 6, units))
        """Moments of more than the sampled rows: those of closed steps, then those of the open one's forwards."""
        self.waiting = self._kernel.waiting()
        self._hold()
        self._generator = random
        self._begin()

    def restart(self) -> None:
        """Begins a new window, in the memory of the one before and with the same draws."""
        self._summary.restart()
        self._before = None
        self._begin()

    def next_part(self) -> None:
        """Begins the next part of the window, likewise. Of a probe nothing is kept but its last replay."""
        if self.ticks and self._keeps_parts:
            self._work_off_closed()
            if self._before is None:
                self._before = Summary(self.units, self._dtype, blocks=True)
            self._before.absorb(self._summary)
        self._summary.restart()
        self._begin()

    def _begin(self) -> None:
        self._random: np.random.Generator | None = None
        self._centre[:] = np.nan  # So that the same activations give the same numbers, whatever came before.
        self.waiting.empty()
        self._worked_off = 0
        self._is_first = True
        self._examples: list[Floats] = []

    @property
    def ticks(self) -> int:
        """Steps (or forwards) of this part of the window closed so far."""
        return self._worked_off + self.waiting.closed

    def observe(self, rows: Tensor, moments: Tensor | None) -> None:
        """Takes in one forward: its sampled rows [n, units], and the moments of all its rows unless these are all."""
        first = self._make_room(rows.shape[0])
        self._rows[first : first + rows.shape[0]] = rows.numpy()
        self._note(rows.shape[0], moments)

    def take(self, activations: Tensor, sampler: Sampler) -> None:
        """Takes in one forward, on the CPU: activations [rows, units(, positions)], of which the sampler draws rows."""
        n = int(min(activations.numel() // self.units, sampler.samples))
        first = self._make_room(n)
        self._note(n, self._kernel.take(activations, sampler, self._rows, first, self._centre, self._workspace))

    def _note(self, n: int, moments: Tensor | None) -> None:
        waiting = self.waiting
        if waiting.opened == len(self._spans):
            self._spans = np.concatenate([self._spans, np.empty_like(self._spans)])
            self._hold()
        self._spans[waiting.opened] = waiting.filled, waiting.filled + n, moments is not None
        if moments is not None:
            self._keep_moments(waiting.closed + waiting.opened, n, moments.numpy()[:, 0])
        waiting.opened += 1
        waiting.filled += n

    def _keep_moments(self, place: int, n: int, table: Floats) -> None:
        """Keep the moments [6, units] of a forward or step of n rows."""
        if place >= len(self._tables):
            before, steps = self._tables, min(self._block_rows // n, _BLOCK_STEPS)
            self._tables = np.empty((max(2 * place, steps) + 1, 6, self.units))
            self._tables[: len(before)] = before
            self._hold()
        self._tables[place] = table

    def _hold(self) -> None:
        self.waiting.hold(self._rows, self._spans, self._steps, self._tables, self._centre)

    def keep(self, rows: Tensor) -> None:
        """Keeps rows [n, units] one by one, in order: the `examples` of the distribution."""
        self._examples.append(rows.numpy().astype(self._dtype))

    def tick(self, step: int) -> None:
        """Closes the step (in phases that have no steps, the forward); nothing happens if nothing was observed."""
        waiting = self.waiting
        if waiting.tick(step) or not waiting.opened:
            return
        first = int(self._spans[0, 0])
        self._join_forwards()
        if waiting.filled - first > self._samples:
            if not self._spans[0, 2]:
                self._keep_moments(
                    waiting.closed, int(self._samples), self._moments_of(first, waiting.filled).table[:, 0]
                )
                self._spans[0, 2] = True
            self._thin(first)
        n = waiting.filled - first
        if waiting.closed and n != waiting.n:
            self._work_off(first)
            first = waiting.filled - n
        room = max(min(self._block_rows // n, _BLOCK_STEPS), 1)
        if self._is_first:
            room = max(int(self._first_block * room), 1)
        at_once = self._closed.add(self._rows[first : waiting.filled], waiting.closed, room, self._summary.begin)
        if at_once:
            waiting.filled = first
        self._steps[waiting.closed] = step, self._spans[0, 2]
        waiting.n, waiting.room = n, 0 if at_once else room
        waiting.opened = 0
        waiting.closed += 1
        if waiting.closed == room:
            self._work_off(waiting.filled)

    @property
    def block_values(self) -> int:
        """How many values a block has."""
        return self._block_rows * self.units

    @property
    def holding(self) -> bool:
        """Whether any step (or forward) of the window was closed."""
        return self.ticks > 0 or self._before is not None

    def part_ended(self) -> Ended:
        """Returns what `distribution_of` makes the `Distribution` of all closed steps of the open part of.

        It is to be read before recording goes on.
        """
        self._work_off_closed()
        return Ended(self._summary, np.concatenate(self._examples).T.copy() if self._examples else None)

    def ended(self) -> Ended:
        """Returns the same of all closed steps of the window. Where it has parts, the open one ends."""
        if self._before is None:
            return self.part_ended()
        self._work_off_closed()
        self._before.absorb(self._summary)
        self._summary.restart()
        self._worked_off = 0
        return Ended(self._before)

    def _work_off_closed(self) -> None:
        if self.waiting.closed:
            self._work_off(int(self._spans[0, 0]) if self.waiting.opened else self.waiting.filled)

    def _join_forwards(self) -> None:
        """Make one forward of those of the open step: without moments where its rows are all there is."""
        waiting = self.waiting
        spans = self._spans[: waiting.opened]
        if waiting.opened > 1 and spans[:, 2].any():
            parts = [
                Moments(self._tables[waiting.closed + place, :, None]) if known else self._moments_of(first, last)
                for place, (first, last, known) in enumerate(spans.tolist())
            ]
            self._keep_moments(waiting.closed, int(spans[0, 1] - spans[0, 0]), exact.stack(parts).total().table[:, 0])
        self._spans[0] = spans[0, 0], waiting.filled, spans[:, 2].any()
        waiting.opened = 1

    def _moments_of(self, first: int, last: int) -> Moments:
        rows = torch.from_numpy(self._rows[first:last])
        return exact.from_tensor(exact.moments(rows[None], self._workspace))

    def _make_room(self, n: int) -> int:
        """Have room for so many rows. Returns where they begin."""
        waiting = self.waiting
        if waiting.filled + n > len(self._rows):
            if waiting.filled + n > self._block_rows:
                self._work_off_closed()
            wanted = waiting.filled + n
            if wanted > len(self._rows):
                longer = self._kernel.rows(max(min(2 * wanted, self._block_rows), wanted), self.units)
                longer[: waiting.filled] = self._rows[: waiting.filled]
                self._rows = longer
                self._hold()
        return waiting.filled

    def _thin(self, first: int) -> None:
        """Drops rows of the step so that `samples` are left, one from each of as many equal stretches."""
        if self._random is None:
            self._random = self._generator()
        n = self.waiting.filled - first
        stretches = int(self._samples)
        kept = (np.arange(stretches) + self._random.random(stretches)) * n / stretches
        self._rows[first : first + stretches] = self._rows[first + np.minimum(kept.astype(int), n - 1)]
        self.waiting.filled = first + stretches

    @np.errstate(all="ignore")  # Whatever a script asks NumPy or Python to do about warnings.
    def _work_off(self, last: int) -> None:
        """Moves the block of closed steps, rows up to `last`, into moments, step rows and sketches."""
        waiting = self.waiting
        closed = waiting.closed
        numbers, known = self._steps[:closed].T
        order = self._closed.order(self._rows[:last], closed, self._workspace, self._summary.begin)
        self._summary.add(order)
        moments = prefer_exact(order.moments, known.astype(bool), self._tables[:closed])
        self._summary.note(moments)
        if self._sink is not None:
            self._sink(_step_rows(numbers, moments, order))
        rest = waiting.filled - last
        if rest and last:
            self._rows[:rest] = self._rows[last : waiting.filled]
            self._spans[: waiting.opened, :2] -= last
        if waiting.opened and len(self._tables):
            self._tables[: waiting.opened] = self._tables[closed : closed + waiting.opened]
        waiting.filled = rest
        waiting.closed = 0
        self._worked_off += closed
        self._is_first = False


def prefer_exact(moments: Moments, known: NDArray[np.bool_], tables: Floats) -> Moments:
    """Returns moments a step: those of all its activations, in `tables` [steps, 6, units], where these are `known`.

    Else they are the block's, of the sampled rows: `moments`.
    """
    if not known.any():
        return moments
    if known.all():
        return Moments(tables.transpose(1, 0, 2))
    table = moments.table.copy()
    table[:, known] = tables[known].transpose(1, 0, 2)
    return Moments(table)


def _step_rows(numbers: Ints, moments: Moments, order: Order) -> StepRows:
    mean, low, high, count = moments.mean, moments.min, moments.max, moments.count
    finite = order.finite
    if not (count.all() and finite.all()):
        count, finite = np.where(count, count, np.nan), np.where(finite, finite, np.nan)
        mean, low, high = (np.where(np.isnan(count), np.nan, array) for array in (mean, low, high))
    return StepRows(
        steps=numbers.copy(),
        count=moments.count.astype(np.int64),
        nonfinite=moments.nonfinite.astype(np.int64),
        mean=mean,
        std=moments.deviation / np.sqrt(count),
        min=low,
        max=high,
        zero_share=(order.zeros / finite).T,
        quantiles=order.quantiles.transpose(0, 2, 1),
    )
