"""Windows of a recording of which nobody says how long they are, so that there is always something to compare.

They begin with one step. Whenever there are `MOST_PARTS`, every two neighbours are joined and those to come are twice
as long: a run of any length ends with 10 to 20 windows of equally many steps, the last of which may have fewer. With
the first sign of an epoch they are given up for the one window that they are together. As any window, one that holds
nothing goes on: steps of which no forward was heard are in a longer one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

from icshift.distribution import Distribution
from icshift.model.parameters import MOST_PARTS, Stretches
from icshift.runs.format import Site, Window
from icshift.runs.parts import Place
from icshift.runs.provisional import joined_distributions, joined_windows
from icshift.runs.window_file import read_distributions
from icshift.runs.writer import Recording

_HELD_UNITS = 1 << 16
"""Units of all windows together, about 1.3 kB each, up to which they stay in memory: beyond, they are written as they
end and read again to be joined."""

_PROBED = 8
"""Steps between two replays of a probe at least: shorter windows do not all have one until they are joined."""

Distributions: TypeAlias = "dict[tuple[str, Site], Distribution]"


class Provisional:
    """The windows that have ended so far, of which the last ones wait to be written, and the open one.

    `first` is the window that they are parts of, `stretches` says how far the parameters moved over each.
    """

    def __init__(self, recording: Recording, first: Window, stretches: Stretches) -> None:
        self.length = 1
        """Steps of a window that begins now."""
        self.windows: list[Window] = []
        """Those that have ended."""
        self._recording = recording
        self._first = first
        self._stretches = stretches
        self._sites: dict[str, Site] = {}
        self._held: dict[int, dict[tuple[str, str], Distribution]] = {}
        self._unwritten: set[int] = set()
        self._files = first.index
        """The number after the last window of which there may be a file."""
        self._snapshot: int | None = None
        """The number of the open window, if there is a file of it."""

    def open(self, step: int) -> Window:
        """Returns the open window as far as it goes, `step` steps having ended."""
        begun = self.windows[-1].last_step + 1 if self.windows else self._first.first_step
        index = self._first.index + len(self.windows)
        return Window(index, str(index), begun, step - 1, closed=False, provisional=True)

    def over(self, step: int) -> bool:
        """Whether the open window has its number of steps, `step` steps having ended."""
        return step - self.open(step).first_step >= self.length

    def left(self, step: int) -> int:
        """How many steps to come are of the open window, `step` steps having ended."""
        return max(self.open(step).first_step + self.length - step, 0)

    def probed(self, step: int) -> bool:
        """Whether the probe is replayed after so many steps: where a window ends, and not more often than `_PROBED`."""
        return self.over(step) and (step - self._first.first_step) % _PROBED == 0

    def close(self, window: Window, distributions: Distributions, state: dict[str, Any] | None = None) -> None:
        """End the open window with what it holds, in a `state` of the recording; `write` writes it.

        A window without a step joins the one before.
        """
        if window.last_step < window.first_step:
            before = self.windows[-1]
            kept = joined_distributions(self._of(before.index), self._named(distributions))
            self.windows.pop()
            ended, change = joined_windows(before, window), before.parameter_change
        else:
            kept, ended, change = self._named(distributions), window, self._stretches.ended()
        self._keep(replace(ended, closed=True, parameter_change=change), kept)
        self._recording.states[ended.index] = state or {}
        self._snapshot = None

    @property
    def large(self) -> bool:
        """Whether the windows should not all stay in memory: `write` and `forget` them."""
        return sum(part.units for held in self._held.values() for part in held.values()) > _HELD_UNITS

    def forget(self) -> None:
        """Keep in memory only what is not written."""
        self._held = {index: self._held[index] for index in self._unwritten}

    def write(self) -> None:
        """Write the windows that are not written yet, or not as they are now.

        After they were joined, each file is replaced by that of windows in whose place it is, in order: whenever the
        process is killed, the files that the new ones do not hold are still there.
        """
        for index in sorted(self._unwritten):
            self._recording.write_window(self.windows[index - self._first.index], self._sited(self._held[index]))
        self._unwritten.clear()
        following = self._first.index + len(self.windows) + (self._snapshot is not None)
        if self._files > following:
            self._recording.delete_windows(following)
        self._files = following

    def write_open(self, window: Window, distributions: Distributions) -> None:
        """Write what the open window holds so far."""
        self._snapshot = window.index
        self.write()
        self._recording.write_window(window, distributions)

    def join(self) -> None:
        """Join every two neighbours where there are many."""
        if len(self.windows) >= MOST_PARTS:
            self._join()

    def _join(self) -> None:
        ended = self.windows
        pairs = list(zip(ended[::2], ended[1::2], strict=True))
        # Files are read first: where one cannot be, nothing has changed.
        kept = [joined_distributions(*(self._of(window.index) for window in pair)) for pair in pairs]
        states = [self._recording.states.get(following.index, {}) for _, following in pairs]
        self.windows, self._held = [], {}
        self._unwritten.clear()
        for pair, change, distributions, state in zip(pairs, self._stretches.joined(), kept, states, strict=True):
            index = self._first.index + len(self.windows)
            both = replace(joined_windows(*pair), index=index, name=str(index), parameter_change=change)
            self._keep(both, distributions)
            self._recording.states[index] = state
        self.length *= 2

    def _keep(self, window: Window, distributions: dict[tuple[str, str], Distribution]) -> None:
        self.windows.append(window)
        self._held[window.index] = distributions
        self._unwritten.add(window.index)

    def _of(self, index: int) -> dict[tuple[str, str], Distribution]:
        if index in self._held:
            return self._held[index]
        return read_distributions(Place(self._recording.window_file(index)))

    def _named(self, distributions: Distributions) -> dict[tuple[str, str], Distribution]:
        self._sites |= {site.name: site for _, site in distributions}
        return {(phase, site.name): part for (phase, site), part in distributions.items()}

    def _sited(self, distributions: dict[tuple[str, str], Distribution]) -> Distributions:
        return {(phase, self._sites[name]): part for (phase, name), part in distributions.items()}
