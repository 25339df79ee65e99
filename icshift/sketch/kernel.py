"""The kernel: the few operations that recording spends its time in, in two implementations.

`NumPy` (icshift/sketch/kernel_numpy.py) is always there, takes every type and is what the other is compared with.
`Native` (icshift/sketch/kernel_native.py) calls the compiled module `icshift._kernel`, where it was built, for float32.
Both take and return the same arrays; which axis lies innermost in memory is for each to choose, since the one sorts
rows and the other columns.

Sampled and sorted values, counts, extremes and the quantiles of a step are the same to the last bit. Means, deviations,
slice means and bounds differ by rounding: by at most 2e-6 of a unit's largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from icshift import kernel_choice
from icshift.blocks import Sums
from icshift.distribution import Floats, Ints
from icshift.sketch.block import Order
from icshift.sketch.kernel_native import Native
from icshift.sketch.kernel_numpy import NumPy
from icshift.sketch.level import Digest, Level
from icshift.sketch.moments import Moments
from icshift.sketch.sampler import Sampler
from icshift.sketch.waiting import Waiting
from icshift.sketch.workspace import Workspace


class Taker(Protocol):
    """What takes in the values of steps."""

    def update(self, values: Floats, /) -> None:
        """Takes in values [units, count]."""


@dataclass(frozen=True, eq=False)
class Intake:
    """So many steps that begin, and what takes them in.

    Where the `memory` [units, values] ends within the last step, the rest of that is for the `sketch` to update with.
    """

    count: int
    memory: Floats
    sketch: Taker
    sums: Sums


Begin = Callable[[int, int], Intake]
"""See `Summary.begin`."""


class Closed(Protocol):
    """Steps that were closed, of equally many rows each, and wait to be worked off together."""

    def add(self, rows: Floats, place: int, room: int, begin: Begin) -> bool:
        """Takes in the rows [n, units] of a step, that at this place of `room` at most. They may be overwritten.

        Returns whether that is all: `begin` was called, and its values and slices are where that says. Else the rows
        are to be kept for `order`.
        """

    def order(self, rows: Floats, steps: int, workspace: Workspace, begin: Begin) -> Order:
        """Returns what so many steps show, which were added; `rows` are those that were to be kept.

        Its values and slices are None where they were taken in, before or now, as `begin` says. Memory is valid until
        the next step is added.
        """


class Kernel(Protocol):
    """Operations on activations of one floating-point type."""

    def rows(self, count: int, units: int) -> Floats:
        """Returns memory [count, units] for the rows of some steps, with anything in it."""

    def take(
        self, activations: Tensor, sampler: Sampler, rows: Floats, first: int, centre: Floats, workspace: Workspace
    ) -> Tensor | None:
        """Copies sampled activations [rows, units(, positions)], on the CPU, into `rows` from the `first` on.

        Returns the table of the moments of all of them [6, 1, units], or None where those rows are all there is.
        `centre` [units] is a guess at the mean, NaN where there is none; it may be overwritten by the mean.
        """

    def moments(self, activations: Tensor, workspace: Workspace) -> Tensor:
        """Returns the table of the moments [6, 1, units] of activations [rows, units(, positions)], on their device."""

    def waiting(self) -> Waiting:
        """Returns the counts of what waits in an accumulator: of nothing yet."""

    def order(self, rows: Floats, steps: int, workspace: Workspace) -> Order:
        """Returns what a block of so many steps, rows [steps * n, units], shows; the rows may be overwritten."""

    def total(self, moments: Moments) -> Moments:
        """Returns all groups as one, with a groups axis of length 1."""

    def closed(self, units: int, /) -> Closed:
        """Returns what steps are added to one by one, in place of `order`."""

    def in_turn(self, values: Floats) -> Floats:
        """Returns the values [units, steps * n] of values [units, steps, n], step by step."""

    def values(self, units: int, count: int) -> Floats:
        """Returns memory [units, count] for values as they lie in a level, with anything in it."""

    def compact(self, level: Floats, up: Floats) -> Floats:
        """Sorts a full level, keeps its ends and gives values to the level above; see `level.compact`."""

    def digest(self, levels: Sequence[Level], sampled: Ints) -> Digest:
        """Returns what a window keeps of all levels of its sketches, of `sampled` finite values [units]."""

    def digests(self, sites: Sequence[Sequence[Level]], sampled: Ints) -> Digest:
        """Returns the same of several sites, whose units stand side by side; their levels are filled alike."""


def kernel(dtype: type[np.floating[Any]]) -> Kernel:
    """Returns the implementation in use for activations of this type."""
    return chosen(np.dtype(dtype).name)


@cache
def chosen(name: str) -> Kernel:
    """Returns the same, by the name of the type; the choice is made once."""
    kernel_choice.say_what_is_missing()
    return Native() if kernel_choice.uses_native() and name == "float32" else NumPy(np.dtype(name).type)
