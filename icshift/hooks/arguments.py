"""The arguments of a model's call: their names, and which of them a function of the user's gets, as a mask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from torch import nn

_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class _Parameters:
    """What a function takes: read once, since a compiler that traces a call cannot look into signatures."""

    by_place: tuple[str, ...]
    required: tuple[str, ...]
    names: frozenset[str]
    any_place: bool
    any_name: bool

    def fit(self, places: int, names: Collection[str]) -> bool:
        """Whether a call with so many positional arguments and these keywords is one of the function."""
        placed = self.by_place[:places]
        if places > len(self.by_place) and not self.any_place:
            return False
        if any(name in placed or not (name in self.names or self.any_name) for name in names):
            return False
        return all(name in placed or name in names for name in self.required)


def fitted(function: Callable[..., Any], model: nn.Module) -> Callable[[tuple[Any, ...], Mapping[str, Any]], Any]:
    """Returns what calls a function of the user's with the arguments of a model's call, given as (args, kwargs).

    It gets all of them, as the model does, where it takes them. Else it gets those that it names, and where it does not
    name them as the model's `forward` does, the first ones in the order of that.

    >>> network = nn.Bilinear(2, 2, 1)  # forward(input1, input2)
    >>> [fitted(function, network)((), {"input2": 2, "input1": 1}) for function in (lambda input2: input2, lambda x: x)]
    [2, 1]
    """
    try:
        takes, given = _parameters(function), _parameters(model.forward)
    except (TypeError, ValueError):  # It has no signature, as many functions of C.
        return lambda args, kwargs: function(*args, **kwargs)

    def call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if takes.fit(len(args), kwargs.keys()):
            return function(*args, **kwargs)
        named = {**dict(zip(given.by_place, args, strict=False)), **kwargs}
        if all(name in named for name in takes.required):
            return function(**{name: value for name, value in named.items() if name in takes.names})
        in_order = [*args, *(named[name] for name in given.by_place[len(args) :] if name in named)]
        return function(*in_order[: len(takes.required)])

    return call


def named(model: nn.Module) -> Callable[[tuple[Any, ...], Mapping[str, Any]], dict[str, Any]]:
    """Returns what gives the arguments of a model's call, (args, kwargs), by the names that its `forward` has for them.

    >>> named(nn.Bilinear(2, 2, 1))((1,), {"input2": 2})
    {'input1': 1, 'input2': 2}
    """
    try:
        places = _parameters(model.forward).by_place
    except (TypeError, ValueError):
        places = ()
    return lambda args, kwargs: {**dict(zip(places, args, strict=False)), **kwargs}


def _parameters(function: Callable[..., Any]) -> _Parameters:
    found = list(signature(function).parameters.values())
    several = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return _Parameters(
        by_place=tuple(one.name for one in found if one.kind in _BY_PLACE),
        required=tuple(one.name for one in found if one.default is Parameter.empty and one.kind not in several),
        names=frozenset(one.name for one in found if one.kind not in (*several, Parameter.POSITIONAL_ONLY)),
        any_place=any(one.kind is Parameter.VAR_POSITIONAL for one in found),
        any_name=any(one.kind is Parameter.VAR_KEYWORD for one in found),
    )
