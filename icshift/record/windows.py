"""When windows end, and what a recorder does then."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from icshift.hooks.examples import Examples
from icshift.hooks.observer import Observer
from icshift.model.parameters import Parameters, Stretches
from icshift.record.journal import Journal
from icshift.record.replays import Replays

UNDONE = "undone"
"""The kind of a window at whose end the parameters were put back to where they began, as after a search for a rate."""


AUTO: Literal["auto"] = "auto"
"""The length of windows of which nobody says how long they are: see `provisional.py`."""

Length: TypeAlias = "int | Literal['auto'] | None"
"""Steps a window, or None where only the training says when one ends."""


@dataclass(frozen=True)
class Seen:
    """What begins anew with a window."""

    observer: Observer
    examples: Examples
    replays: Replays


class Windows:
    """Ends the open window, which `journal` writes. Steps are how many have ended; `length` is that of windows.

    A window that has its number of steps is over, but ends with the next forward in training: what follows its last
    step, as an evaluation, belongs to it.
    """

    def __init__(self, journal: Journal, seen: Seen, parameters: Parameters, length: Length) -> None:
        self._journal = journal
        self._seen = seen
        self.parameters = parameters
        self._stretches: Stretches | None = None
        self._epoch_over = self._moved = False
        if length == AUTO:
            self._provide()

    def follow(self, model: nn.Module) -> None:
        """Go on with the parameters of another model: their change counts from now."""
        self.parameters = Parameters(model)
        if self._stretches is not None:
            self._stretches.follow(self.parameters)

    def over(self, step: int, length: Length) -> bool:
        """Whether the open window has its number of steps."""
        return isinstance(length, int) and step - self._journal.window.first_step >= length

    def left(self, step: int, length: Length) -> int:
        """How many steps, those to come, are of the open window or, of provisional ones, the open one of them."""
        provisional = self._journal.provisional
        if provisional is not None:
            return provisional.left(step)
        return max(self._journal.window.first_step + length - step, 0) if isinstance(length, int) else sys.maxsize

    def stepped(self, step: int, length: Length) -> None:
        """Replay the probe where the step was the last one of a window."""
        provisional = self._journal.provisional
        if self.over(step, length) or (provisional is not None and provisional.probed(step)):
            self._seen.replays.replay()

    def epoch(self, step: int, name: str | None) -> None:
        """Replay the probe and end the open window, unless it holds nothing."""
        if self._seen.observer.holding:
            self._seen.replays.replay()
            self.close(step, name)

    def epoch_begins(self, step: int) -> None:
        """The open window is over, and the probe is replayed, unless no step of it ended."""
        if step > self._journal.window.first_step:
            self._seen.replays.replay()
            self._epoch_over = True

    def epoch_goes_on(self) -> None:
        """The open window is not over, unless it has ended since."""
        self._epoch_over = False

    def ends(self, step: int, length: Length) -> bool:
        """Whether a window, or a provisional one that holds anything, ends where the training goes on now."""
        if self._epoch_over or self.over(step, length):
            return True
        provisional = self._journal.provisional
        return provisional is not None and provisional.over(step) and self._seen.observer.holding_part

    def go_on(self, step: int, length: Length) -> None:
        """The training goes on: end what `ends`."""
        if self._epoch_over or self.over(step, length):
            self.close(step, None)
        else:
            self._close_provisional(step)

    def close(self, step: int, name: str | None) -> None:
        """End the open window, unless it holds nothing.

        Where an epoch begins and all parameters are what they were at the start, it is `UNDONE` with all before it, and
        the next one is as the first: nobody knows its length.
        """
        seen = self._seen
        if not seen.observer.holding:
            return
        change = self.parameters.change()
        self._moved |= bool(change) or (self._stretches is not None and self._stretches.moved)
        undone = self._epoch_over and self._moved and self.parameters.back()
        self._journal.close_window(name, step, change, kind=UNDONE if undone else None)
        seen.observer.new_window()
        seen.examples.new_window()
        seen.replays.new_window()
        self._epoch_over, self._stretches = False, None
        if undone:
            self._moved = False
            self._provide()

    def close_last(self, step: int, *, replay_probe: bool) -> None:
        """End the last window. Provisional ones stay, where there are several."""
        if replay_probe and self._seen.observer.holding:
            self._seen.replays.replay()
        provisional = self._journal.provisional
        if provisional is None or not provisional.windows:
            self._epoch_over = False
            self.close(step, None)
        elif self._seen.observer.holding_part:
            self._journal.close_provisional(step)

    def _close_provisional(self, step: int) -> None:
        self._journal.close_provisional(step)
        self._journal.join_provisional()
        self._seen.observer.next_part()
        self._seen.examples.next_part()
        self._seen.replays.new_window()

    def _provide(self) -> None:
        self._stretches = Stretches(self.parameters)
        self._journal.provide(self._stretches)
