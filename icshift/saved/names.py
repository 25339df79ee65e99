"""Names of weights, whatever was wrapped around the module that they were saved from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from icshift.errors import ModelError

_WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
"""Parts of names that `torch.compile`, FSDP and activation checkpointing put in, wherever they wrap a module."""

_PARALLEL = "module."
"""What DataParallel and DistributedDataParallel put in front of every name."""

_DEEPEST = 8

T = TypeVar("T")


def unwrapped_names(state: Mapping[str, T]) -> dict[str, T]:
    """The same under the names that the author gave: without what wrappers put into them.

    Raises `ModelError` where two become one.
    """
    found = {plain(name): value for name, value in state.items()}
    if len(found) < len(state):
        raise ModelError("holds one weight twice, wrapped and not: it is of two models")
    if found and all(name.startswith(_PARALLEL) for name in found):
        return unwrapped_names({name.removeprefix(_PARALLEL): value for name, value in found.items()})
    return found


def plain(name: str) -> str:
    """A name without the parts that wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def matched(model: Collection[str], state: Collection[str]) -> tuple[str, dict[str, str]]:
    """Which name of a state dict goes to which of a model, and the one prefix that only one of the two sides has.

    The prefix is that under which most names meet, the shorter where that is equal; it begins with "-" where the model
    has it and the state dict does not.
    """
    ours = {plain(name): name for name in model}
    options = ["", *_prefixes(state), *(f"-{prefix}" for prefix in _prefixes(ours))]
    best = max(options, key=lambda prefix: (len(_meeting(ours, state, prefix)), -len(prefix)))
    return best, _meeting(ours, state, best)


def _meeting(ours: Mapping[str, str], state: Iterable[str], prefix: str) -> dict[str, str]:
    if prefix.startswith("-"):
        pairs = ((name, prefix[1:] + name) for name in state)
    else:
        pairs = ((name, name.removeprefix(prefix)) for name in state if name.startswith(prefix))
    return {name: ours[target] for name, target in pairs if target in ours}


def _prefixes(names: Iterable[str]) -> list[str]:
    """Prefixes of names, cut at dots: those of every name, and the first parts that most names share."""
    listed = list(names)
    found: list[str] = []
    prefix = ""
    while listed and len(found) < _DEEPEST:
        firsts: dict[str, int] = {}
        for name in listed:
            first, dot, _ = name.removeprefix(prefix).partition(".")
            if dot:
                firsts[first] = firsts.get(first, 0) + 1
        if not firsts:
            break
        commonest = max(firsts, key=lambda first: firsts[first])
        prefix = f"{prefix}{commonest}."
        found.append(prefix)
        listed = [name for name in listed if name.startswith(prefix)]
    return found
