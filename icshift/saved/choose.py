"""Which part of what was saved is the model: the rule, in one place.

Checkpoints nest their state dict under a name of the author's liking, beside optimizers, options and second copies. A
part counts if it maps names to tensors and nothing else. Of several, one under a usual name wins, in the order of
`_USUAL`; one that is a running average of the weights (`ema`, `swa`, `teacher`) only where there is no other. Where two
are equally good (`generator`, `discriminator`) nothing is guessed: the error names them, and `key` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.saved.faults import first_few

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

Part = Mapping[str, Any] | nn.Module
"""A state dict, or a whole module where one was unpickled."""


def choose_part(saved: Any, key: str | None = None) -> tuple[str, Part]:
    """The name of the part that is the model, and the part; the name is "" where the model is all that was saved.

    A nested part has the names that lead to it, joined by dots. `key` is such a name, where the caller knows it. Raises
    `ModelError` where there is no part, or several and no telling which.

    >>> name, part = choose_part({"epoch": 3, "model": nn.Linear(2, 1).state_dict(), "optimizer": {}})
    >>> name, list(part)
    ('model', ['weight', 'bias'])
    """
    parts = dict(_parts(saved, (), set()))
    if key is not None:
        paths = {".".join(path): path for path in parts}
        if key not in paths:
            raise ModelError(f"has no state dict under {key!r}; it has {first_few(paths) if paths else 'none'}")
        return key, parts[paths[key]]
    if not parts:
        raise ModelError(f"holds no state dict: {_described(saved)}; save model.state_dict()")
    best = min(map(_rank, parts))
    chosen = [path for path in parts if _rank(path) == best]
    if len(chosen) > 1:
        names = first_few([".".join(path) for path in chosen])
        raise ModelError(f"holds {len(chosen)} state dicts ({names}) and nothing tells which is meant; save one alone")
    return ".".join(chosen[0]), parts[chosen[0]]


def state_of(part: Part) -> dict[str, Tensor]:
    """The tensors of a state dict or module by name; what modules keep beside tensors is left out."""
    state = part.state_dict() if isinstance(part, nn.Module) else part
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def is_state(value: Any) -> bool:
    """Whether something maps names to tensors, and to nothing else but the extra state of modules."""
    return (
        isinstance(value, Mapping)
        and any(isinstance(inner, Tensor) for inner in value.values())
        and all(
            isinstance(name, str) and (isinstance(inner, Tensor) or name.endswith("_extra_state"))
            for name, inner in value.items()
        )
    )


def _parts(value: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], Part]]:
    """Yields every part that may be the model, after the names that lead to it; each once."""
    if id(value) in seen or not isinstance(value, (nn.Module, Mapping)):
        return
    seen.add(id(value))
    if isinstance(value, nn.Module) or is_state(value):
        yield path, value
    elif len(path) < _DEEPEST:
        for name, inner in value.items():
            if isinstance(name, str) and not _NO_MODEL.search(name):
                yield from _parts(inner, (*path, name), seen)


def _rank(path: tuple[str, ...]) -> tuple[bool, tuple[int, ...]]:
    """The smaller, the more likely: no average before an average, usual names before others, in their order."""
    usual = tuple(_USUAL.index(name.lower()) if name.lower() in _USUAL else len(_USUAL) for name in path)
    return any(_AVERAGE.search(name) for name in path), usual


def _described(saved: Any) -> str:
    if not isinstance(saved, Mapping):
        return f"it is of type {type(saved).__name__}"
    return (
        f"it has {first_few([f'{name} ({type(inner).__name__})' for name, inner in saved.items()])}"
        if saved
        else "empty"
    )
