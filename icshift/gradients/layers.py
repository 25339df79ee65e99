"""Layers of a model in the order in which a forward calls them, which defines "the layers before this one"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from icshift.errors import MeasurementError, SelectionError, unknown

ROOT = "(model)"
"""Name of the layer that the model itself is, where it owns parameters and not only its children do."""

Counted = Literal["all", "weights"]
"""Which of a layer's parameters are measured: all, or those of two and more dimensions (no bias, scale or shift)."""

_PARAMETRIZED = re.compile(r"(^|\.)parametrizations\..*")


@dataclass(frozen=True, eq=False)
class LayerParameters:
    """A layer's name, and those of its own trainable parameters that are measured.

    A layer is a module that owns parameters directly; what its parametrisation owns (weight norm's scale, LoRA's
    factors) is counted as its own.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]


def in_call_order(model: nn.Module, forward: Callable[[], object], counted: Counted = "all") -> list[LayerParameters]:
    """Returns the layers of a model in the order of their first calls within `forward`, which is called once.

    A layer that is not called stands after the one that was registered before it: the `out_proj` of an attention,
    whose weights its parent uses without calling it. A tied parameter belongs to the first layer that has it. Layers
    without a parameter that counts are left out. No hook remains. Raises `MeasurementError` if no layer is left, or if
    `counted` is no word that is known.
    """
    if counted not in get_args(Counted):
        raise MeasurementError(f"counted is {counted!r}: expected {' or '.join(map(repr, get_args(Counted)))}")
    owned = _owned(model)
    layers, taken = [], set[nn.Parameter]()
    for name in _with_uncalled(list(owned), _called(model, list(owned), forward)):
        own = [p for p in owned[name] if p not in taken and (counted == "all" or p.ndim >= 2)]
        taken.update(own)
        if own:
            layers.append(LayerParameters(name, tuple(own)))
    if not layers:
        raise MeasurementError(f"no layer of {type(model).__name__} has trainable parameters that count as {counted!r}")
    return layers


def select_layers(
    layers: Sequence[LayerParameters], select: str | Iterable[str] | None = None
) -> list[LayerParameters]:
    """Returns the layers whose names match a name or glob of `select`, in their order; all layers for None.

    Raises `SelectionError` if a name or glob matches none, with near names, and if `select` is empty.
    """
    if select is None:
        return list(layers)
    patterns = [select] if isinstance(select, str) else list(select)
    names = [layer.name for layer in layers]
    if not patterns:
        raise SelectionError(f"layers is empty: expected some of {', '.join(names[:12])}, or None for all")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown("layer", pattern, names)
    return [layer for layer in layers if any(fnmatchcase(layer.name, pattern) for pattern in patterns)]


def _owned(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Returns the trainable parameters by the name of the module that owns them, in order of registration."""
    owned: dict[str, list[nn.Parameter]] = {}
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None and parameter.requires_grad and not is_lazy(parameter):
                owned.setdefault(_PARAMETRIZED.sub("", name) or ROOT, []).append(parameter)
    return owned


def _called(model: nn.Module, names: Sequence[str], forward: Callable[[], object]) -> list[str]:
    """Returns the names of those modules that `forward` calls, in order of their first calls."""
    called: dict[str, None] = {}
    with ExitStack() as hooks:
        for name in names:
            module = model.get_submodule("" if name == ROOT else name)
            if not isinstance(module, torch.jit.ScriptModule):  # It takes no hooks.
                hooks.callback(module.register_forward_pre_hook(_noting(name, called)).remove)
        forward()
    return list(called)


def _noting(name: str, called: dict[str, None]) -> Callable[..., None]:
    def hook(*_: object) -> None:
        called.setdefault(name)

    return hook


def _with_uncalled(registered: Sequence[str], called: Sequence[str]) -> list[str]:
    """Returns the names in order of their calls; one that was not called follows the one registered before it."""
    order = list(called)
    for at, name in enumerate(registered):
        if name not in called:
            order.insert(order.index(registered[at - 1]) + 1 if at else 0, name)
    return order
