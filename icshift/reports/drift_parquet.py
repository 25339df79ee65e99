"""The drift of every unit as an Apache Parquet file, piece by piece."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.analysis.drift import ALL_COLUMNS, Piece, frame
from icshift.reports.in_pieces import Written, column, gathered
from icshift.reports.tabular import as_parquet
from icshift.runs.frames import in_model_order

if TYPE_CHECKING:
    import pyarrow as pa

    from icshift.runs.format import Site

_ROWS = 200_000
"""Rows of a row group."""


class _Sink(io.RawIOBase):
    """What a writer writes to: it keeps what was not taken yet, and knows how much was written in all."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any, /) -> int:
        self._parts.append(bytes(part))
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        """Returns what was written since it was asked last."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def drift_parquet(pieces: Iterable[Piece], written: Written, sites: Sequence[Site]) -> Iterator[bytes]:
    """Yields Parquet that pandas reads as `tabular.as_parquet` of the same rows, a row group at a time.

    `sites` are those of the run, the categories of the column `site`.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    pieces = iter(pieces)
    first = list(islice(pieces, 1))  # What is asked for and not there is told before anything is written.
    if not first:
        yield as_parquet(in_model_order(pd.DataFrame(columns=ALL_COLUMNS), sites))
        return
    schema = pa.Schema.from_pandas(in_model_order(frame(first[0]), sites), preserve_index=False)
    names = list(dict.fromkeys(site.name for site in sites))
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for some in gathered(chain(first, pieces), written, _ROWS):
            columns = [_typed(column(name, some), schema.field(name).type, names) for name in ALL_COLUMNS]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            yield sink.take()
    yield sink.take()


def _typed(values: pa.Array, wanted: pa.DataType, names: Sequence[str]) -> pa.Array:
    """Returns a column of the type that it has in every row group; of one of categories these are the `names`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(wanted):
        return values.cast(wanted)
    all_names = pa.array(names, wanted.value_type)
    places = pc.index_in(values, all_names).to_numpy().astype(np.int64)
    return pa.DictionaryArray.from_arrays(pa.array(places, wanted.index_type), all_names, ordered=wanted.ordered)
