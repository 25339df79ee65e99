"""How much of a training's time recording takes: what passes within our hooks, and what PyTorch takes to call them."""

from __future__ import annotations

import threading
import time
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING

from torch import nn

from icshift.model.torch_private import hooks_for_all_modules
from icshift.model.unheard import unheard

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIES, _CALLS = 7, 50


class _Open(threading.local):
    """The block that a thread is in: how many lie within one another, and when the outermost began."""

    depth = 0
    started = 0.0


class Stopwatch:
    """Adds up the seconds spent in its `with` blocks; a block within a block counts once. Threads add to each other's.

    >>> watch = Stopwatch()
    >>> with watch, watch:
    ...     pass
    >>> watch.seconds > 0, watch.blocks
    (True, 1)
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """Those of all blocks that have ended."""
        self.blocks = 0
        """How many have, without those within others."""
        self._open = _Open()

    def __enter__(self) -> None:
        running = self._open
        if not running.depth:
            running.started = time.perf_counter()
        running.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = self._open
        running.depth -= 1
        if not running.depth:
            self.seconds += time.perf_counter() - running.started
            self.blocks += 1

    @property
    def whole(self) -> float:
        """The seconds of all blocks, and an estimate of those that PyTorch took to call them (see `around_a_hook`)."""
        return self.seconds + self.blocks * around_a_hook()

    def overhead(self, started: float) -> dict[str, float]:
        """Returns the entries of a manifest: the seconds of `whole`, and those since `started`, of the same clock."""
        wall = time.perf_counter() - started
        return {"recording_seconds": round(min(self.whole, wall), 6), "wall_seconds": round(wall, 6)}


@cache
def around_a_hook() -> float:
    """Seconds that a hook of ours takes beside those within its block: PyTorch calls modules with hooks by longer ways.

    Measured once, on a module that does nothing. Where hooks for all modules are there, which would see that module, it
    is 0: unknown.
    """
    from icshift.hooks.hook import Hook

    if hooks_for_all_modules():
        return 0.0
    plain, hooked, watch = nn.Identity(), nn.Identity(), Stopwatch()
    hooked.register_forward_hook(Hook(hooked, lambda *_: None, watch=watch))
    with unheard():
        differences = [_seconds(hooked) - _seconds(plain) for _ in range(_TRIES)]
    return max(sorted(differences)[_TRIES // 2] / _CALLS - watch.seconds / watch.blocks, 0.0)


def _seconds(call: Callable[[None], None]) -> float:
    started = time.perf_counter()
    for _ in range(_CALLS):
        call(None)
    return time.perf_counter() - started
