"""The drift of every unit as CSV, piece by piece: a table of any length is never in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.analysis.drift import ALL_COLUMNS, UNTOLD, Piece, frame
from icshift.analysis.metrics import METRICS

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 50_000
"""Rows that are written at once."""

_ODD = re.compile(r'^$|[",\r\n]')
"""What a word is put in quotes for."""


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


def drift_csv(pieces: Iterable[Piece], written: Written) -> Iterator[bytes]:
    """Yields CSV as `tabular.as_csv` writes it: one header line, full precision, NaN as an empty field."""
    pieces = iter(pieces)
    first = list(islice(pieces, 1))  # What is asked for and not there is told before anything is written.
    yield (",".join(ALL_COLUMNS) + "\n").encode()
    waiting: list[Piece] = []
    rows = 0
    for piece in chain(first, pieces):
        written.add(piece)
        waiting.append(piece)
        rows += len(piece["value"])
        if rows >= _ROWS:
            yield _lines(waiting)
            waiting, rows = [], 0
    if waiting:
        yield _lines(waiting)


def _lines(pieces: Sequence[Piece]) -> bytes:
    import pyarrow as pa
    from pyarrow.csv import WriteOptions, write_csv

    words = {value for piece in pieces for value in piece.values() if isinstance(value, str)}
    if any(map(_ODD.search, words)):
        return b"".join(
            frame(piece).to_csv(index=False, header=False, lineterminator="\n").encode() for piece in pieces
        )
    sizes = [len(piece["value"]) for piece in pieces]
    columns = [_column(name, [piece[name] for piece in pieces], sizes) for name in ALL_COLUMNS]
    sink = pa.BufferOutputStream()
    write_csv(
        pa.table(columns, names=list(ALL_COLUMNS)), sink, WriteOptions(include_header=False, quoting_style="none")
    )
    return bytes(sink.getvalue())


def _column(name: str, values: Sequence[Any], sizes: Sequence[int]) -> pa.Array:
    """Returns a column of pieces of these sizes, in words where a number or flag is not spelt as pandas spells it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values[0], str):
        return pa.array(values).take(pa.array(np.repeat(np.arange(len(sizes)), sizes)))
    parts = [np.broadcast_to(value, size) for value, size in zip(values, sizes, strict=True)]
    found = np.concatenate(parts)
    if name == "moved":
        return pc.if_else(pa.array(found == 1, mask=found == UNTOLD), "True", "False")
    if found.dtype.kind == "b":
        return pc.if_else(pa.array(found), "True", "False")
    if found.dtype.kind == "f":
        known = found[~np.isnan(found)]
        if (np.abs(known) < 2**53).all() and (known == np.round(known)).all():
            whole = pa.array(np.nan_to_num(found).astype(np.int64), mask=np.isnan(found))
            return pc.binary_join_element_wise(whole.cast(pa.string()), ".0", "")
        return pa.array(found, mask=np.isnan(found))
    return pa.array(found)
