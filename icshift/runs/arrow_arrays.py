"""Arrays of Arrow made of memory that NumPy holds, without a copy.

`pyarrow.array` would import pandas to see whether it was given anything of it, which takes half a second at the start
of every recording: of what is made here the buffers are handed over as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TYPES = {"int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(), "float64": pa.float64()}


def numbers(values: NDArray[Any]) -> pa.Array:
    """Returns numbers, of any shape, one after another.

    >>> numbers(np.array([[1.0, 2.0], [3.0, 4.0]])).to_pylist()
    [1.0, 2.0, 3.0, 4.0]
    """
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_TYPES[values.dtype.name], values.size, [None, pa.py_buffer(values)])


def flags(values: NDArray[np.bool_]) -> pa.Array:
    """Returns booleans.

    >>> flags(np.array([True, False])).to_pylist()
    [True, False]
    """
    return pa.Array.from_buffers(pa.bool_(), values.size, [None, _bits(values)])


def words(values: Sequence[str], rows: Sequence[int]) -> pa.Array:
    """Returns texts, each so many times.

    >>> words(["a", "bc"], [1, 2]).to_pylist()
    ['a', 'bc', 'bc']
    """
    encoded = [value.encode() for value in values]
    ends = np.cumsum(np.repeat([0, *map(len, encoded)], [1, *rows]), dtype=np.int32)
    text = b"".join(value * times for value, times in zip(encoded, rows, strict=True))
    return pa.Array.from_buffers(pa.string(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(text)])


def names(values: Sequence[str], rows: Sequence[int]) -> pa.Array:
    """Returns the same as `words`, each kept once and counted through.

    >>> names(["a", "bc"], [1, 2]).to_pylist()
    ['a', 'bc', 'bc']
    """
    places = np.repeat(np.arange(len(values), dtype=np.int32), rows)
    return pa.DictionaryArray.from_arrays(numbers(places), words(values, [1] * len(values)))


def lists(parts: Sequence[NDArray[Any]], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    """Returns one list a row of arrays [rows, width], one array after another, null in rows that are `absent`.

    >>> lists([np.zeros((1, 2)), np.ones((2, 1))], np.array([False, False, True])).to_pylist()
    [[0.0, 0.0], [1.0], None]
    """
    widths = np.repeat([part.shape[1] for part in parts], [len(part) for part in parts])
    ends = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    inner = numbers(np.concatenate([part.ravel() for part in parts]))
    known = None if absent is None or not absent.any() else _bits(~absent)
    kind = pa.list_(pa.field("element", inner.type))  # As Parquet calls it: what is read again is of the same type.
    return pa.Array.from_buffers(kind, len(widths), [known, pa.py_buffer(ends)], children=[inner])


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
