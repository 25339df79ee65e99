"""Arrays from files: what each format holds, as tensors or arrays by name. Nothing in a file is executed."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icshift.errors import ModelError


def as_tensor(value: Any, what: str) -> Tensor:
    """Numbers as a tensor. Raises `ModelError` for anything else."""
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


def line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:300]


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


def _pt(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} is damaged or holds more than tensors, which would run code from it") from error


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ModelError("reading .safetensors needs safetensors: pip install safetensors") from error
    return dict(load_file(path))


def _csv(path: Path) -> Any:
    import pandas as pd

    with path.open(newline="") as file:
        first = next(csv.reader(file), [])
    return _numbers(pd.read_csv(path, header=None if first and all(map(_is_number, first)) else 0), path)


def _parquet(path: Path) -> Any:
    import pandas as pd

    return _numbers(pd.read_parquet(path), path)


def _numbers(frame: Any, path: Path) -> Any:
    """A column a feature, in float32; what is missing is NaN."""
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
"""What reads a file, by its suffix."""
