"""Hooks that leave no trace: they return nothing, and copies of the model carry none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def inert(*_: Any, **__: Any) -> None:
    """What a hook becomes in a deep copy or a pickle of the model."""


class Hook:
    """Calls `act` with what one module's hook gets, and with nothing of any other module.

    A lambda or a bound method here would make `torch.save(model)` fail and would let a deep copy of the
    model (an average of the weights, say) record itself as the original.
    """

    def __init__(self, module: nn.Module, act: Callable[..., None]) -> None:
        self._module = module
        self._act = act

    def __call__(self, module: nn.Module, *seen: Any) -> None:
        if module is self._module:
            self._act(module, *seen)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return inert

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _inert_hook, ()


def _inert_hook() -> Callable[..., None]:
    return inert
