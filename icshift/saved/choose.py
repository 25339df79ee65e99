"""Which part of what was saved is the model: the rule, in one place.

Checkpoints nest their state dict under a name of the author's liking, beside optimizers, options and second copies. A
part counts if it maps names to tensors and nothing else; those of a list or tuple are named by their place in it. Of
several, one under a usual name wins, in the order of `_USUAL`; one that is a running average of the weights (`ema`,
`swa`, `teacher`) only where there is no other. Where two are equally good (`generator`, `discriminator`) nothing is
guessed: the error names them, and `key` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.saved.faults import NoStateDictError, first_few

_USUAL = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "parameters",
)
_AVERAGE = re.compile(r"(^|_)(ema|swa|avg|average|averaged|shadow|teacher)(_|$)", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"(^|_)(optim\w*|opt|sched\w*|lr|scaler|rng|random|hyper|hparams|config|cfg|args|callbacks?|loops?|loss\w*)(_|$)",
    re.IGNORECASE,
)
_DEEPEST = 3
_LONGEST_LIST = 16

Path = tuple[str, ...]
"""The names that lead to a part."""


@dataclass(frozen=True)
class Unread:
    """Stands for an object that only running code would make; `refusal` says so, and what to do."""

    refusal: str


Part = Mapping[str, Any] | nn.Module
"""A state dict, or a whole module where one was unpickled."""


def choose_part(saved: Any, key: str | None = None) -> tuple[str, Part]:
    """The name of the part that is the model, and the part; the name is "" where the model is all that was saved.

    A nested part has the names that lead to it, joined by dots. `key` is such a name, where the caller knows it, or one
    with which names of tensors begin: that is the part of a model (`generator`). Raises `NoStateDictError` where no
    part can be read, `ModelError` where the likeliest cannot, or there are several and no telling which.

    >>> name, part = choose_part({"epoch": 3, "model": nn.Linear(2, 1).state_dict(), "optimizer": {}})
    >>> name, list(part)
    ('model', ['weight', 'bias'])
    """
    found = dict(_parts(saved, (), set()))
    unread = {path: part for path, part in found.items() if isinstance(part, Unread)}
    parts = {path: part for path, part in found.items() if not isinstance(part, Unread)}
    if key is not None:
        return key, _named(parts, unread, key)
    if not parts and unread:
        raise NoStateDictError(next(iter(unread.values())).refusal)
    if not parts:
        raise NoStateDictError(f"holds no state dict: {_described(saved)}; save model.state_dict()")
    best = min(map(_rank, parts))
    if better := [path for path in unread if _rank(path) < best]:
        raise ModelError(unread[better[0]].refusal)
    chosen = [path for path in parts if _rank(path) == best]
    if len(chosen) > 1:
        names = first_few([_joined(path) for path in chosen])
        raise ModelError(
            f"holds {len(chosen)} state dicts ({names}) and nothing tells which is meant: choose one with --key, as"
            f" --key {_joined(chosen[0])}"
        )
    return _joined(chosen[0]), parts[chosen[0]]


def other_parts(saved: Any, used: str) -> tuple[str, ...]:
    """The names of the state dicts beside the one that is used."""
    names = [_joined(path) for path, part in _parts(saved, (), set()) if not isinstance(part, Unread)]
    return tuple(name for name in names if name != used and not used.startswith(f"{name}."))


def state_of(part: Part) -> dict[str, Tensor]:
    """The tensors of a state dict or module by name; what modules keep beside tensors is left out."""
    state = part.state_dict() if isinstance(part, nn.Module) else part
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def versions_of(part: Part) -> dict[str, Mapping[str, Any]]:
    """What a state dict says of the versions of the modules it was made of, by their names; nothing where it does not.

    Modules that changed over the years load by it (`nn.Module._version`).
    """
    state = part.state_dict() if isinstance(part, nn.Module) else part
    told = getattr(state, "_metadata", None)
    pairs = told.items() if isinstance(told, Mapping) else ()
    return {name: entry for name, entry in pairs if isinstance(name, str) and isinstance(entry, Mapping)}


def is_average(name: str) -> bool:
    """Whether a name is that of a running average of the weights.

    >>> is_average("state_dict_ema"), is_average("schema")
    (True, False)
    """
    return bool(_AVERAGE.search(name))


def is_state(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether something maps names to tensors, and to nothing else but the extra state of modules."""
    return (
        isinstance(value, Mapping)
        and any(isinstance(inner, Tensor) for inner in value.values())
        and all(
            isinstance(name, str) and (isinstance(inner, Tensor) or name.endswith("_extra_state"))
            for name, inner in value.items()
        )
    )


def _parts(value: Any, path: Path, seen: set[int]) -> Iterator[tuple[Path, Part | Unread]]:
    """Yields every part that may be the model, after the names that lead to it; each once."""
    if id(value) in seen or not isinstance(value, (nn.Module, Mapping, list, tuple, Unread)):
        return
    seen.add(id(value))
    if isinstance(value, (nn.Module, Unread)) or is_state(value):
        yield path, value
    elif len(path) < _DEEPEST:
        for name, inner in _members(value):
            if isinstance(name, str) and not _NO_MODEL.search(name):
                yield from _parts(inner, (*path, name), seen)


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif len(value) <= _LONGEST_LIST:
        for place, inner in enumerate(value):
            yield str(place), inner


def _named(parts: Mapping[Path, Part], unread: Mapping[Path, Unread], key: str) -> Part:
    """The part of that name, or what begins with it in a state dict. Raises `ModelError` where there is neither."""
    known = {_joined(path): part for path, part in parts.items()}
    if key in known:
        return known[key]
    for path, part in unread.items():
        if _joined(path) == key:
            raise ModelError(part.refusal)
    inner = {path: _below(part, key.removeprefix(f"{_joined(path)}.")) for path, part in parts.items()}
    held = [path for path, state in inner.items() if state]
    if held:
        return inner[min(held, key=_rank)]
    if list(known) == [""]:
        raise NoStateDictError(f"has no state dict under {key!r}: it is one itself; leave --key out")
    raise NoStateDictError(f"has no state dict under {key!r}; it has {first_few(known) if known else 'none'}")


def _below(part: Part, prefix: str) -> dict[str, Tensor]:
    state = state_of(part)
    return {name.removeprefix(f"{prefix}."): value for name, value in state.items() if name.startswith(f"{prefix}.")}


def _rank(path: Path) -> tuple[bool, tuple[int, ...]]:
    """The smaller, the more likely: no average before an average, usual names before others, in their order."""
    usual = tuple(_USUAL.index(name.lower()) if name.lower() in _USUAL else len(_USUAL) for name in path)
    return any(map(is_average, path)), usual


def _joined(path: Path) -> str:
    return ".".join(path)


def _described(saved: Any) -> str:
    if not isinstance(saved, Mapping):
        return f"it is of type {type(saved).__name__}"
    return (
        f"it has {first_few([f'{name} ({type(inner).__name__})' for name, inner in saved.items()])}"
        if saved
        else "empty"
    )
