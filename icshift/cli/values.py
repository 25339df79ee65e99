"""What options and arguments take: words of the command line as values, or in plain words why they are none.

Typer leaves this to pydantic, which takes longer to import than all else that starting a command does, and which speaks
of types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

Taken = Callable[[Any], Any]
"""Returns the value that a word stands for, or a default; raises `ValueError` with the reason why it is none."""


@dataclass(frozen=True)
class Values:
    """Takes the place of typer's conversion for one option or argument, `several` times or once."""

    taken: Taken
    several: bool

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Returns the value of what was given, or a default. Raises `typer.BadParameter` for what is none."""
        if value is None:
            return () if self.several else None
        try:
            return [self.taken(one) for one in value] if self.several else self.taken(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from error


def convert_plainly(params: Iterable[Any]) -> None:
    """Have typer take the values of options and arguments as we do: those of all kinds that a command has."""
    for param in params:
        described = param.type_descriptor
        several = get_origin(described.annotation) is list
        kind = get_args(described.annotation)[0] if several else described.annotation
        info = described.parameter_info
        taken = info.parser or _taken(kind, info.min, info.max)
        if taken is not None:
            # Where typer puts what it would make of pydantic; a version without this attribute goes on doing that.
            param._runtime_param = Values(taken, several)


def _taken(kind: Any, low: float | None, high: float | None) -> Taken | None:
    if kind in (str, Path):
        return kind
    if kind is bool:
        return lambda value: value  # Of a flag.
    if kind in (int, float):
        return lambda value: _number(value, kind, low, high)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: _choice(value, {str(choice.value): choice for choice in kind})
    if get_origin(kind) is Literal:
        return lambda value: _choice(value, {str(choice): choice for choice in get_args(kind)})
    return None


def _number(value: Any, kind: type[int] | type[float], low: float | None, high: float | None) -> float:
    """Returns a number of a kind.

    >>> _number(" 12 ", int, 1, None), _number("1e-3", float, None, 1.0)
    (12, 0.001)
    """
    try:
        found = kind(value) if str(value).isascii() else None
    except ValueError:
        found = None
    if found is None:
        raise ValueError("it is no whole number" if kind is int else "it is no number")
    if low is not None and not found >= low:
        raise ValueError(f"it must be at least {low}")
    if high is not None and not found <= high:
        raise ValueError(f"it must be at most {high}")
    return found


def _choice(value: Any, choices: Mapping[str, Any]) -> Any:
    if isinstance(value, Enum):  # A default.
        return value
    if value not in choices:
        raise ValueError(f"{value!r} is not one of {', '.join(map(repr, choices))}")
    return choices[value]
