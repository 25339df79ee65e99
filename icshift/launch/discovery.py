"""Which models a script trains, and what it calls them: found among all living objects and in running code."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from icshift.model.names import unwrapped


def trained_by(optimizer: Optimizer) -> list[nn.Module]:
    """The models whose parameters an optimizer holds: outermost modules, without what wraps them (`unwrapped`)."""
    return holders({id(parameter) for group in optimizer.param_groups for parameter in group["params"]})


def holders(parameters: set[int]) -> list[nn.Module]:
    """The outermost of all living modules that hold any of these parameters, which are given by their `id`.

    A module of TorchScript is left out: it takes no hooks.
    """
    alive = [thing for thing in gc.get_objects() if issubclass(type(thing), nn.Module) and "_modules" in vars(thing)]
    parents: dict[nn.Module, list[nn.Module]] = {}
    for module in alive:
        for part in module._modules.values():
            if part is not None:
                parents.setdefault(part, []).append(module)
    waiting = [module for module in alive if any(id(p) in parameters for p in module._parameters.values())]
    roots: dict[nn.Module, None] = {}
    met: set[nn.Module] = set()
    while waiting:
        module = waiting.pop()
        if module in met:
            continue
        met.add(module)
        above = parents.get(module, [])
        waiting += above
        if not above:
            roots[unwrapped(module)] = None
    return [root for root in roots if not isinstance(root, torch.jit.ScriptModule)]


def name_of(model: nn.Module) -> str:
    """The name of the variable that holds a model in the code that is running; else its class in small letters.

    Variables of the outermost frame come first, then attributes of its `self`; names that begin with "_" do not count.
    """
    for variables in _scopes():
        for name, value in variables.items():
            if not name.startswith("_") and value is not None and _is(value, model):
                return name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(model).__name__).lower()


def _scopes() -> Iterator[dict[str, Any]]:
    """Yields the variables of every frame of the user's code, outermost first, and the attributes of `self` there."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    for frame in reversed(frames):
        module = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if module not in ("icshift", "runpy", "typer", "torch"):
            yield dict(frame.f_locals)
            owner = frame.f_locals.get("self")
            if owner is not None and hasattr(owner, "__dict__"):
                yield dict(vars(owner)) | dict(getattr(owner, "_modules", {}))


def _is(value: object, model: nn.Module) -> bool:
    return issubclass(type(value), nn.Module) and unwrapped(value) is model  # type: ignore[arg-type]
