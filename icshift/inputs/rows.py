"""Which examples of arrays are taken where there is a limit, and reading no more than these from a file of NumPy.

A compressed file of half a megabyte may hold a gigabyte. The header of an array says how many rows it has, so that of
what follows only the rows that are asked for are kept.
"""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from icshift import regular
from icshift.errors import ModelError

_SEED = 20150211
_MANY = 1 << 22
"""Rows of which not all numbers are drawn, but only those that are asked for."""

_CHUNK = 1 << 22
"""Bytes that are unpacked at a time."""

_PASSED_OVER = 1 << 30
"""Bytes to which a small archive may unpack where few of them are kept."""

_MOST_ARRAYS = 1000

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def drawn(rows: int, limit: int | None) -> NDArray[np.int64]:
    """Returns the numbers of the rows that are taken, in the order in which they are, always the same of as many rows.

    >>> drawn(5, None), drawn(5, 2)
    (array([4, 3, 0, 1, 2]), array([4, 3]))
    """
    chance = np.random.default_rng(_SEED)
    if limit is not None and limit < rows > _MANY:
        return chance.choice(rows, limit, replace=False)
    return chance.permutation(rows)[:limit]


def of_npz(path: Path, limit: int | None = None) -> dict[str, Any]:
    """Returns the arrays of an archive by name: where they are longer than `limit`, as many rows of each.

    These are the rows that `drawn` draws of them all, in an order of which it draws the same again.
    """
    with regular.opened(path) as file, zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ARRAYS:
            raise ModelError(f"holds {len(entries):,} arrays, which no forward takes: keep those that yours does")
        lengths = {_length(archive, entry) for entry in entries}
        in_part = limit is not None and len({length for length in lengths if length > limit}) == 1
        size, unpacked = regular.size_of(file), sum(entry.file_size for entry in entries)
        if regular.is_bomb(size, unpacked, *([_PASSED_OVER] if in_part else [])):
            raise ModelError(f"unpacks from {size:,} bytes to {unpacked:,}: damaged, or made to take all memory")
        most = limit if in_part and limit is not None else None
        return {entry.filename.removesuffix(".npy"): _read(archive, entry, most) for entry in entries}


def of_npy(path: Path, limit: int | None = None) -> Any:
    """Returns the array in a file, or `limit` rows of it, as `of_npz` does. All of it is mapped: read where it is used.

    Arrays in Fortran's order are read, and so is one without values. While it is in use the file must not be cut short.
    """
    with regular.opened(path) as file:
        shape, fortran, kind = _header(file)
        _refuse_other_size(shape, kind, regular.size_of(file) - file.tell())
        if fortran or not shape or not prod(shape):
            file.seek(0)
            return np.load(file, allow_pickle=False)
        whole = np.memmap(file, kind, "r", file.tell(), shape)
        return whole if limit is None or shape[0] <= limit else placed(np.array(whole[drawn(shape[0], limit)]))


def _length(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Returns how many rows an array has. Raises `ModelError` where it takes other bytes than its record has."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError(f"holds {entry.filename!r}, which NumPy did not write: save it with numpy.savez_compressed")
    with archive.open(entry) as member:
        shape, _, kind = _header(member)
        _refuse_other_size(shape, kind, entry.file_size - member.tell())
    return shape[0] if shape else 0


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int | None) -> NDArray[Any]:
    with archive.open(entry) as member:
        shape, fortran, kind = _header(member)
        if limit is None or fortran or not shape or shape[0] <= limit:
            member.seek(0)
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
        order = drawn(shape[0], limit)
        found = np.empty((limit, *shape[1:]), kind)
        row = prod(shape[1:]) * kind.itemsize
        for first, rows in _chunks(member, shape[0], row):
            here = np.flatnonzero((order >= first) & (order < first + len(rows)))
            found[here] = rows[order[here] - first].copy().view(kind).reshape(len(here), *shape[1:])
        return placed(found)


def _chunks(member: Any, rows: int, row: int) -> Any:
    """Yields all rows as bytes [rows, bytes], some at a time, each with the number of the first."""
    some = max(_CHUNK // max(row, 1), 1)
    for first in range(0, rows, some):
        count = min(some, rows - first)
        content = member.read(count * row)
        if len(content) != count * row:
            raise ModelError("ends before its last row: damaged or cut short")
        yield first, np.frombuffer(content, np.uint8).reshape(count, row)


def _header(file: BinaryIO | Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns the shape of the array that follows, whether its first axis runs fastest, and the type."""
    version = np.lib.format.read_magic(file)
    if version not in _READERS:
        raise ModelError(f"is of version {version[0]}.{version[1]} of NumPy's format, which icshift does not read")
    shape, fortran, kind = _READERS[version](file)
    if any(length < 0 for length in shape):
        raise ModelError("has a length below zero: damaged")
    if kind.hasobject:
        raise ModelError("holds objects, which would run code from it: expected numbers")
    return shape, fortran, kind


def _refuse_other_size(shape: tuple[int, ...], kind: np.dtype[Any], there: int) -> None:
    """Raises `ModelError` where an array takes other bytes than are there, and where its rows hold nothing at all."""
    if there != prod(shape) * kind.itemsize:
        raise ModelError(f"holds other bytes than an array of the shape {list(shape)} takes: damaged or cut short")
    if shape and shape[0] and not there:
        raise ModelError(f"holds an array of the shape {list(shape)}, in which there is no number")


def placed(rows: NDArray[Any]) -> NDArray[Any]:
    """Returns rows in the order of which `drawn` makes the one they have."""
    placed = np.empty_like(rows)
    placed[drawn(len(rows), None)] = rows
    return placed
