"""The kernel in NumPy: for every type of numbers, and what the native one is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from icshift.distribution import Floats, Ints
from icshift.sketch import block
from icshift.sketch.block import Order
from icshift.sketch.level import Digest, Level, compact, digest
from icshift.sketch.moments import Moments, moments
from icshift.sketch.sampler import Sampler
from icshift.sketch.waiting import Waiting
from icshift.sketch.workspace import Workspace

_PADDING = 16
"""Unused columns of a block: rows a power of two apart share cache lines and transpose six times slower."""


class ClosedSteps:
    """Closed steps that are sorted together by `order`; see `Closed`."""

    def __init__(self, order: Callable[[Floats, int, Workspace], Order]) -> None:
        self._order = order

    def add(self, *_: Any) -> bool:
        """All rows are to be kept."""
        return False

    def order(self, rows: Floats, steps: int, workspace: Workspace, _: Any) -> Order:
        """Sorts all of them."""
        return self._order(rows, steps, workspace)


class NumPy:
    """Operations on activations of one type; see `Kernel`. Here values of a unit lie side by side, to be sorted."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self._dtype = dtype

    def rows(self, count: int, units: int) -> Floats:
        """Returns memory for rows: a row is followed by columns that nobody uses."""
        return np.empty((count, units + _PADDING), self._dtype)[:, :units]

    def take(
        self, activations: Tensor, sampler: Sampler, rows: Floats, first: int, centre: Floats, workspace: Workspace
    ) -> Tensor | None:
        """Copies sampled rows, and reads the moments of all in passes of their own. There is no use for `centre`."""
        del centre
        drawn = sampler.rows(activations)
        rows[first : first + len(drawn)] = drawn.numpy()
        return None if drawn.numel() == activations.numel() else moments(activations[None], workspace)

    def moments(self, activations: Tensor, workspace: Workspace) -> Tensor:
        """Reads them in passes of their own."""
        return moments(activations[None], workspace)

    def waiting(self) -> Waiting:
        """Returns counts that Python changes alone."""
        return Waiting()

    def order(self, rows: Floats, steps: int, workspace: Workspace) -> Order:
        """Turns the block over, so that the values of a unit and step lie side by side, and sorts them."""
        units = rows.shape[1]
        values = workspace.take("values", (units, steps, len(rows) // steps), self._dtype)
        np.copyto(values, rows.reshape(steps, -1, units).transpose(2, 0, 1))
        return block.order(values, workspace)

    def in_turn(self, values: Floats) -> Floats:
        """Returns values of all steps side by side."""
        return values.reshape(len(values), -1)

    def total(self, moments: Moments) -> Moments:
        """Returns all groups as one, in float64 of any range."""
        return moments.total()

    def closed(self, _: int) -> ClosedSteps:
        """Returns what leaves rows alone until all steps are sorted together: small calls cost more than sorting."""
        return ClosedSteps(self.order)

    def values(self, units: int, count: int) -> Floats:
        """Returns memory for values of units one after the other."""
        return np.empty((units, count), self._dtype)

    def compact(self, level: Floats, up: Floats) -> Floats:
        """Sorts a full level, keeps its ends and gives values to the level above."""
        return compact(level, up)

    def digest(self, levels: Sequence[Level], sampled: Ints) -> Digest:
        """Returns what to keep of the levels of a window."""
        return digest(levels, sampled, self._dtype)

    def digests(self, sites: Sequence[Sequence[Level]], sampled: Ints) -> Digest:
        """Site by site: how sums are rounded here depends on what stands beside them, and no site is to change so."""
        edges = np.cumsum([0, *(len(levels[0].values) for levels in sites)])
        parts = [self.digest(levels, sampled[a:b]) for levels, (a, b) in zip(sites, pairwise(edges), strict=True)]
        values, error = (np.concatenate(each) for each in zip(*((one.values, one.error) for one in parts), strict=True))
        tails = [one.tails for one in parts if one.tails is not None]
        return Digest(values, error, parts[0].rank, np.concatenate(tails) if tails else None)
