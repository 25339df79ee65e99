"""Weights out of a file of torch.save whose pickle needs code, without running it.

A Lightning checkpoint may hold a module among its hyper-parameters, a file may be a whole module: PyTorch reads such
only by importing and calling what it names. The weights in it are plain all the same. Here the pickle is read as data
(`inert`), a placeholder stands for each tensor, and those that are wanted are made from the bytes in the archive. What
only code would make stands as `Unread`; of a whole module, the parameters and buffers are taken as its state dict.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icshift.errors import ModelError
from icshift.saved.choose import Unread
from icshift.saved.formats import inert, pickled
from icshift.saved.formats.archive import Archive, opened
from icshift.saved.formats.inert import Made, Name, Pickle, Stored

_DTYPES = {
    "UntypedStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "IntStorage": torch.int32,
    "FloatStorage": torch.float32,
    "LongStorage": torch.int64,
    "DoubleStorage": torch.float64,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}

_MOST_TENSORS = 1_000_000
"""Of whole modules; shared ones would let their number grow without bound."""

_REBUILT = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")


@dataclass(frozen=True)
class _Described:
    """A tensor: the record of its bytes and how many there are, and how they are to be looked at."""

    key: str
    bytes: int
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class Outline:
    """What a file holds, with a placeholder without data for each tensor.

    `whole` has the class of each module in it that was pickled as a whole, by the identity of its state dict.
    """

    path: Path
    content: Any = None
    whole: dict[int, str] = field(default_factory=dict)
    described: dict[int, _Described] = field(default_factory=dict)

    def tensors(self, placeholders: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that placeholders stand for. Raises `ModelError` where the bytes are not those declared."""
        with opened(self.path) as archive:
            if "byteorder" in archive.sizes and archive.read("byteorder") != b"little":
                raise ModelError("was saved on a machine with another order of bytes: torch.save it anew on this one")
            stored: dict[str, bytearray] = {}
            return {
                name: _made(self.described[id(placeholder)], archive, stored)
                for name, placeholder in placeholders.items()
            }


def outlined(path: Path) -> Outline | None:
    """What is in a file of torch.save, where reading it would run code; None where it would not.

    Raises `ModelError` for an archive that is not what it declares.
    """
    with opened(path) as archive:
        parsed = inert.parse(BytesIO(archive.read("data.pkl")))
        if not pickled.needs_code(parsed):
            return None
        archive.check()
    outline = Outline(path)
    outline.content = _Reader(parsed, outline).read(parsed.value)
    return outline


def _made(described: _Described, archive: Archive, stored: dict[str, bytearray]) -> Tensor:
    """A tensor of the bytes in its record; `stored` keeps those of each, which several tensors may share."""
    if described.key not in stored:
        stored[described.key] = bytearray(archive.read(f"data/{described.key}"))
    content = stored[described.key]
    if len(content) != described.bytes:
        raise ModelError(
            f"declares {described.bytes:,} bytes of tensor {described.key!r} where {len(content):,} are: damaged or cut"
            " short"
        )
    if not content:
        return torch.empty(described.size, dtype=described.dtype)
    flat = torch.frombuffer(content, dtype=torch.uint8).view(described.dtype)
    return flat.as_strided(described.size, described.stride, described.offset)


class _Reader:
    """Turns what a pickle says into plain values; each object once, however often it is met."""

    def __init__(self, parsed: Pickle, outline: Outline) -> None:
        self._outline = outline
        self._attributes = parsed.attributes
        self._refusal = pickled.refusal(parsed)
        self._read: dict[int, Any] = {}
        self._met = 0

    def read(self, value: Any) -> Any:
        if id(value) in self._read:
            return self._read[id(value)]
        if isinstance(value, dict):
            made: Any = OrderedDict()
            self._read[id(value)] = made
            if "_metadata" in (attributes := self._attributes.get(id(value), {})):
                made._metadata = self.read(attributes["_metadata"])
            # Of other names no text is made: written out, shared tuples grow without bound.
            made.update(
                (name if isinstance(name, str) else id(name), self.read(inner)) for name, inner in value.items()
            )
        elif isinstance(value, (list, tuple)):
            made = []
            self._read[id(value)] = made
            made.extend(map(self.read, value))
        elif isinstance(value, (Made, Name, Stored)):
            made = self._read[id(value)] = self._object(value)
        else:
            made = value
        return made

    def _object(self, value: Made | Name | Stored) -> Any:
        if isinstance(value, Made):
            described = _described(value)
            if described is not None:
                placeholder = torch.empty_strided(
                    described.size, described.stride, dtype=described.dtype, device="meta"
                )
                self._outline.described[id(placeholder)] = described
                return placeholder
            if isinstance(value.state, dict) and {"_parameters", "_buffers", "_modules"} <= value.state.keys():
                state = self._state(value.state, "", set())
                self._outline.whole[id(state)] = str(value.what)
                return state
            if isinstance(value.what, Name) and pickled.is_plain_value(value.what):
                return None  # A plain value: a date, a path, a number of NumPy.
        return Unread(self._refusal)

    def _state(self, module: Mapping[str, Any], prefix: str, above: set[int]) -> dict[str, Any]:
        """The state dict of a module from the attributes that it was pickled with."""
        if id(module) in above:
            raise ModelError("holds a module within itself: damaged, or made to deceive")
        state: dict[str, Any] = {}
        passing = _set(module.get("_non_persistent_buffers_set"))
        for kind in ("_parameters", "_buffers"):
            for name, value in _named(module[kind]):
                if value is not None and not (kind == "_buffers" and name in passing):
                    state[prefix + name] = self.read(value)
        self._met += 1 + len(state)
        if self._met > _MOST_TENSORS:
            raise ModelError("has modules that unfold without bound: no saved model does")
        for name, inner in _named(module["_modules"]):
            attributes = inner.state if isinstance(inner, Made) else None
            if isinstance(attributes, dict) and {"_parameters", "_buffers", "_modules"} <= attributes.keys():
                state |= self._state(attributes, f"{prefix}{name}.", above | {id(module)})
            elif inner is not None:
                state[prefix + name] = Unread(self._refusal)
        return state


def _set(value: Any) -> list[Any]:
    """The elements of a set, which a pickle of protocol 2 makes by a call."""
    inner = (
        value.arguments[0]
        if isinstance(value, Made) and isinstance(value.arguments, tuple) and value.arguments
        else value
    )
    return inner if isinstance(inner, list) else []


def _named(members: Any) -> list[tuple[str, Any]]:
    pairs = members.items() if isinstance(members, dict) else ()
    return [(name, value) for name, value in pairs if isinstance(name, str)]


def _described(made: Made) -> _Described | None:
    """How a tensor is made of the bytes of a storage; None for a call that makes none, or one that is not plain."""
    name, arguments = made.what, made.arguments
    if not isinstance(name, Name) or name.module != "torch._utils" or not isinstance(arguments, tuple):
        return None
    if name.name in ("_rebuild_parameter", "_rebuild_parameter_with_state") and arguments:
        return _described(arguments[0]) if isinstance(arguments[0], Made) else None
    if name.name not in _REBUILT or len(arguments) < 4 or not isinstance(arguments[0], Stored):
        return None
    key, length = pickled.storage(arguments[0])
    dtype: Any = _DTYPES[arguments[0].identity[1].name]
    odd = arguments[6:]  # A conjugate or negative view of numbers.
    if name.name == "_rebuild_tensor_v3":
        dtype, odd = _dtype(arguments[6:7]), arguments[7:]
    offset, size, stride = arguments[1], _size(arguments[2]), _size(arguments[3])
    if any(odd) or type(offset) is not int or size is None or stride is None or dtype is None:
        return None
    reach = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True)) + 1
    if offset < 0 or (0 not in size and reach * dtype.itemsize > length):
        raise ModelError("has a tensor that is larger than its storage: damaged, or made to deceive")
    return _Described(key, length, dtype, offset, size, stride)


def _dtype(arguments: tuple[Any, ...]) -> torch.dtype | None:
    names = [argument for argument in arguments if isinstance(argument, Name) and argument.module == "torch"]
    named = vars(torch).get(names[0].name) if names else None
    return named if isinstance(named, torch.dtype) else None


def _size(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, Made) and value.what == Name("torch", "Size") and isinstance(value.arguments, tuple):
        value = value.arguments[0] if value.arguments else ()
    if not isinstance(value, (tuple, list)) or not all(type(item) is int and 0 <= item < 1 << 62 for item in value):
        return None
    return tuple(value)
