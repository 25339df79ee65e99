"""A model in one file of weights, or in several with an index that says which tensor is in which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icshift.errors import ModelError
from icshift.regular import content, parsed
from icshift.saved.faults import file_beside, first_few, regular
from icshift.saved.formats import detect, pickled, safetensors

_LONGEST_INDEX = 100_000_000


def read(path: Path, *, unsafe: bool) -> Any:
    """The content of a file of weights, or the tensors of all the files that an index names.

    Raises `ModelError` for a file of another format, and an index that names tensors that are not there.
    """
    kind = detect.of_file(path)
    return _read_all(path, unsafe=unsafe) if kind == "sharded" else _read_one(path, kind, unsafe=unsafe)


def _read_one(path: Path, kind: str, *, unsafe: bool) -> Any:
    if kind == "safetensors":
        return safetensors.read(path)
    if kind in ("torch", "legacy"):
        return pickled.read(path, kind, unsafe=unsafe)
    raise ModelError(f"{path.name} is of the format {kind}; expected safetensors or a file of torch.save")


def _read_all(path: Path, *, unsafe: bool) -> dict[str, Any]:
    index = document(path, _LONGEST_INDEX)
    where = index.get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ModelError(f"{path.name} is no index of weights: it has no weight_map")
    files = {name: file_beside(path.parent, name) for name in dict.fromkeys(map(str, where.values()))}
    tensors: dict[str, Any] = {}
    for name, file in files.items():
        held = _read_one(file, detect.of_file(file), unsafe=unsafe)
        wanted = [tensor for tensor, there in where.items() if there == name]
        lacking = [tensor for tensor in wanted if not isinstance(held, dict) or tensor not in held]
        if lacking:
            raise ModelError(f"lacks in {name} what its index says is there: {first_few(lacking)}")
        tensors |= {tensor: held[tensor] for tensor in wanted}
    return tensors


def document(path: Path, longest: int) -> dict[str, Any]:
    """The JSON object in a file. Raises `ModelError` where it has more than `longest` bytes or holds something else."""
    if regular(path).stat().st_size > longest:
        raise ModelError(f"{path.name} has more than {longest:,} bytes: no such file of a saved model has")
    try:
        value = parsed(content(path, longest))
    except ValueError as error:
        raise ModelError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} is no JSON object")
    return value
