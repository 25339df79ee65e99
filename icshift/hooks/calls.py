"""The forward of the model that a thread is in: which modules are being called, and how often each was."""

from __future__ import annotations

import threading
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from icshift.hooks.examples import Inputs
from icshift.hooks.padding import Padding
from icshift.model.torch_private import being_called, given_to_functions


@dataclass(frozen=True, eq=False)
class Call:
    """The call that begins a forward: of a model, or of a part that is called on its own."""

    part: nn.Module
    """The outermost module of the model that is being called."""
    inputs: Inputs | None
    """Its arguments, None where they were not seen."""
    gradients: bool
    """Whether gradients are computed through it."""


class Now:
    """The forward that a thread is in, or was in last."""

    __slots__ = ("forward", "known", "made", "open", "padding")

    def __init__(self) -> None:
        self.open: list[nn.Module] = []
        """The modules that are being called, the outermost first; none outside of forwards."""
        self.made: dict[str, int] = {}
        """How many calls of each module there were in it, by its name and that of the part of its output."""
        self.padding: Padding | None = None
        """Which positions of its batch are padding; set by whoever knows the mask."""
        self.forward: Any = None
        """What the keeper calls it; set by whoever asks the keeper."""
        self.known = False
        """Whether it is like one before, in which there was nothing to do at the end of it."""


class Calls(threading.local):
    """The calls of modules in the forward that this thread is in; every thread has its own.

    A forward lasts from the call of the outermost module that `enter` gets until `leave` gets the same one. The calls
    of a module are told apart up to the `most`-th in a forward; that one and all that follow have one name.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self.now = Now()

    @property
    def inside(self) -> bool:
        """Whether a forward is going on."""
        return bool(self.now.open)

    @property
    def beginning(self) -> bool:
        """Whether the module that was entered last is the outermost one."""
        return len(self.now.open) == 1

    def enter(self, module: nn.Module, root: nn.Module) -> None:
        """Note that a module is called: within the forward that goes on, or as the beginning of one.

        A forward that was interrupted, and so never left, does not go on: this call begins the next one.
        """
        now = self.now
        if now.open and (module is root or module in now.open):
            # Either a module is called within its own forward, or that forward was never left: the stack knows.
            callers = list(being_called())[1:]
            now.open = [called for called in now.open if called in callers]
        if not now.open:
            now.made.clear()
            now.padding = now.forward = None
            now.known = False
        now.open.append(module)

    def leave(self, module: nn.Module) -> bool:
        """Note that a module's call ends. Returns whether the forward ends with it."""
        opened = self.now.open
        while opened and opened.pop() is not module:
            pass
        return not opened

    def site(self, name: str, suffix: str) -> str:
        """Returns a site's name: that of a module, and from its second call in a forward on the call's number ("fc#2").

        Those from the `most`-th on are one site ("fc#16+"). `suffix` says which part of the output it is ("" or as
        "[0]"). Outside of forwards calls are not counted.
        """
        key, now = name + suffix, self.now
        if not now.open:
            return key
        calls = now.made[key] = now.made.get(key, 0) + 1
        if self._most == 1 or calls == 1:
            return key
        return f"{name}#{self._most}+{suffix}" if calls >= self._most else f"{name}#{calls}{suffix}"


def computed_again() -> bool:
    """Whether gradients are computed through what runs now although they are off: by a function of its own kind.

    Reentrant checkpointing runs its forward without gradients, and again, with them, in the backward pass. So do the
    layers of reversible networks.
    """
    return any(isinstance(argument, Tensor) and argument.requires_grad for argument in given_to_functions())


def outermost_called(parts: Container[nn.Module]) -> nn.Module | None:
    """The outermost of these modules that this thread is in a call of, None where it is in none."""
    called = [module for module in being_called() if module in parts]
    return called[-1] if called else None
