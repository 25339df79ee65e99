"""A forward hook on a module that may be lifted for a while, and comes back to its place among others' hooks."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from icshift.hooks.hook import Hook


class Placed:
    """Puts a hook on a module, to be called after its forwards, from now until `remove` but while it is lifted.

    Hooks are called in the order in which they were registered, and one of the user's may change what the next one
    sees: it is put back behind those that it came after, and before all others.

    >>> module, seen = nn.Identity(), []
    >>> placed = Placed(module, Hook(module, lambda *_: seen.append("ours")))
    >>> handle = module.register_forward_hook(lambda *_: seen.append("theirs"))
    >>> placed.lift()
    >>> module(1), seen
    (1, ['theirs'])
    >>> placed.put_back()
    >>> module(1), seen
    (1, ['theirs', 'ours', 'theirs'])
    """

    def __init__(self, module: nn.Module, hook: Hook, *, always_call: bool = False) -> None:
        self._module, self._hook, self._always = module, hook, always_call
        self._before: set[int] | None = None
        self._handle = self._register()

    def lift(self) -> None:
        """Take the hook off until `put_back`."""
        own, hooks = self._handle.id, self._module._forward_hooks
        if own in hooks:
            self._before = set(list(hooks)[: list(hooks).index(own)])
            self._handle.remove()

    def put_back(self) -> None:
        """Put the hook back, if it is lifted."""
        before, self._before = self._before, None
        if before is None:
            return
        self._handle = self._register()
        hooks: Any = self._module._forward_hooks
        for other in list(hooks):
            if other != self._handle.id and other not in before:
                hooks.move_to_end(other)

    def remove(self) -> None:
        """Take the hook off for good."""
        self._before = None
        self._handle.remove()

    def _register(self) -> RemovableHandle:
        return self._module.register_forward_hook(self._hook, always_call=self._always)
