"""The drift of every unit as CSV, piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from icshift.analysis.drift import ALL_COLUMNS, Piece, frame
from icshift.reports.in_pieces import Written, column, gathered

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 50_000
"""Rows that are written at once."""

_ODD = re.compile(r'^$|[",\r\n]')
"""What a word is put in quotes for."""


def drift_csv(pieces: Iterable[Piece], written: Written) -> Iterator[bytes]:
    """Yields CSV as `tabular.as_csv` writes it: one header line, full precision, NaN as an empty field."""
    pieces = iter(pieces)
    first = list(islice(pieces, 1))  # What is asked for and not there is told before anything is written.
    yield (",".join(ALL_COLUMNS) + "\n").encode()
    yield from map(_lines, gathered(chain(first, pieces), written, _ROWS))


def _lines(pieces: Sequence[Piece]) -> bytes:
    import pyarrow as pa
    from pyarrow.csv import WriteOptions, write_csv

    words = {value for piece in pieces for value in piece.values() if isinstance(value, str)}
    if any(map(_ODD.search, words)):
        return b"".join(
            frame(piece).to_csv(index=False, header=False, lineterminator="\n").encode() for piece in pieces
        )
    columns = [_spelt(column(name, pieces)) for name in ALL_COLUMNS]
    sink = pa.BufferOutputStream()
    write_csv(
        pa.table(columns, names=list(ALL_COLUMNS)), sink, WriteOptions(include_header=False, quoting_style="none")
    )
    return bytes(sink.getvalue())


def _spelt(values: pa.Array) -> pa.Array:
    """Returns a column in words where a number or flag is not spelt as pandas spells it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(values.type):
        return pc.if_else(values, "True", "False")
    if pa.types.is_floating(values.type):
        found = values.to_numpy(zero_copy_only=False)
        unknown = np.isnan(found)
        known = found[~unknown]
        if (np.abs(known) < 2**53).all() and (known == np.round(known)).all():
            whole = pa.array(np.nan_to_num(found).astype(np.int64), mask=unknown)
            return pc.binary_join_element_wise(whole.cast(pa.string()), ".0", "")
    return values
