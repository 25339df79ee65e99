"""Files of torch.save: read with `weights_only=True`, once it is known that nothing in them would be called.

Two gates, one behind the other. The first reads the pickle as data (`inert`), refuses all names but those that state
dicts are made of, and can say which name it refused. The second is PyTorch's own.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch

from icshift import regular
from icshift.errors import ModelError
from icshift.saved.faults import first_few, summary_of
from icshift.saved.formats import inert
from icshift.saved.formats.archive import Archive, opened
from icshift.saved.formats.inert import Made, Name, Pickle, Stored

_PROTOCOL = 2
"""The version of pickle that torch.save writes by default, and the only one that `weights_only` understands."""

_STORAGES = {
    "UntypedStorage": 1,
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "IntStorage": 4,
    "FloatStorage": 4,
    "LongStorage": 8,
    "DoubleStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
}
"""Bytes of one element, by the class of the storage."""

_TENSORS = {
    "torch._utils": (
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
    ),
    "torch._tensor": ("_rebuild_from_type_v2",),
    "torch.nn.parameter": ("Parameter",),
    "torch.serialization": ("_get_layout",),
    "torch": ("Size", "device", "Tensor"),
    "collections": ("OrderedDict", "Counter"),
    "_codecs": ("encode",),
    "builtins": ("set", "bytearray", "complex"),
    "__builtin__": ("set", "bytearray", "complex"),
}
"""What PyTorch's `weights_only` admits, by module, less what makes tensors that no model can be loaded from."""

_PLACEHOLDERS = (
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("argparse", "Namespace"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),
    ("pathlib._local", "WindowsPath"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("torch.torch_version", "TorchVersion"),
)
"""Plain values that trainings keep beside their weights (a best accuracy, options): an empty object stands for them."""


_CONTAINERS = ("bytearray", "set", "Counter", "OrderedDict", "Size")
"""What is called with all that it holds; called with a number, or with a tensor of one, it may take all memory."""


def read(path: Path, kind: str, *, unsafe: bool) -> Any:
    """The content of a file of torch.save, on the CPU and mapped, not copied, where the format lets it be.

    Raises `ModelError` where reading would run code, or the file is not what it declares. With `unsafe` code is run,
    where nothing else will do.
    """
    if kind == "pickle":
        return _plain(path, unsafe=unsafe)
    before = _version(path)
    parsed = inspected(path, legacy=kind == "legacy")
    if unsafe and (_foreign(parsed) or parsed.protocol != _PROTOCOL):
        with regular.opened(path) as file, _importing():
            return torch.load(file, map_location="cpu", weights_only=False)
    refuse_code(parsed)
    _refuse_protocol(parsed)
    # Of a file with the suffix of safetensors torch.load would believe the suffix.
    if kind == "legacy" or path.suffix == ".safetensors":
        with regular.opened(path) as file:
            content = _loaded(file, mapped=False)
    else:
        content = _loaded(path, mapped=True)
    if _version(path) != before:
        raise ModelError("was changed while it was read: what was loaded may not be what was checked; try again")
    return content


def _version(path: Path) -> tuple[int, ...]:
    """What differs once another file is there or the same was written to: the last number nobody can set back."""
    now = path.stat()
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def read_bytes(content: bytes) -> Any:
    """The content of a file of torch.save that lies within another file. Raises `ModelError` where it runs code."""
    parsed = inspected(content)
    refuse_code(parsed)
    _refuse_protocol(parsed)
    return _loaded(BytesIO(content), mapped=False)


def _plain(path: Path, *, unsafe: bool) -> Any:
    """The content of a pickle that torch.save did not write; always a `ModelError` unless `unsafe`."""
    with regular.opened(path) as file, _importing():
        if unsafe:
            return pickle.load(file)
        refuse_code(inert.parse(file))
    raise ModelError(
        "is a pickle, but none of torch.save, and PyTorch reads such only with code run: torch.save it anew, or, if you"
        " trust where it is from, pass --unsafe-pickle"
    )


@contextmanager
def _importing() -> Iterator[None]:
    """A block within which a class that cannot be imported raises a `ModelError` that says what to do."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"needs a class that is not here ({summary_of(error)}): make it importable by that name, or save"
            " model.state_dict() instead"
        ) from error


def inspected(source: Path | bytes, *, legacy: bool = False) -> Pickle:
    """What the pickle in a file of torch.save says, without running it. It may need code: `refuse_code` refuses that.

    Of a pickle that needs none, raises `ModelError` where a storage that it names is missing or of another size.
    """
    if legacy and isinstance(source, Path):
        with regular.opened(source) as file:
            for _ in range(3):  # A number, a version, and what machine it was.
                refuse_code(inert.parse(file))
            parsed = inert.parse(file)
            if not _foreign(parsed):
                refuse_code(keys := inert.parse(file))
                _check_legacy(parsed, keys, source.stat().st_size - file.tell())
        return parsed
    with opened(source) as archive:
        archive.check()
        parsed = inert.parse(BytesIO(archive.read("data.pkl")))
        if not _foreign(parsed):
            _check_storages(parsed, archive)
    return parsed


def glanced(path: Path, kind: str) -> Any:
    """The value in a file of torch.save as data, for its epoch and step: no tensor is read or checked."""
    if kind == "torch":
        with opened(path) as archive:
            return inert.parse(BytesIO(archive.read("data.pkl"))).value
    with regular.opened(path) as file:
        for _ in range(3 if kind == "legacy" else 0):
            inert.parse(file)
        return inert.parse(file).value


def refuse_code(parsed: Pickle) -> None:
    """Raises `ModelError` where reading a pickle would import or call anything that tensors are not made of."""
    if _foreign(parsed):
        raise ModelError(refusal(parsed))
    for call in parsed.calls:
        _check_call(call)


def needs_code(parsed: Pickle) -> bool:
    """Whether PyTorch reads a pickle only with code run."""
    return bool(_foreign(parsed)) or parsed.protocol != _PROTOCOL


def refusal(parsed: Pickle) -> str:
    """What a pickle needs code for, and what to do, for a message."""
    if foreign := _foreign(parsed):
        return (
            f"is a pickle that runs code: it needs {first_few(map(str, foreign))}{_whole_module(parsed.value)};"
            " save model.state_dict() instead, or, if you trust where it is from, pass --unsafe-pickle"
        )
    return (
        f"is pickled with protocol {parsed.protocol}, which PyTorch reads only with code run: torch.save it anew"
        " without pickle_protocol, or, if you trust where it is from, pass --unsafe-pickle"
    )


def _refuse_protocol(parsed: Pickle) -> None:
    if parsed.protocol != _PROTOCOL:
        raise ModelError(refusal(parsed))


def _foreign(parsed: Pickle) -> list[Name]:
    """The names that no state dict needs, and that could be anything once they are imported."""
    return [name for name in parsed.names if not _is_harmless(name)]


def _is_harmless(name: Name) -> bool:
    """Whether a name is one of those that state dicts and the plain values beside them are made of."""
    if name.module in ("torch", "torch.storage") and name.name in _STORAGES:
        return True
    if name.module == "torch" and isinstance(vars(torch).get(name.name), torch.dtype):
        return True
    return name.name in _TENSORS.get(name.module, ()) or (name.module, name.name) in _PLACEHOLDERS


def is_plain_value(name: Name) -> bool:
    """Whether a name is of the plain values that trainings keep beside their weights."""
    return (name.module, name.name) in _PLACEHOLDERS or (_is_harmless(name) and not name.module.startswith("torch"))


def _whole_module(value: Any) -> str:
    """Says, for a message, that a whole object was pickled and of which class; "" where that is not what happened."""
    parts = value.values() if isinstance(value, dict) else [value]
    whole = [part.what for part in parts if isinstance(part, Made) and isinstance(part.what, Name)]
    foreign = [name for name in whole if not _is_harmless(name)]
    return f" (it holds a whole object of class {foreign[0]}, not its weights)" if foreign else ""


def _check_call(call: Made) -> None:
    """Refuses a harmless function with arguments that are not: a size of terabytes, a slow codec, another function."""
    name = call.what if isinstance(call.what, Name) else Name("", "")
    arguments = call.arguments if isinstance(call.arguments, tuple) else ()
    odd = (
        not isinstance(call.arguments, tuple)  # What is made elsewhere may become anything, as a size.
        or name.name in ("", "Tensor", *_STORAGES)
        or (name.name in _CONTAINERS and not all(map(_is_content, arguments)))
        or (name.name == "encode" and arguments[1:] not in (("latin1",), ("latin-1",)))
        or (name.name == "_rebuild_from_type_v2" and not _rebuilds(arguments[0]))
        or (call.state is not None and (name.module, name.name) not in _PLACEHOLDERS)
    )
    if odd:
        raise ModelError(f"has a pickle that calls {name} as no state dict does: damaged, or made to deceive")


def _is_content(argument: Any) -> bool:
    """Whether it may be what a container holds: no number, and nothing that is made elsewhere and may count as one."""
    encoded = isinstance(argument, Made) and argument.what == Name("_codecs", "encode")
    return encoded or isinstance(argument, (list, tuple, dict, str, bytes, bytearray))


def _rebuilds(function: Any) -> bool:
    return isinstance(function, Name) and function.module == "torch._utils"


def storage(stored: Stored) -> tuple[str, int]:
    """The key of a storage and its size in bytes. Raises `ModelError` for what is no storage."""
    identity = stored.identity
    if not (isinstance(identity, tuple) and len(identity) >= 5 and identity[0] == "storage"):
        raise ModelError("has a pickle that takes from outside what is no storage: damaged, or made to deceive")
    _, kind, key, _, count = identity[:5]
    if not (isinstance(kind, Name) and kind.name in _STORAGES and isinstance(key, str) and isinstance(count, int)):
        raise ModelError("has a pickle with a storage of no known kind: damaged, or made to deceive")
    return key, count * _STORAGES[kind.name]


def _check_storages(parsed: Pickle, archive: Archive) -> None:
    """Raises `ModelError` where the bytes of a storage are not in the archive."""
    for stored in parsed.stored:
        key, size = storage(stored)
        there = archive.sizes.get(f"data/{key}", 0)
        if there != size:
            raise ModelError(f"declares {size:,} bytes of tensor {key!r} where {there:,} are: damaged or cut short")


def _check_legacy(parsed: Pickle, keys: Pickle, left: int) -> None:
    """Raises `ModelError` where the `left` bytes after the pickles are not those of the storages.

    After the content come the keys of all storages in a pickle, then the length and the bytes of each.
    """
    sizes = dict(map(storage, parsed.stored))
    if not isinstance(keys.value, list) or sorted(map(str, keys.value)) != sorted(sizes):
        raise ModelError("lists other tensors than it holds: damaged, or made to deceive")
    declared = sum(8 + length for length in sizes.values())
    if declared != left:
        raise ModelError(f"declares {declared:,} bytes of tensors where {left:,} are: damaged or cut short")


def _loaded(source: Path | BinaryIO, *, mapped: bool) -> Any:
    with _placeholders():
        return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)


class _Placeholder:
    """Takes what it is given and keeps nothing of it."""

    def __new__(cls, *_: Any, **__: Any) -> _Placeholder:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


@contextmanager
def _placeholders() -> Iterator[None]:
    """A block within which PyTorch makes empty objects of `_PLACEHOLDERS`, whose real classes it does not admit."""
    made: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        type(name, (_Placeholder,), {"__module__": module}) for module, name in _PLACEHOLDERS
    ]
    with torch.serialization.safe_globals(made):
        yield
