"""Rows of numbers as bytes that are sorted by place: of each row all first bytes, then all second ones.

Neighbours have mostly the same sign and exponent, which are compressed where they stand together. Parquet has an
encoding that does this for columns of numbers; in lists of them it takes three times as long to read, since for every
number it is kept, beside it, in which list it is. The compiled kernel joins them four times as fast (kernel/planes.c).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift import kernel_choice

Bytes = NDArray[np.uint8]


def split(values: NDArray[Any]) -> Bytes:
    """Returns numbers [rows, n] of 4 or 8 bytes as bytes [rows, n * bytes of a number].

    >>> split(np.array([[1, 258]], "<i4")).tolist()
    [[1, 2, 0, 1, 0, 0, 0, 0]]
    """
    rows, n = values.shape
    places = np.ascontiguousarray(values).view(np.uint8).reshape(rows, n, values.itemsize)
    return places.transpose(0, 2, 1).reshape(rows, n * values.itemsize)


def joined(planes: Bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns the numbers [rows, n] of such bytes [rows, n * bytes of a number].

    >>> joined(split(np.array([[0.5, -2.0]], "<f4")), np.dtype("<f4"))
    array([[ 0.5, -2. ]], dtype=float32)
    """
    rows, size = len(planes), dtype.itemsize
    n = planes.shape[1] // size
    planes = np.ascontiguousarray(planes)
    values = np.empty((rows, n), dtype)
    if kernel_choice.uses_native():
        kernel_choice.compiled.join_planes(planes, rows, n, size, values)
        return values
    places = values.view(np.uint8).reshape(rows, n, size)
    for place in range(size):
        places[:, :, place] = planes[:, place * n : (place + 1) * n]
    return values
