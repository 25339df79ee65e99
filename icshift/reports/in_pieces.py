"""The drift of every unit piece by piece, for files of any length: a table of it is never whole in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.analysis.drift import UNTOLD, Piece
from icshift.analysis.metrics import METRICS

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Written:
    """What was written so far: how many rows, and of each metric by example whether any row had a value."""

    rows: int = 0
    by_example: dict[str, bool] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Metrics by example that had no value, for want of a probe."""
        return [name for name, known in self.by_example.items() if not known]

    def add(self, piece: Piece) -> None:
        """Count the rows of a piece."""
        self.rows += len(piece["value"])
        if METRICS[piece["metric"]].by_example:
            known = self.by_example.get(piece["metric"], False)
            self.by_example[piece["metric"]] = known or bool(np.any(piece["n"]))


def gathered(pieces: Iterable[Piece], written: Written, rows: int) -> Iterator[list[Piece]]:
    """Yields pieces that have at least so many rows together, but for the last of them; all are counted."""
    waiting: list[Piece] = []
    count = 0
    for piece in pieces:
        written.add(piece)
        waiting.append(piece)
        count += len(piece["value"])
        if count >= rows:
            yield waiting
            waiting, count = [], 0
    if waiting:
        yield waiting


def column(name: str, pieces: Sequence[Piece]) -> pa.Array:
    """Returns a column of pieces: words, numbers or flags, null in place of NaN and of what cannot be told."""
    import pyarrow as pa

    sizes = [len(piece["value"]) for piece in pieces]
    values: list[Any] = [piece[name] for piece in pieces]
    if isinstance(values[0], str):
        words = list(dict.fromkeys(values))
        place = {word: at for at, word in enumerate(words)}
        return pa.array(words).take(pa.array(np.repeat([place[value] for value in values], sizes)))
    found = np.concatenate([np.broadcast_to(value, size) for value, size in zip(values, sizes, strict=True)])
    if name == "moved":
        return pa.array(found == 1, mask=found == UNTOLD)
    return pa.array(found, mask=np.isnan(found) if found.dtype.kind == "f" else None)
