"""Directories of `torch.distributed.checkpoint`, read without that package.

Its reader unpickles `.metadata` and every entry that is no tensor with nothing held back. Here the metadata are
read as data (`inert`), only names of that format are allowed in them, and of the rest only the tensors of the model are
read, each as a file of torch.save, whatever number of ranks wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icshift.errors import ModelError
from icshift.saved.faults import file_beside, first_few, regular
from icshift.saved.formats import inert, pickled
from icshift.saved.formats.archive import opened
from icshift.saved.formats.inert import Made, Name

_METADATA = "torch.distributed.checkpoint.metadata"
_STORAGE = "torch.distributed.checkpoint.filesystem"
_NAMES = {
    _METADATA: (
        "Metadata",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "TensorProperties",
        "MetadataIndex",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    ),
    _STORAGE: ("_StorageInfo", "_StoragePrefix"),
    "torch": ("Size",),
    "torch.serialization": ("_get_layout",),
    "collections": ("OrderedDict",),
    "pathlib": ("PosixPath", "WindowsPath"),
    "pathlib._local": ("PosixPath", "WindowsPath"),  # What Python 3.13 calls them.
}
_DEEPEST = 64
_LONGEST_NUMBER = 1 << 16
"""Bytes of an entry that may be an epoch or a step: a file of torch.save with one number has about a thousand."""

Place = tuple[str, int, int]
"""File, offset and length."""


@dataclass(frozen=True, eq=False)
class Listed:
    """What a checkpoint holds, from its metadata alone.

    `nested` is what was saved, with a placeholder without data for each tensor. `entries` say of each placeholder, by
    its identity, where the parts of its tensor are; `bytes` where anything that is no tensor is, by its path of names.
    """

    nested: dict[Any, Any]
    entries: dict[int, _Entry]
    bytes: dict[tuple[Any, ...], Place]


@dataclass(frozen=True)
class _Entry:
    """A tensor: its whole size, and the parts that the ranks wrote."""

    name: str
    size: tuple[int, ...]
    dtype: torch.dtype
    chunks: tuple[_Chunk, ...]


@dataclass(frozen=True)
class _Chunk:
    """A part of a tensor: where it begins on each axis, how long it is there, and where its bytes are."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    place: Place


def listed(directory: Path) -> Listed:
    """Lists a checkpoint. Raises `ModelError` for metadata with names of code, or that contradict its files."""
    with regular(directory / ".metadata").open("rb") as file:
        metadata = inert.parse(file)
    if foreign := [name for name in metadata.names if not _known(name)]:
        raise ModelError(
            f"has a .metadata that runs code: it needs {first_few(map(str, foreign))}; no distributed checkpoint does"
        )
    whole = _fields(metadata.value, _METADATA, "Metadata")
    places = dict(_places(whole["storage_data"]))
    _refuse_shared(directory, places.values())
    paths = whole.get("planner_data") or {}
    nested: dict[Any, Any] = {}
    entries: dict[int, _Entry] = {}
    other: dict[tuple[Any, ...], Place] = {}
    for name, described in whole["state_dict_metadata"].items():
        path = paths.get(name) if isinstance(paths, dict) else None
        path = path if isinstance(path, tuple) and 0 < len(path) <= _DEEPEST else (name,)
        if isinstance(described, Made) and described.what == Name(_METADATA, "TensorStorageMetadata"):
            entry = _entry(name, described, places)
            placeholder = torch.empty(entry.size, dtype=entry.dtype, device="meta")
            entries[id(placeholder)] = entry
            _put(nested, path, placeholder)
        elif (name, None) in places:
            other[path] = places[name, None]
    return Listed(nested, entries, other)


def tensors(directory: Path, listed: Listed, placeholders: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that placeholders stand for, put together from the parts that the ranks wrote.

    Raises `ModelError` where parts are cut short, overlap, or leave something out.
    """
    return {name: _tensor(directory, listed.entries[id(empty)]) for name, empty in placeholders.items()}


def _tensor(directory: Path, entry: _Entry) -> Tensor:
    parts = [(chunk, _part(directory, entry, chunk)) for chunk in entry.chunks]
    if len(parts) == 1:
        return parts[0][1]
    whole, filled = torch.zeros(entry.size, dtype=entry.dtype), torch.zeros(entry.size, dtype=torch.bool)
    for chunk, part in parts:
        where = tuple(slice(at, at + size) for at, size in zip(chunk.offsets, chunk.sizes, strict=True))
        whole[where], filled[where] = part, True
    if not filled.all():
        raise ModelError(f"has parts of {entry.name!r} that overlap and leave others out: damaged")
    return whole


def numbers(directory: Path) -> dict[str, Any]:
    """The numbers saved beside the tensors, by the last part of their names, such as `epoch`; optimizers' left out."""
    progress: dict[str, Any] = {}
    for path, place in listed(directory).bytes.items():
        if len(path) <= 2 and not str(path[0]).startswith("optim") and place[2] <= _LONGEST_NUMBER:
            with opened(_slice(directory, place)) as archive:
                value = inert.parse(BytesIO(archive.read("data.pkl"))).value
            if isinstance(value, (int, float)):
                progress.setdefault(str(path[-1]), value)
    return progress


def _part(directory: Path, entry: _Entry, chunk: _Chunk) -> Tensor:
    part = pickled.read_bytes(_slice(directory, chunk.place))
    if not isinstance(part, Tensor) or tuple(part.shape) != chunk.sizes or part.dtype != entry.dtype:
        raise ModelError(f"holds {entry.name!r} in another shape than its metadata say: damaged, or of two checkpoints")
    return part


def _slice(directory: Path, place: Place) -> bytes:
    name, offset, length = place
    file = file_beside(directory, name)
    if offset + length > file.stat().st_size:
        raise ModelError(f"has {name} cut short: it ends before byte {offset + length:,}; copy it anew")
    with file.open("rb") as opened_file:
        opened_file.seek(offset)
        return opened_file.read(length)


def _known(name: Name) -> bool:
    """Whether a name is one that the metadata of this format are made of."""
    if name.module == "torch" and isinstance(vars(torch).get(name.name), torch.dtype):
        return True
    return name.name in _NAMES.get(name.module, ())


def _fields(value: Any, module: str, name: str) -> dict[str, Any]:
    """The fields of an object of that class. Raises `ModelError` for anything else."""
    if not isinstance(value, Made) or value.what != Name(module, name) or not isinstance(value.state, dict):
        raise ModelError(f"has a .metadata without a proper {name}: damaged")
    return value.state


def _places(stored: Any) -> Iterator[tuple[tuple[str, tuple[int, ...] | None], Place]]:
    """Yields name and offsets of each part (no offsets: of what is no tensor), and where its bytes are."""
    for key, value in stored.items():
        index = _fields(key, _METADATA, "MetadataIndex")
        info = _fields(value, _STORAGE, "_StorageInfo")
        if info.get("transform_descriptors"):
            raise ModelError(f"was saved through {first_few(map(str, info['transform_descriptors']))}; save it without")
        name, offset, length = info["relative_path"], info["offset"], info["length"]
        _numbers((offset, length))
        where = index.get("offset")
        yield (index["fqn"], None if where is None else _size(where)), (name, offset, length)


def _refuse_shared(directory: Path, places: Iterable[Place]) -> None:
    """Refuses parts that take more bytes than there are: the same ones read many times over."""
    taken: dict[str, int] = {}
    for name, _, length in places:
        taken[name] = taken.get(name, 0) + length
    for name, length in taken.items():
        if length > (size := file_beside(directory, name).stat().st_size):
            raise ModelError(f"says {length:,} bytes are in {name}, which has {size:,}: damaged or cut short")


def _entry(name: str, described: Made, places: dict[tuple[str, tuple[int, ...] | None], Place]) -> _Entry:
    fields = _fields(described, _METADATA, "TensorStorageMetadata")
    properties = fields["properties"]
    dtype = properties.state[0] if isinstance(properties, Made) and isinstance(properties.state, tuple) else None
    size = _size(fields["size"])
    chunks: dict[tuple[int, ...], _Chunk] = {}
    for described_chunk in fields["chunks"]:
        chunk = _fields(described_chunk, _METADATA, "ChunkStorageMetadata")
        offsets, sizes = _size(chunk["offsets"]), _size(chunk["sizes"])
        within = all(at + length <= most for at, length, most in zip(offsets, sizes, size, strict=True))
        if (name, offsets) not in places or offsets in chunks or not within:
            raise ModelError(f"has no place for a part of {name!r}: damaged, or not all ranks had finished saving")
        chunks[offsets] = _Chunk(offsets, sizes, places[name, offsets])
    kind = vars(torch).get(dtype.name) if isinstance(dtype, Name) else None
    if not isinstance(kind, torch.dtype):
        raise ModelError(f"says of {name!r} no type of its numbers: damaged")
    held = sum(prod(chunk.sizes) for chunk in chunks.values())
    if held != prod(size) or held * kind.itemsize > sum(chunk.place[2] for chunk in chunks.values()):
        raise ModelError(f"holds {held:,} of the {prod(size):,} numbers of {name!r}: damaged, or not all ranks saved")
    return _Entry(name, size, kind, tuple(chunks.values()))


def _size(value: Any) -> tuple[int, ...]:
    inner = value.arguments[0] if isinstance(value, Made) and value.what == Name("torch", "Size") else None
    if not isinstance(inner, (tuple, list)):
        raise ModelError("has a .metadata with a shape that is none: damaged")
    return _numbers(inner)


def _numbers(values: Any) -> tuple[int, ...]:
    if not all(type(value) is int and 0 <= value < 1 << 62 for value in values) or len(values) > 64:
        raise ModelError("has a .metadata with a number out of range: damaged")
    return tuple(values)


def _put(nested: dict[Any, Any], path: tuple[Any, ...], value: Tensor) -> None:
    """Puts a value at a path of names, and makes the dictionaries on the way."""
    for part in path[:-1]:
        nested = nested.setdefault(part, {})
        if not isinstance(nested, dict):
            raise ModelError(f"has both a tensor and more below {first_few(map(str, path))}: damaged")
    nested[path[-1]] = value
