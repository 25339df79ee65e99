"""How much waits in an accumulator: rows, closed steps, and the forwards of the open one."""

from __future__ import annotations

from typing import Any


class Waiting:
    """Counts what waits in the arrays of an accumulator, which closes and opens steps itself.

    The native kernel has a class of its own of these counts, which it changes as it takes forwards and closes steps
    that are as the one before (`kernel/waiting.c`).
    """

    __slots__ = ("closed", "filled", "n", "opened", "room")

    def __init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        """Nothing waits."""
        self.filled = 0
        """Rows in use."""
        self.closed = 0
        """Steps that are closed."""
        self.opened = 0
        """Forwards of the open step."""
        self.n = 0
        """Rows of each closed step."""
        self.room = 0
        """Steps that there is room for; 0 where the next one is not closed as the one before."""

    def hold(self, *arrays: Any) -> None:
        """Gets the arrays that it counts what is in: rows, forwards, steps, moments and centre of an accumulator."""

    def tick(self, step: int) -> bool:
        """Closes the step, if that is done by counting it; returns whether it is."""
        del step
        return False
