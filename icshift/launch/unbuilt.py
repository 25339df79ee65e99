"""Optimizers of Keras that do not know yet what they train: in a loop of one's own their first step tells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle


class Unbuilt:
    """Calls `called` with every module that is called, and its arguments, while there is such an optimizer.

    By its first step the forward of that step would be lost.
    """

    def __init__(self, called: Callable[[nn.Module, Any], None]) -> None:
        self._called = called
        self._optimizers: WeakSet[Any] = WeakSet()
        self._handle: RemovableHandle | None = None

    def add(self, optimizer: Any) -> None:
        """An optimizer was made."""
        self._optimizers.add(optimizer)
        if self._handle is None:
            self._handle = register_module_forward_pre_hook(self._hear)

    def built(self, optimizer: Any) -> None:
        """An optimizer knows what it trains."""
        self._optimizers.discard(optimizer)
        self._rest()

    def close(self) -> None:
        """Listen no more."""
        self._optimizers.clear()
        self._rest()

    def _hear(self, module: nn.Module, arguments: Any) -> None:
        if self._optimizers:
            self._called(module, arguments)

    def _rest(self) -> None:
        if not self._optimizers and self._handle is not None:
            self._handle.remove()
            self._handle = None
