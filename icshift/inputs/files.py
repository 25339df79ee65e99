"""Arrays from files: what each format holds, as tensors or arrays by name. Nothing in a file is executed.

A reader takes a path and returns one array, a tuple of tensors, or arrays by name. It may fail in any way: who calls it
adds the name of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icshift.errors import ModelError
from icshift.saved.faults import as_model_error
from icshift.saved.formats import detect, pickled, safetensors


def as_tensor(value: Any, what: str) -> Tensor:
    """Numbers as a tensor; raises `ModelError` for anything else, with `what` as its subject.

    Unsigned integers of more than a byte become int64, floats of more than eight bytes double: torch has no such types.
    The tensor may share the memory of the array.

    >>> as_tensor(np.arange(3, dtype=np.uint16), "x")
    tensor([0, 1, 2])
    """
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise ModelError(f"{what} holds {array.dtype}: expected numbers")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def _pt(path: Path) -> Any:
    # By the gates that saved models go through: PyTorch's own lets a small file ask for any amount of memory.
    with as_model_error(path):
        kind = detect.of_file(path)
        if kind not in ("torch", "legacy"):
            raise ModelError(f"is a file of {kind}: expected tensors that torch.save wrote")
        if pickled.needs_code(pickled.inspected(path, legacy=kind == "legacy")):
            raise ModelError("holds more than tensors, which would run code from it: torch.save the tensors alone")
        return pickled.read(path, kind, unsafe=False)


def _safetensors(path: Path) -> dict[str, Any]:
    with as_model_error(path):
        return dict(safetensors.read(path))


def _csv(path: Path) -> Any:
    import pandas as pd

    with path.open(newline="") as file:
        first = next(csv.reader(file), [])
    return _numbers(pd.read_csv(path, header=None if first and all(map(_is_number, first)) else 0), path)


def _parquet(path: Path) -> Any:
    import pandas as pd

    return _numbers(pd.read_parquet(path), path)


def _numbers(frame: Any, path: Path) -> Any:
    """The columns of a table as float32 [rows, columns]; what is missing is NaN."""
    for column in frame.columns:
        if len(frame) and frame[column].dtype.kind not in "biuf":
            raise ModelError(f"{path}: column {column} holds {frame[column].dtype}: expected numbers in all columns")
    return frame.to_numpy(np.float32, na_value=np.nan)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".pt": _pt,
    ".safetensors": _safetensors,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""The function that reads a file, by the suffix in small letters."""
