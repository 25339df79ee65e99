"""Parts of a model that are copies of others, as an average of its weights or a target network that follows it.

They belong to no training of their own: recorded beside the original they would be the same sites once more.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import nn

from icshift.model.names import modules, named_parameters, parameters
from icshift.model.sites import type_name

ALIKE = 0.5
"""Weights whose cosine is at least this are of one network: those of two networks are at right angles, by and large."""


_SOME = 4096
"""So many weights of every parameter are compared at most."""


def copies(model: nn.Module, trained: Callable[[nn.Parameter], bool]) -> dict[str, str]:
    """Returns the name of every part that is a copy, with the name of the part that it is a copy of; outermost ones.

    A copy has no parameter that is `trained`, but as many of the same names and shapes as a part with some that are,
    and weights that are almost the same (`ALIKE`). Parts of one list are never copies: layers of a stack start alike.

    >>> net = nn.Sequential(nn.Linear(8, 8))
    >>> both = nn.ModuleDict({"net": net, "ema": nn.Sequential(nn.Linear(8, 8)).requires_grad_(False)})
    >>> _ = both["ema"].load_state_dict(net.state_dict())
    >>> copies(both, lambda parameter: parameter.requires_grad)
    {'ema': 'net'}
    """
    named = modules(model)
    resting = _outermost_without(named, trained)
    if not resting:
        return {}
    kinds: dict[tuple[object, ...], list[str]] = {}
    for name, module in named.items():
        if any(trained(parameter) for parameter in parameters(module)):
            kinds.setdefault(_kind(module), []).append(name)
    found: dict[str, str] = {}
    for name in resting:
        if (kind := _kind(named[name])) and is_within(name, found) is None:
            originals = (o for o in kinds.get(kind, ()) if not _in_one_list(name, o) and _alike(named[name], named[o]))
            if (original := next(originals, None)) is not None:
                found[name] = original
    return found


def is_within(name: str, parts: dict[str, str]) -> str | None:
    """The part among these that a module is, or lies in, by their names; None where it lies in none."""
    return next((part for part in parts if name == part or _within(name, part)), None)


def _outermost_without(named: dict[str, nn.Module], trained: Callable[[nn.Parameter], bool]) -> list[str]:
    """The outermost modules without a trained parameter, and of what wraps another both."""
    found: dict[str, set[int]] = {}
    for name, module in named.items():
        own = {id(parameter) for parameter in parameters(module)}
        around = next((outer for outer in found if _within(name, outer)), None)
        wrapped = around is not None and own == found[around]
        if wrapped or (around is None and own and not any(trained(p) for p in parameters(module))):
            found[name] = own
    return list(found)


def _kind(module: nn.Module) -> tuple[object, ...]:
    """What two copies have in common; empty for modules without weights, and of which these are not there yet."""
    named = list(named_parameters(module))
    if any(nn.parameter.is_lazy(parameter) for _, parameter in named):
        return ()
    if not any(parameter.ndim > 1 for _, parameter in named):
        return ()
    return (type_name(module), *((name, tuple(parameter.shape)) for name, parameter in named))


def _within(name: str, part: str) -> bool:
    return name.startswith(f"{part}.")


def _in_one_list(one: str, other: str) -> bool:
    return re.sub(r"\d+", "0", one) == re.sub(r"\d+", "0", other)


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether the weights (not what has one axis, as scales, which start at 1 in every network) are almost the same."""
    product = square = other_square = 0.0
    with torch.no_grad():
        for a, b in zip(parameters(one), parameters(other), strict=True):
            if a.ndim > 1 and not a.is_meta and not b.is_meta:
                x, y = (weights.detach().flatten()[:_SOME].double().cpu() for weights in (a, b))
                product += float(x @ y)
                square += float(x @ x)
                other_square += float(y @ y)
    return product > 0 and product >= ALIKE * (square * other_square) ** 0.5
