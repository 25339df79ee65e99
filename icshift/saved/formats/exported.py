"""Archives of `torch.export`: weights are read as data, the program itself only where code may run.

`torch.export.load` unpickles sample inputs, constants and odd weights with nothing held back, evaluates the shapes in
the program as Python (through SymPy) and loads the libraries of a compiled package. The weights, though, lie in the
archive as plain bytes with a table in JSON: those are read without any of it, for a model that comes from elsewhere.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icshift import regular
from icshift.errors import ModelError
from icshift.saved.faults import first_few
from icshift.saved.formats import inert, pickled
from icshift.saved.formats.archive import Archive, opened

_WEIGHTS = "data/weights/"
_CONFIG = "_weights_config.json"
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
}
"""Numbers of types in the table (`torch._export.serde.schema.ScalarType`)."""


def read(path: Path, *, unsafe: bool) -> dict[str, Tensor]:
    """Every weight and buffer of the program by name. Raises `ModelError` where a pickle in it would run code."""
    with opened(path) as archive:
        archive.check()
        if not unsafe:
            _refuse_code(archive)
        for legacy in ("serialized_state_dict.pt", f"{_WEIGHTS}model.pt"):
            if legacy in archive.sizes:
                return dict(pickled.read_bytes(archive.read(legacy)))
        tables = [name for name in archive.sizes if name.startswith(_WEIGHTS) and name.endswith(_CONFIG)]
        if len(tables) != 1:
            raise ModelError(f"holds the weights of {len(tables)} programs ({first_few(tables)}); expected one")
        table = json.loads(archive.read(tables[0]))["config"]
        stored: dict[str, Tensor] = {}
        return {name: _weight(archive, name, entry, stored) for name, entry in table.items()}


def module(path: Path, *, unsafe: bool) -> nn.Module:
    """The program as a module whose parts are called as those of the model were.

    Runs code of the file: raises `ModelError` unless that is allowed by `unsafe`.
    """
    if not unsafe:
        raise ModelError(
            "is a program of torch.export, which PyTorch loads by running code in it: give the model's class with"
            " --model and its weights are read without, or, if you trust where it is from, pass --unsafe-pickle"
        )
    with regular.opened(path) as file:
        return torch.export.unflatten(torch.export.load(file))


def _refuse_code(archive: Archive) -> None:
    if libraries := [name for name in archive.sizes if name.startswith("data/aotinductor/")]:
        raise ModelError(
            f"is a compiled package ({libraries[0]}), whose parts cannot be watched; use torch.export.save"
        )
    for name in archive.sizes:
        if name.startswith(("data/constants/", "data/sample_inputs/", "serialized_")):
            content = archive.read(name)
            if content.startswith(b"PK\x03\x04"):
                pickled.refuse_code(pickled.inspected(content))
            elif content.startswith(b"\x80"):
                pickled.refuse_code(inert.parse(BytesIO(content)))


def _weight(archive: Archive, name: str, entry: Any, stored: dict[str, Tensor]) -> Tensor:
    """The tensor of an entry in the table; `stored` keeps the bytes of each record, which several may share."""
    record = _WEIGHTS + entry["path_name"]
    if entry["use_pickle"]:
        tensor = pickled.read_bytes(archive.read(record))
        if not isinstance(tensor, Tensor):
            raise ModelError(f"holds {name!r} as something that is no tensor: damaged")
        return tensor
    meta = entry["tensor_meta"]
    if meta["dtype"] not in _DTYPES:
        raise ModelError(f"holds {name!r} in a type of number that icshift does not know ({meta['dtype']})")
    shape, strides = ([number["as_int"] for number in meta[field]] for field in ("sizes", "strides"))
    if record not in stored:
        content = bytearray(archive.read(record))
        stored[record] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
    flat = stored[record].view(_DTYPES[meta["dtype"]])
    return flat.as_strided(shape, strides, meta["storage_offset"]["as_int"])
