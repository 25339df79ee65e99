"""Files of safetensors: a length, a header in JSON, and the bytes of all tensors one after the other, mapped.

The format: https://github.com/huggingface/safetensors#format. Models and data are both read here, and the library
`safetensors` is not needed. Two readers would accept different files; ours is the one that stays, because the default
installation lacks the library, the format is the sixty lines below, and a file that was cut short ends in an error that
says how many bytes are missing and what to do ("incomplete metadata, file not fully covered" says the library).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icshift import regular
from icshift.errors import ModelError

_LONGEST_HEADER = 100_000_000
"""Bytes; the limit that the library `safetensors` has too."""

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}


@dataclass(frozen=True)
class _Entry:
    """What the header says of a tensor; its bytes are from `begin` to `end`, counted from the end of the header."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def read(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file by name, mapped from it. Writing to a tensor does not change the file.

    Raises `ModelError` where the header does not describe every byte that follows it exactly once.
    """
    start, header = _header(path)
    header.pop("__metadata__", None)
    size = path.stat().st_size
    entries = sorted(
        (_entry(name, fields) for name, fields in header.items()), key=lambda entry: (entry.begin, entry.end)
    )
    at = 0
    for entry in entries:
        if entry.begin != at:
            raise ModelError(f"leaves bytes between its tensors, or lets two overlap, at {entry.name!r}: damaged")
        at = entry.end
    if start + at != size:
        raise ModelError(f"declares {start + at:,} bytes and has {size:,}: damaged or cut short; fetch it anew")
    whole = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    return {entry.name: _tensor(whole[start + entry.begin : start + entry.end], entry) for entry in entries}


def metadata(path: Path) -> dict[str, Any]:
    """The text that was saved beside the tensors, by name."""
    beside = _header(path)[1].get("__metadata__")
    return beside if isinstance(beside, dict) else {}


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the header ends, in bytes from the beginning of the file, and the header."""
    size = path.stat().st_size
    with regular.opened(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_LONGEST_HEADER, size - 8):
            raise ModelError(f"declares a header of {length:,} bytes in a file of {size:,}: damaged or cut short")
        header = regular.parsed(file.read(length), object_pairs_hook=_each_name_once)
    if not isinstance(header, dict):
        raise ModelError("has a header that lists no tensors: damaged")
    return 8 + length, header


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which JSON itself would allow a name to stand twice."""
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ModelError("names a tensor twice in its header: damaged, or made to deceive")
    return names


def _entry(name: str, fields: Any) -> _Entry:
    kind, shape, (begin, end) = fields["dtype"], fields["shape"], fields["data_offsets"]
    if kind not in _DTYPES:
        raise ModelError(f"holds {name!r} as {kind!r}, which is not one of {', '.join(_DTYPES)}")
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)) or len(shape) > 64:
        raise ModelError(f"gives {name!r} a shape or place that is none: damaged")
    dtype = _DTYPES[kind]
    needed = prod(shape) * dtype.itemsize
    if needed != end - begin:
        raise ModelError(f"declares {end - begin:,} bytes for {name!r}, whose shape takes {needed:,}: damaged")
    return _Entry(name, dtype, tuple(shape), begin, end)


def _tensor(data: Tensor, entry: _Entry) -> Tensor:
    """The bytes as a tensor; copied only where they are not aligned for its type."""
    aligned = data if data.storage_offset() % entry.dtype.itemsize == 0 else data.clone()
    return aligned.view(entry.dtype).view(entry.shape)
