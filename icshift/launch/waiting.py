"""Models that are recorded from a forward on, and not from when an optimizer is made for them.

Where a run is to be resumed a script has loaded its checkpoint by the first forward in training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from icshift.hooks.hook import Hook


class Waiting:
    """Calls `called` with every module that trains, and its arguments, while there is an optimizer that never stepped.

    When an optimizer is made its model has mostly the weights that it was made with, by which no checkpoint is known.
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

    def stepped(self, optimizer: Any) -> None:
        """An optimizer is about to step: what it trains was called."""
        self._optimizers.discard(optimizer)
        if not self._optimizers:
            self.close()

    def close(self) -> None:
        """Listen no more."""
        self._optimizers.clear()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _hear(self, module: nn.Module, arguments: Any) -> None:
        if self._optimizers and module.training and torch.is_grad_enabled():
            self._called(module, arguments)


def tell_of_call(model: nn.Module, arguments: Any) -> None:
    """Tell the hooks of a model of a call that began before they were there."""
    for place, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, Hook):
            # PyTorch tells a hook of all modules no keyword arguments: in this one forward they are missed.
            hook(model, arguments, *([{}] if place in model._forward_pre_hooks_with_kwargs else []))
