"""Where a thread is in a forward of the model."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from torch import nn

from icshift.hooks.padding import Padding

_CALL = nn.Module._call_impl.__code__


class Calls(threading.local):
    """The calls of modules in the forward that this thread is in, and which positions of its batch are padding.

    A forward is a call of the outermost module among those that `enter` gets.
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
        """A module is called. A forward that was interrupted, and so never left, does not go on with it."""
        if self._open and (module is root or module in self._open):
            # Either a module is called within its own forward, or that forward was never left: the stack knows.
            callers = list(_being_called())[1:]
            self._open = [one for one in self._open if one in callers]
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


def _being_called() -> Iterator[Any]:
    """The modules that this thread is in calls of, innermost first."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is _CALL:
            yield frame.f_locals.get("self")
        frame = frame.f_back
