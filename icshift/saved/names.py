"""Names of weights: what wrappers put into them, and which of a state dict belong to which of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from icshift.errors import ModelError

_WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
"""Parts of names that `torch.compile`, FSDP and activation checkpointing put in, wherever they wrap a module."""

_PARALLEL = "module."
"""What DataParallel and DistributedDataParallel put in front of every name."""

_DEEPEST = 8

T = TypeVar("T")


def unwrapped_names(state: Mapping[str, T]) -> dict[str, T]:
    """The same values under the names that the author of the model gave: without what wrappers put into them.

    Raises `ModelError` where two names become one.

    >>> unwrapped_names({"module._orig_mod.fc.weight": 1, "module._orig_mod.fc.bias": 2})
    {'fc.weight': 1, 'fc.bias': 2}
    """
    unwrap = unwrapping(state)
    named = {unwrap(name): value for name, value in state.items()}
    if len(named) < len(state):
        raise ModelError("holds one weight twice, wrapped and not: it is of two models")
    return named


def unwrapping(names: Iterable[str]) -> Callable[[str], str]:
    """How names in a state dict with these names, of tensors or of modules, become those that the author gave.

    >>> unwrapping(["module.fc.weight"])("module.fc")
    'fc'
    """
    plain = [without_wrappers(name) for name in names]
    parallel = ""
    while plain and all(name.startswith(_PARALLEL) for name in plain):
        plain = [name.removeprefix(_PARALLEL) for name in plain]
        parallel += _PARALLEL
    return lambda name: f"{without_wrappers(name)}.".removeprefix(parallel).removesuffix(".")


def without_wrappers(name: str) -> str:
    """A name without the parts that `torch.compile`, FSDP and activation checkpointing put into it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def matched(model: Collection[str], state: Collection[str]) -> tuple[str, dict[str, str]]:
    """The prefix that only one of the two sides has, and the name in the model for each name in the state dict.

    The prefix is the one under which most names agree, the shorter where that is equal; it begins with "-" where the
    model has it and the state dict does not. A name that has no counterpart is left out.

    >>> matched(["fc.weight", "fc.bias"], ["encoder.fc.weight", "head.weight"])
    ('encoder.', {'encoder.fc.weight': 'fc.weight'})
    """
    ours = {without_wrappers(name): name for name in model}
    options = ["", *prefixes(state), *(f"-{prefix}" for prefix in prefixes(ours))]
    best = max(options, key=lambda prefix: (len(_agreeing(ours, state, prefix)), -len(prefix)))
    return best, _agreeing(ours, state, best)


def twins(model: Collection[str], state: Collection[str], prefix: str) -> list[str]:
    """The prefixes under which all of a model is in a state dict, where `prefix` is one of them; else that one alone.

    >>> twins(["weight"], ["a.weight", "b.weight", "c.bias"], "a.")
    ['a.', 'b.']
    """
    ours = {without_wrappers(name): name for name in model}
    whole = len(_agreeing(ours, state, prefix))
    if prefix in ("", "-") or prefix.startswith("-") or not ours or whole < len(ours):
        return [prefix]
    rarest = max(ours, key=len)
    options = dict.fromkeys(name.removesuffix(rarest) for name in state if name.endswith(f".{rarest}"))
    return [option for option in options if len(_agreeing(ours, state, option)) == whole]


def _agreeing(ours: Mapping[str, str], state: Iterable[str], prefix: str) -> dict[str, str]:
    """The name in the model of each name in the state dict that has one once the prefix is gone."""
    if prefix.startswith("-"):
        pairs = ((name, prefix[1:] + name) for name in state)
    else:
        pairs = ((name, name.removeprefix(prefix)) for name in state if name.startswith(prefix))
    return {name: ours[target] for name, target in pairs if target in ours}


def prefixes(names: Iterable[str]) -> list[str]:
    """Prefixes that may be in the way, cut at dots and growing: at each depth the part that most names share."""
    listed = list(names)
    prefixes: list[str] = []
    prefix = ""
    while listed and len(prefixes) < _DEEPEST:
        firsts: dict[str, int] = {}
        for name in listed:
            first, dot, _ = name.removeprefix(prefix).partition(".")
            if dot:
                firsts[first] = firsts.get(first, 0) + 1
        if not firsts:
            break
        commonest = max(firsts, key=lambda first: firsts[first])
        prefix = f"{prefix}{commonest}."
        prefixes.append(prefix)
        listed = [name for name in listed if name.startswith(prefix)]
    return prefixes
