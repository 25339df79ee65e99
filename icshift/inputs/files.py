"""Arrays from files: what each format holds, as tensors or arrays by name. Nothing in a file is executed.

A reader takes a path and a limit, and returns one array, a tuple of tensors, or arrays by name. It may fail in any way:
who calls it adds the name of the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icshift.errors import ModelError
from icshift.inputs import rows, tables
from icshift.inputs.batches import tensors
from icshift.saved.faults import as_model_error
from icshift.saved.formats import detect, pickled, safetensors
from icshift.saved.load import refuse_stretched


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
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The given NumPy array is not writable"
        )  # Nobody writes: forwards get copies.
        return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C"]))


def _pt(path: Path, _: int | None = None) -> Any:
    # By the gates that saved models go through: PyTorch's own lets a small file ask for any amount of memory.
    with as_model_error(path):
        kind = detect.of_file(path)
        if kind not in ("torch", "legacy"):
            raise ModelError(f"is a file of {kind}: expected tensors that torch.save wrote")
        if pickled.needs_code(pickled.inspected(path, legacy=kind == "legacy")):
            raise ModelError("holds more than tensors, which would run code from it: torch.save the tensors alone")
        content = pickled.read(path, kind, unsafe=False)
        refuse_stretched({str(number): tensor for number, tensor in enumerate(tensors(content))})
        return content


def _safetensors(path: Path, _: int | None = None) -> dict[str, Any]:
    with as_model_error(path):
        return dict(safetensors.read(path))


READERS: dict[str, Callable[[Path, int | None], Any]] = {
    ".npz": rows.of_npz,
    ".npy": rows.of_npy,
    ".pt": _pt,
    ".safetensors": _safetensors,
    ".csv": tables.of_csv,
    ".parquet": tables.of_parquet,
}
"""The function that reads a file, by the suffix in small letters. Of arrays longer than a limit it may give as many
rows as that, as `rows.of_npz` does."""
