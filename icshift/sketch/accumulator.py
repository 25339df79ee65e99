"""From rows of activations to a `Distribution`: one site in one phase of one window.

Rows are only copied as they come. Work is done on blocks of steps: one transposing copy, one sort and one
sketch update serve some thirty steps of a small site, so that the cost a step is a memory copy and not
thirty small calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icshift.distribution import Distribution, Floats
from icshift.runs.format import StepRows
from icshift.sketch import moments as exact
from icshift.sketch.block import Order
from icshift.sketch.ended import Ended, distributions
from icshift.sketch.kernel import kernel
from icshift.sketch.moments import Moments
from icshift.sketch.sampler import Sampler
from icshift.sketch.summary import Summary
from icshift.sketch.workspace import Workspace

BLOCK_VALUES = 1 << 18
"""Values in a block: 1 MiB of float32; larger blocks leave the cache, smaller ones call more often."""

_BLOCK_STEPS = 64
"""Steps in a block, at most: what they show takes memory too."""


@dataclass(frozen=True, eq=False)
class _Step:
    number: int
    moments: Moments | None


class Accumulator:
    """Takes in activations of `units` units, forward by forward and step by step, and returns their `Distribution`.

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
        self._steps: list[_Step] = []
        self._rows_a_step = 0
        self._is_first = True
        self._filled = 0
        self._open: list[tuple[int, int, Tensor | None]] = []
        self._examples: list[Floats] = []
        self.ticks = 0
        """Steps (or forwards) of this part of the window closed so far."""

    def observe(self, rows: Tensor, moments: Tensor | None) -> None:
        """Takes in one forward: its sampled rows [n, units], and the moments of all its rows unless these are all."""
        n = rows.shape[0]
        if self._filled + n > len(self._rows):
            self._make_room(n)
        self._rows[self._filled : self._filled + n] = rows.numpy()
        self._note(n, moments)

    def take(self, activations: Tensor, sampler: Sampler) -> None:
        """Takes in one forward, on the CPU: activations [rows, units(, positions)], of which the sampler draws rows."""
        n = int(min(activations.numel() // self.units, sampler.samples))
        if self._filled + n > len(self._rows):
            self._make_room(n)
        self._note(n, self._kernel.take(activations, sampler, self._rows, self._filled, self._centre, self._workspace))

    def again(self, activations: Tensor, sampler: Sampler) -> Callable[[int], None] | None:
        """Returns what takes in further forwards, each given by the address of activations that lie in memory as these.

        None where the kernel has to be given them as tensors.
        """
        read = self._kernel.reader(activations, sampler)
        if read is None:
            return None
        n = int(min(activations.numel() // self.units, sampler.samples))

        def take(address: int) -> None:
            if self._filled + n > len(self._rows):
                self._make_room(n)
            first = self._filled
            self._open.append((first, first + n, read(address, self._rows, first, self._centre)))
            self._filled = first + n

        return take

    def _note(self, n: int, moments: Tensor | None) -> None:
        self._open.append((self._filled, self._filled + n, moments))
        self._filled += n

    def keep(self, rows: Tensor) -> None:
        """Keeps rows [n, units] one by one, in order: the `examples` of the distribution."""
        self._examples.append(rows.numpy().astype(self._dtype))

    def tick(self, step: int) -> None:
        """Closes the step (in phases that have no steps, the forward); nothing happens if nothing was observed."""
        if not self._open:
            return
        first = self._open[0][0]
        moments = self._step_moments()
        if self._filled - first > self._samples:
            if moments is None:
                moments = self._moments_of(first, self._filled)
            self._thin(first)
        n = self._filled - first
        if self._steps and n != self._rows_a_step:
            self._work_off(first)
            first = self._filled - n
        self._rows_a_step = n
        room = max(min(self._block_rows // n, _BLOCK_STEPS), 1)
        if self._is_first:
            room = max(int(self._first_block * room), 1)
        if self._closed.add(self._rows[first : self._filled], len(self._steps), room, self._summary.begin):
            self._filled = first
        self._steps.append(_Step(step, moments))
        self._open = []
        self.ticks += 1
        if len(self._steps) == room:
            self._work_off(self._filled)

    @property
    def block_values(self) -> int:
        """How many values a block has."""
        return self._block_rows * self.units

    @property
    def holding(self) -> bool:
        """Whether any step (or forward) of the window was closed."""
        return self.ticks > 0 or self._before is not None

    def part_ended(self) -> Ended:
        """Returns what `distributions` makes the distribution of all closed steps of the open part of.

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
        self.ticks = 0
        return Ended(self._before)

    def part(self) -> Distribution:
        """Returns the distribution of all closed steps of the open part; recording can go on."""
        return distributions([self.part_ended()])[0]

    def distribution(self) -> Distribution:
        """Returns the distribution of all closed steps of the window. Where it has parts, the open one ends."""
        return distributions([self.ended()])[0]

    def _work_off_closed(self) -> None:
        if self._steps:
            self._work_off(self._open[0][0] if self._open else self._filled)

    def _step_moments(self) -> Moments | None:
        """Returns the open step's moments, or None where its rows are all there is: then the block computes them."""
        if len(self._open) == 1:
            moments = self._open[0][2]
            return None if moments is None else exact.from_tensor(moments)
        parts = [
            self._moments_of(first, last) if moments is None else exact.from_tensor(moments)
            for first, last, moments in self._open
        ]
        return exact.stack(parts).total()

    def _moments_of(self, first: int, last: int) -> Moments:
        rows = torch.from_numpy(self._rows[first:last])
        return exact.from_tensor(exact.moments(rows[None], self._workspace))

    def _make_room(self, n: int) -> None:
        if self._filled + n > self._block_rows:
            self._work_off_closed()
        if self._filled + n > len(self._rows):
            wanted = self._filled + n
            longer = self._kernel.rows(max(min(2 * wanted, self._block_rows), wanted), self.units)
            longer[: self._filled] = self._rows[: self._filled]
            self._rows = longer

    def _thin(self, first: int) -> None:
        """Drops rows of the step so that `samples` are left, one from each of as many equal stretches."""
        if self._random is None:
            self._random = self._generator()
        n = self._filled - first
        stretches = int(self._samples)
        kept = (np.arange(stretches) + self._random.random(stretches)) * n / stretches
        self._rows[first : first + stretches] = self._rows[first + np.minimum(kept.astype(int), n - 1)]
        self._filled = first + stretches

    @np.errstate(all="ignore")  # Whatever a script asks NumPy or Python to do about warnings.
    def _work_off(self, last: int) -> None:
        """Moves the block of closed steps, rows up to `last`, into moments, step rows and sketches."""
        steps = self._steps
        order = self._closed.order(self._rows[:last], len(steps), self._workspace, self._summary.begin)
        self._summary.add(order)
        moments = prefer_exact(order.moments, steps)
        self._summary.note(moments)
        if self._sink is not None:
            self._sink(_step_rows(steps, moments, order))
        rest = self._filled - last
        if rest and last:
            self._rows[:rest] = self._rows[last : self._filled]
            self._open = [(first - last, end - last, moments) for first, end, moments in self._open]
        self._filled = rest
        self._steps = []
        self._is_first = False


def prefer_exact(moments: Moments, steps: list[_Step]) -> Moments:
    """Returns moments a step: those of all its activations where the step has them, else those of its sampled rows.

    `moments` are the block's, of the sampled rows.
    """
    if all(step.moments is None for step in steps):
        return moments
    return exact.stack([moments.group(i) if s.moments is None else s.moments for i, s in enumerate(steps)])


def _step_rows(steps: list[_Step], moments: Moments, order: Order) -> StepRows:
    mean, low, high, count = moments.mean, moments.min, moments.max, moments.count
    finite = order.finite
    if not (count.all() and finite.all()):
        count, finite = np.where(count, count, np.nan), np.where(finite, finite, np.nan)
        mean, low, high = (np.where(np.isnan(count), np.nan, array) for array in (mean, low, high))
    return StepRows(
        steps=np.array([step.number for step in steps]),
        count=moments.count.astype(np.int64),
        nonfinite=moments.nonfinite.astype(np.int64),
        mean=mean,
        std=moments.deviation / np.sqrt(count),
        min=low,
        max=high,
        zero_share=(order.zeros / finite).T,
        quantiles=order.quantiles.transpose(0, 2, 1),
    )
