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

_MOST_BYTES = 1 << 30
"""Bytes of all rows of an array, which counts them in 32 bits."""

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


def lists(parts: Sequence[NDArray[Any]]) -> pa.Array:
    """Returns one list a row of arrays [rows, width], one array after another.

    >>> lists([np.zeros((1, 2)), np.ones((2, 1))]).to_pylist()
    [[0.0, 0.0], [1.0], [1.0]]
    """
    widths = np.repeat([part.shape[1] for part in parts], [len(part) for part in parts])
    ends = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    inner = numbers(_flat(parts))
    # As Parquet calls it: what is read again is of the same type. Where nothing may be null it is read faster.
    kind = pa.list_(pa.field("element", inner.type, nullable=False))
    return pa.Array.from_buffers(kind, len(widths), [None, pa.py_buffer(ends)], children=[inner])


def binaries(parts: Sequence[NDArray[np.uint8]], absent: NDArray[np.bool_]) -> pa.ChunkedArray:
    """Returns the bytes of a row of arrays [rows, width], one array after another, null in rows that are `absent`.

    >>> binaries([np.array([[104, 105]], np.uint8), np.empty((1, 0), np.uint8)], np.array([False, True])).to_pylist()
    [b'hi', None]
    """
    if sum(part.size for part in parts) > _MOST_BYTES and sum(map(len, parts)) > 1:
        first, second = _halves(parts)
        rows = sum(map(len, first))
        both = binaries(first, absent[:rows]), binaries(second, absent[rows:])
        return pa.chunked_array([chunk for half in both for chunk in half.chunks])
    widths = np.repeat([part.shape[1] for part in parts], [len(part) for part in parts])
    ends = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    known = _bits(~absent) if absent.any() else None
    flat = _flat(parts)
    made = pa.Array.from_buffers(pa.binary(), len(widths), [known, pa.py_buffer(ends), pa.py_buffer(flat)])
    return pa.chunked_array([made])


def _flat(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0].ravel() if len(parts) == 1 else np.concatenate([part.ravel() for part in parts])


def _halves(parts: Sequence[NDArray[np.uint8]]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Returns the arrays in two halves; the rows of a single one."""
    if len(parts) == 1:
        middle = len(parts[0]) // 2
        return [parts[0][:middle]], [parts[0][middle:]]
    return list(parts[: len(parts) // 2]), list(parts[len(parts) // 2 :])


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
