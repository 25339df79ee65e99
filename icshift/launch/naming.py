"""What a script calls a model: the name of the variable that holds it, or is about to."""

from __future__ import annotations

import ast
import linecache
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from inspect import CO_OPTIMIZED
from itertools import islice
from types import FrameType
from typing import Any

from torch import nn

from icshift.model.keras_layers import is_layer
from icshift.model.names import unwrapped

_NO_NAMES = ("self", "cls")
_NOT_THEIRS = ("icshift", "runpy", "typer", "torch", "keras")
"""Packages whose variables are not looked at."""

_OURS = 3
"""References to a frame's variables where nobody has them but the frame and who counts: a variable, an argument."""


def name_of(model: nn.Module) -> str:
    """The name of the variable that holds a model in the code that is running; else its class in small letters.

    Variables of the outermost frame come first, then attributes of its `self`. A model that is still being made is
    called as the statement that makes it will call it. `self`, `cls` and names that begin with "_" do not count.
    Never raises.
    """
    for look in (_held_by, _to_be_held_by):
        try:
            name = look(model)
        except Exception:  # noqa: BLE001  Variables may hold anything; without a name there is the class.
            name = None
        if name is not None:
            return name
    return _named_by_keras(model) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(model).__name__).lower()


def _named_by_keras(model: nn.Module) -> str:
    """The name that Keras has for a model, as far as it can be that of a folder; empty where it has none."""
    return re.sub(r"[^\w.-]+", "_", str(vars(model).get("name", ""))) if is_layer(model) else ""


def _held_by(model: nn.Module) -> str | None:
    for variables in _scopes():
        for name, value in variables.items():
            if _is_name(name) and value is not None and _is(value, model):
                return name
    return None


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier() and not name.startswith("_") and name not in _NO_NAMES


def _scopes() -> Iterator[dict[str, Any]]:
    """Yields the variables of every frame of the user's code, outermost first, and the attributes of `self` there."""
    for frame in reversed(list(_frames())):
        module = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if module not in _NOT_THEIRS:
            variables = _variables(frame)
            yield variables
            yield _attributes(variables.get("self"))


def _variables(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame.

    Before Python 3.13 a function's frame keeps what it is asked for until it ends: what the script lets go of would
    stay, with its memory. So it is emptied, unless somebody else has it as his `locals()`.
    """
    kept = frame.f_locals
    found = dict(kept)
    if frame.f_code.co_flags & CO_OPTIMIZED and type(kept) is dict and sys.getrefcount(kept) <= _OURS:
        kept.clear()
    return found


def _attributes(owner: Any) -> dict[str, Any]:
    """The attributes of an owner and the modules that it holds; none where it does not tell, whatever it raises."""
    attributes: dict[str, Any] = {}
    with suppress(Exception):
        attributes = dict(vars(owner))
        parts = attributes.get("_modules")
        return attributes | (dict(parts) if isinstance(parts, dict) else {})
    return attributes


def _frames() -> Iterator[FrameType]:
    """Yields every frame of this thread, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is(value: object, model: nn.Module) -> bool:
    with suppress(Exception):  # A class of the user's own may have no parts, or give them in its own way.
        return issubclass(type(value), nn.Module) and unwrapped(value) is model  # type: ignore[arg-type]
    return False


def _to_be_held_by(model: nn.Module) -> str | None:
    """The variable or attribute that the model is assigned to once its `__init__`, which is running, has ended."""
    making = [frame for frame in _frames() if _initialises(frame, model)]
    caller = making[-1].f_back if making else None
    return None if caller is None else _target(caller)


def _initialises(frame: FrameType, model: nn.Module) -> bool:
    code = frame.f_code
    return code.co_name == "__init__" and bool(code.co_varnames) and _variables(frame).get(code.co_varnames[0]) is model


def _target(frame: FrameType) -> str | None:
    """The name on the left of an assignment whose right side is the call that a frame is in, or begins with it.

    >>> def caller():
    ...     return sys._getframe(1)
    >>> frame = caller()
    >>> _target(frame) is None  # a doctest has no file
    True
    """
    line, end_line, column, end_column = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        elif isinstance(statement, (ast.AnnAssign, ast.NamedExpr)):
            target = statement.target
        else:
            continue
        made: ast.expr | None = statement.value
        # `Agent().to(device)` is the agent all the same.
        while isinstance(made, ast.Call):
            if (made.lineno, made.end_lineno, made.col_offset, made.end_col_offset) == (
                *(line, end_line),
                *(column, end_column),
            ):
                name = getattr(target, "id", getattr(target, "attr", None))
                return name if _is_name(name) else None
            made = made.func.value if isinstance(made.func, ast.Attribute) else None
    return None
