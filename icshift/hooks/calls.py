"""The forward of the model that a thread is in: which modules are being called, and how often each was."""

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
    """The calls of modules in the forward that this thread is in; every thread has its own.

    A forward lasts from the call of the outermost module that `enter` gets until `leave` gets the same one.
    """

    def __init__(self) -> None:
        self._open: list[nn.Module] = []
        self._calls: dict[str, int] = {}
        self.padding: Padding | None = None
        """Which positions of this forward's batch are padding; set by whoever knows the mask."""

    @property
    def inside(self) -> bool:
        """Whether a forward is going on."""
        return bool(self._open)

    @property
    def beginning(self) -> bool:
        """Whether the module that was entered last is the outermost one."""
        return len(self._open) == 1

    def enter(self, module: nn.Module, root: nn.Module) -> None:
        """Note that a module is called: within the forward that goes on, or as the beginning of one.

        A forward that was interrupted, and so never left, does not go on: this call begins the next one.
        """
        if self._open and (module is root or module in self._open):
            # Either a module is called within its own forward, or that forward was never left: the stack knows.
            callers = list(_being_called())[1:]
            self._open = [called for called in self._open if called in callers]
        if not self._open:
            self._calls.clear()
            self.padding = None
        self._open.append(module)

    def leave(self, module: nn.Module) -> bool:
        """Note that a module's call ends. Returns whether the forward ends with it."""
        while self._open and self._open.pop() is not module:
            pass
        return not self._open

    def site(self, name: str, suffix: str) -> str:
        """Returns a site's name: that of a module, and from its second call in a forward on the call's number ("fc#2").

        `suffix` says which part of the output it is ("" or as "[0]"). Outside of forwards calls are not counted.
        """
        if not self._open:
            return name + suffix
        key = name + suffix
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        return key if calls == 1 else f"{name}#{calls}{suffix}"


def _being_called() -> Iterator[Any]:
    """Yields the modules that this thread is in calls of, innermost first."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is _CALL:
            yield frame.f_locals.get("self")
        frame = frame.f_back
