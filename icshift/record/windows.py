"""When windows end, and what a recorder does then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from icshift.hooks.examples import Examples
from icshift.hooks.observer import Observer
from icshift.model.parameters import Parameters, Stretches
from icshift.record.journal import Journal
from icshift.record.replays import Replays

UNDONE = "undone"
"""The kind of a window at whose end the parameters were put back to where it began, as after a search for a rate."""


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
        self._parameters = parameters
        self._stretches: Stretches | None = None
        self._epoch_over = False
        if length == AUTO:
            self._provide()

    def over(self, step: int, length: Length) -> bool:
        """Whether the open window has its number of steps."""
        return isinstance(length, int) and step - self._journal.window.first_step >= length

    def stepped(self, step: int, length: Length) -> None:
        """Replay the probe where the step was the last one of a window."""
        provisional = self._journal.provisional
        if self.over(step, length) or (provisional is not None and provisional.probed(step)):
            self._seen.replays.replay()

    def epoch_begins(self, step: int) -> None:
        """The open window is over, and the probe is replayed, unless no step of it ended."""
        if step > self._journal.window.first_step:
            self._seen.replays.replay()
            self._epoch_over = True

    def ends(self, step: int, length: Length) -> bool:
        """Whether a window, or a provisional one, ends where the training goes on now."""
        provisional = self._journal.provisional
        return self._epoch_over or self.over(step, length) or (provisional is not None and provisional.over(step))

    def go_on(self, step: int, length: Length) -> None:
        """The training goes on: end what `ends`."""
        if self._epoch_over or self.over(step, length):
            self.close(step, None)
        else:
            self._close_provisional(step)

    def close(self, step: int, name: str | None) -> None:
        """End the open window, unless it holds nothing.

        Where an epoch began and all parameters are back where they were, it is `UNDONE`, and the next one is as the
        first: nobody knows its length.
        """
        seen = self._seen
        if not seen.observer.holding:
            return
        change = self._parameters.change()
        undone = self._epoch_over and change == 0.0 and self._stretches is not None and self._stretches.moved
        self._journal.close_window(name, step, change, kind=UNDONE if undone else None)
        seen.observer.new_window()
        seen.examples.new_window()
        seen.replays.new_window()
        self._epoch_over, self._stretches = False, None
        if undone:
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
        self._seen.observer.next_part()
        self._seen.examples.next_part()
        self._seen.replays.new_window()

    def _provide(self) -> None:
        self._stretches = Stretches(self._parameters)
        self._journal.provide(self._stretches)
