"""Optimizers that are waited for: until one of them is ready, calls of modules say what it will train.

An optimizer of Keras knows what it trains from its first step on, and by then the forward of that step is lost. Where a
run is to be resumed, a model has mostly the weights that it was made with when its optimizer is made, by which no
checkpoint is known; by the first forward in training a script has loaded it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from icshift.hooks.hook import Hook


class Waiting:
    """Calls `called` with every module that is called, and its arguments, while there is an optimizer to wait for."""

    def __init__(self, called: Callable[[nn.Module, Any], None]) -> None:
        self._called = called
        self._optimizers: WeakSet[Any] = WeakSet()
        self._handle: RemovableHandle | None = None

    def add(self, optimizer: Any) -> None:
        """An optimizer was made."""
        self._optimizers.add(optimizer)
        if self._handle is None:
            self._handle = register_module_forward_pre_hook(self._hear)

    def ready(self, optimizer: Any) -> None:
        """What an optimizer trains is known, and was called."""
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


def tell_of_call(model: nn.Module, arguments: Any) -> None:
    """Tell the hooks of a model of a call that began before they were there."""
    for place, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, Hook):
            # PyTorch tells a hook of all modules no keyword arguments: in this one forward they are missed.
            hook(model, arguments, *([{}] if place in model._forward_pre_hooks_with_kwargs else []))
