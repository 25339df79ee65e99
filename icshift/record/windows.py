"""When windows end, and what a recorder does then."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from icshift.hooks.examples import Examples
from icshift.hooks.observer import Observer
from icshift.model.parameters import Parameters, Stretches
from icshift.record.journal import Ended, Journal
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

    def __init__(
        self, journal: Journal, seen: Seen, parameters: Parameters, length: Length, *, provided: int = 1
    ) -> None:
        """`provided` is how long provisional windows are at first, 0 where there are none: what was before is known."""
        self._journal = journal
        self._seen = seen
        self.parameters = parameters
        self._stretches: Stretches | None = None
        self._ended: Ended | None = None
        """The window that ended and could not be written yet; its values are still in the accumulators."""
        self._epoch_over = self._moved = False
        self.cut: int | None = None
        """The number of the window that was under way when the recording ended, if one was."""
        if length == AUTO and provided:
            self._provide(provided)

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
        """Replay the probe and end the open window, unless it holds nothing. It is on disk then."""
        if self._seen.observer.holding:
            self._seen.replays.replay()
            self.close(step, name)
            self._journal.wait()

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
        if self.whole_ends(step, length):
            return True
        provisional = self._journal.provisional
        return provisional is not None and provisional.over(step) and self._seen.observer.holding_part

    def whole_ends(self, step: int, length: Length) -> bool:
        """Whether a window ends that is no provisional one."""
        return self._epoch_over or self.over(step, length)

    def go_on(self, step: int, length: Length) -> None:
        """The training goes on: end what `ends`."""
        if self.whole_ends(step, length):
            self.close(step, None)
        else:
            self._close_provisional(step)

    def close(self, step: int, name: str | None) -> None:
        """End the open window, unless it holds nothing.

        Where an epoch begins and all parameters are what they were at the start, it is `UNDONE` with all before it, and
        the next one is as the first: nobody knows its length.
        """
        if self._seen.observer.holding:
            self._end(step, name)
            self.settle()

    def settle(self) -> None:
        """Write the window that ended, if there is one that waits for it. Raises where that fails: it still waits."""
        if self._ended is None:
            return
        self._journal.write(self._ended)
        self._seen.observer.new_window()
        self._seen.examples.new_window()
        self._seen.replays.new_window()
        undone, self._ended = self._ended.kind is not None, None
        if undone:
            self._moved = False
            self._provide()
        self._journal.flush()

    def pass_by(self, step: int, name: str | None) -> None:
        """A window ends while nothing can be written: what it holds waits, and of those that follow nothing is kept."""
        if self._ended is None and self._seen.observer.holding:
            self._end(step, name)
        else:
            self._journal.pass_by(step)
            self._epoch_over = False

    def go_on_from(self, step: int) -> None:
        """It can be written again: write what waits, and begin with this step where nothing is under way."""
        self.settle()
        self._journal.join_provisional()
        self._journal.settle()
        if not self._seen.observer.holding and self._journal.provisional is None:
            self._journal.begin_at(step)

    def close_last(self, step: int, *, replay_probe: bool) -> None:
        """End the last window. Provisional ones stay, where there are several."""
        if replay_probe and self._seen.observer.holding:
            self._seen.replays.replay()
        provisional = self._journal.provisional
        whole = provisional is None or not provisional.windows
        if self._seen.observer.holding if whole else self._seen.observer.holding_part:
            self.cut = (
                None if self._epoch_over else (provisional.open(step) if provisional else self._journal.window).index
            )
        if whole:
            self._epoch_over = False
            self.close(step, None)
        elif self._seen.observer.holding_part:
            self._journal.close_provisional(step)

    def _end(self, step: int, name: str | None) -> None:
        change = self.parameters.change()
        self._moved |= bool(change) or (self._stretches is not None and self._stretches.moved)
        undone = self._epoch_over and self._moved and self.parameters.back()
        self._ended = self._journal.end(name, step, change, kind=UNDONE if undone else None)
        self._epoch_over, self._stretches = False, None

    def _close_provisional(self, step: int) -> None:
        self._journal.close_provisional(step)
        self._seen.observer.next_part()
        self._seen.examples.next_part()
        self._seen.replays.new_window()
        self._journal.join_provisional()

    def _provide(self, length: int = 1) -> None:
        self._stretches = Stretches(self.parameters)
        self._journal.provide(self._stretches, length)
