"""Where a thread is in a forward of the model."""

from __future__ import annotations

import threading

from torch import nn

from icshift.capture.padding import Padding


class Forward(threading.local):
    """The forward that this thread is in: the calls made so far, and what of its batch is padding.

    A forward is a call of the outermost module among those that `enter` is told of.
    """

    def __init__(self) -> None:
        self._open: list[nn.Module] = []
        self._calls: dict[str, int] = {}
        self.padding: Padding | None = None

    @property
    def inside(self) -> bool:
        """Whether a forward is going on."""
        return bool(self._open)

    def enter(self, module: nn.Module, root: nn.Module) -> None:
        """A module is called. Whatever a forward of the root leaves open, the next one begins anew."""
        if module is root:
            self._open.clear()
        if not self._open:
            self._calls.clear()
            self.padding = None
        self._open.append(module)

    def leave(self, module: nn.Module) -> bool:
        """A module's call ends; tells whether the forward ends with it."""
        while self._open and self._open.pop() is not module:
            pass
        return not self._open

    def site(self, name: str, suffix: str) -> str:
        """A site's name, with the number of its call from the second on; outside of forwards calls are not counted."""
        if not self._open:
            return name + suffix
        key = name + suffix
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        return key if calls == 1 else f"{name}#{calls}{suffix}"
