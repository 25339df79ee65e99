"""Step rows of one site and phase that wait to be written."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from icshift.distribution import Ints
from icshift.runs.arrow_arrays import names, numbers
from icshift.runs.format import QUANTILE_COLUMNS, Site, StepRows, kept_units, units_in_steps

_FLOATS = ("mean", "std", "min", "max", "zero_share")
_COLUMNS = (*_FLOATS, *QUANTILE_COLUMNS)

_BYTES = 4 * (2 + len(_COLUMNS))
"""Bytes a unit and step that waits."""

_FIRST = 16
"""Steps that a buffer has room for at first."""


class StepBuffer:
    """Rows of one site and phase, of the units that its step series holds."""

    def __init__(self, phase: str, site: Site) -> None:
        self.phase = phase
        self.site = site.name
        self.units = units_in_steps(site).astype(np.int32)
        self.filled = 0
        """Steps that wait."""
        kept = kept_units(site)
        self._places: Any = slice(None) if len(self.units) == len(kept) else np.searchsorted(kept, self.units)
        self._allocate(_FIRST)

    @property
    def capacity(self) -> int:
        """Steps that there is room for."""
        return len(self.steps)

    @property
    def waiting(self) -> int:
        """Bytes of what waits."""
        return self.filled * len(self.units) * _BYTES

    def grow(self) -> None:
        """Make room for twice as many steps."""
        before = self.steps, self.counts, self.floats
        self._allocate(2 * self.capacity)
        waits = slice(self.filled)
        self.steps[waits], self.counts[:, waits], self.floats[:, waits] = (
            array[..., waits] if array.ndim == 1 else array[:, waits] for array in before
        )

    def append(self, rows: StepRows, kept: Ints) -> None:
        """Take in these of the rows: as many as there is room for."""
        place = slice(self.filled, self.filled + len(kept))
        # Mostly all steps of a block are on the stride: a slice of them is no copy.
        whole = len(kept) == len(rows.steps)
        steps: Any = slice(None) if whole else kept[:, None] if not isinstance(self._places, slice) else kept
        self.steps[place] = rows.steps[kept]
        self.counts[0, place] = rows.count[steps, self._places]
        self.counts[1, place] = rows.nonfinite[steps, self._places]
        for column, name in enumerate(_FLOATS):
            self.floats[column, place] = getattr(rows, name)[steps, self._places]
        self.floats[len(_FLOATS) :, place] = rows.quantiles[:, steps, self._places]
        self.filled += len(kept)

    def taken(self) -> StepBuffer:
        """Returns another with all that waits here, where nothing waits any more."""
        other = copy(self)
        self._allocate(self.capacity)
        self.filled = 0
        return other

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Leave out the other steps of those that wait."""
        if which.all():
            return
        waits, self.filled = slice(self.filled), int(np.count_nonzero(which))
        kept = slice(self.filled)
        self.steps[kept] = self.steps[waits][which]
        for arrays in (self.counts, self.floats):
            for column in arrays:  # One by one: a copy of all would be as large as the buffer.
                column[kept] = column[waits][which]

    def _allocate(self, steps: int) -> None:
        self.steps = np.empty(steps, np.int64)
        self.counts = np.empty((2, steps, len(self.units)), np.int32)
        self.floats = np.empty((len(_COLUMNS), steps, len(self.units)), np.float32)


def step_table(buffers: Sequence[StepBuffer]) -> pa.Table:
    """Returns all that waits in some buffers."""
    rows = [buffer.filled * len(buffer.units) for buffer in buffers]
    columns = {
        "phase": names([buffer.phase for buffer in buffers], rows),
        "site": names([buffer.site for buffer in buffers], rows),
        "step": numbers(np.concatenate([np.repeat(b.steps[: b.filled], len(b.units)) for b in buffers])),
        "unit": numbers(np.concatenate([np.tile(b.units, b.filled) for b in buffers])),
    }
    for place, name in enumerate(("count", "nonfinite")):
        columns[name] = numbers(np.concatenate([b.counts[place, : b.filled].ravel() for b in buffers]))
    for place, name in enumerate(_COLUMNS):
        columns[name] = numbers(np.concatenate([b.floats[place, : b.filled].ravel() for b in buffers]))
    # Nothing is missing here: what says so for each number would take a tenth of the file.
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
