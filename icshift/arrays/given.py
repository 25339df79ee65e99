"""What is compared: arrays of activations [rows, units] by name, from memory or from a file.

Nothing in a file is executed, and it is read only once it is known how much memory that takes: a small one may
declare any number of values.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift.errors import ModelError, message_of

_LEAST = 256 * 2**20
"""Bytes that every file may declare."""

_SPREAD = 100
"""How many times its own bytes a larger one may declare: the zeros of a ReLU are packed to a tenth or so."""


@dataclass(frozen=True, eq=False)
class Given:
    """Arrays [rows, units] of float32 or float64, by name, and the `source` that they are from.

    `units` are the names of an array's units, where these have names of their own, as the columns of a table have.
    """

    source: str
    arrays: dict[str, NDArray[Any]]
    units: dict[str, list[str]] = field(default_factory=dict)


def given(what: Any, source: str) -> Given:
    """Returns arrays, tensors, data frames, mappings of them, or what is in a file, as rows; `source` names the former.

    Raises `ModelError` for what has no rows of numbers.
    """
    if isinstance(what, (str, Path)):
        return read(Path(what))
    if isinstance(what, Mapping):
        return Given(source, {str(name): _rows(value, f"{source}: {name}") for name, value in what.items()})
    names = {"": [str(name) for name in what.columns]} if hasattr(what, "columns") else {}
    return Given(source, {"": _rows(what, source)}, names)


def read(path: Path) -> Given:
    """Returns the arrays of a file: .npy, .npz, or .parquet, in which every column is a unit.

    Raises `ModelError` where there is none, it is none of these, or it holds no rows of numbers.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ModelError(f"{path} is no dump of activations: expected a file {', '.join(READERS)}")
    if not path.is_file():
        raise ModelError(f"no such file: {path}" if not path.exists() else f"{path} is no regular file: give a file")
    try:
        arrays, units = READERS[suffix](path)
    except ModelError:
        raise
    except Exception as error:  # Of a damaged file readers raise whatever they meet: zlib's error, a syntax error.
        raise ModelError(f"{path} cannot be read as {suffix}: {type(error).__name__}: {message_of(error)}") from error
    if not arrays:
        raise ModelError(f"{path} holds no array")
    return Given(
        str(path),
        {name: _rows(value, f"{path}: {name}" if name else str(path)) for name, value in arrays.items()},
        units,
    )


_Read = tuple[dict[str, Any], dict[str, list[str]]]


def _npy(path: Path) -> _Read:
    # Mapped: the file's own bytes are all the memory it takes, and their number is checked.
    return {"": np.load(path, mmap_mode="r", allow_pickle=False)}, {}


def _npz(path: Path) -> _Read:
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        _bounded(path, sum(entry.file_size for entry in archive.infolist()), size)
        for entry in archive.infolist():
            with archive.open(entry) as file:
                _refuse_false_header(path, entry, file)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}, {}


def _refuse_false_header(path: Path, entry: zipfile.ZipInfo, file: Any) -> None:
    """Raises `ModelError` for an array that declares other than there is: NumPy would make room for it first."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ModelError(f"{path}: {entry.filename!r} holds objects, which would run code from it: expected numbers")
    if math.prod(shape) * dtype.itemsize > entry.file_size:
        raise ModelError(f"{path}: {entry.filename!r} declares {shape} of {dtype}, and holds {entry.file_size:,} bytes")


def _parquet(path: Path) -> _Read:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _bounded(path, file.metadata.num_rows * len(names) * 4, path.stat().st_size)
        table = file.read()
    columns = []
    for name in names:
        column = table[name]
        if not str(column.type).startswith(("float", "double", "halffloat", "int", "uint", "bool")):
            raise ModelError(f"{path}: column {name!r} holds {column.type}: expected numbers in all columns")
        columns.append(column.to_numpy())  # What is missing becomes NaN.
    return {"": np.column_stack([_plain(column) for column in columns])} if columns else {}, {"": names}


READERS: dict[str, Callable[[Path], _Read]] = {".npz": _npz, ".npy": _npy, ".parquet": _parquet}
"""The function that reads a file, by its suffix in small letters."""


def _bounded(path: Path, declared: int, size: int) -> None:
    if declared > max(_LEAST, _SPREAD * size):
        raise ModelError(
            f"{path} has {size:,} bytes and declares {declared:,}: damaged, or made to deceive; save it uncompressed"
        )


def _rows(what: Any, source: str) -> NDArray[Any]:
    """Returns numbers as [rows, units]; one axis alone is one unit."""
    if hasattr(what, "detach"):  # A tensor, for which torch need not be imported here.
        try:
            what = what.detach().cpu()
            what = what.float() if "bfloat16" in str(what.dtype) else what
            what = what.numpy()
        except (TypeError, NotImplementedError, RuntimeError) as error:
            raise ModelError(f"{source} is a tensor without an array of numbers: {message_of(error)}") from error
    if isinstance(what, np.ma.MaskedArray):
        what = np.ma.filled(what.astype(np.result_type(what.dtype, np.float32)), np.nan)
    array = what.to_numpy() if hasattr(what, "to_numpy") else np.asanyarray(what)
    if array.dtype.kind not in "biuf":
        raise ModelError(f"{source} holds {array.dtype}: expected numbers")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ModelError(
            f"{source} has the shape {array.shape}: expected [rows, units]; put the units last and join the others, as "
            "x.reshape(-1, x.shape[-1])"
        )
    if not array.size:
        raise ModelError(f"{source} has the shape {array.shape}: expected at least one row and one unit")
    return _plain(array)


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Returns numbers as float32 where these hold them, else as float64."""
    small = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
    return array.astype(np.float32 if small else np.float64, copy=False)
