"""Windows of a recording of which nobody says how long they are, so that there is always something to compare.

They begin with one step. Whenever there are `MOST_PARTS`, every two neighbours are joined and those to come are twice as long:
a run of any length ends with 10 to 20 windows of equally many steps, the last of which may have fewer. With the first
sign of an epoch they are given up for the one window that they are together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from icshift.distribution import Distribution
from icshift.model.parameters import MOST_PARTS, Stretches
from icshift.runs.format import Site, Window
from icshift.runs.provisional import joined_distributions, joined_windows
from icshift.runs.window_file import read_distributions
from icshift.runs.writer import Recording

_WAITING_UNITS = 1 << 17
"""Units of all windows that wait in memory, about 1.3 kB each, beyond which they are written at once."""

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
        self._waiting: dict[int, dict[tuple[str, str], Distribution]] = {}
        self._written = first.index
        """The number after the last window of which there is a file."""

    def open(self, step: int) -> Window:
        """Returns the open window as far as it goes, `step` steps having ended."""
        begun = self.windows[-1].last_step + 1 if self.windows else self._first.first_step
        index = self._first.index + len(self.windows)
        return Window(index, str(index), begun, step - 1, closed=False, provisional=True)

    def over(self, step: int) -> bool:
        """Whether the open window has its number of steps, `step` steps having ended."""
        return step - self.open(step).first_step >= self.length

    def probed(self, step: int) -> bool:
        """Whether the probe is replayed after so many steps: where a window ends, and not more often than `_PROBED`."""
        return self.over(step) and (step - self._first.first_step) % _PROBED == 0

    def close(self, window: Window, distributions: Distributions) -> None:
        """End the open window with what it holds; `write` writes it. A window without a step joins the one before."""
        kept = self._named(distributions)
        if window.last_step < window.first_step:
            before = self.windows[-1]
            held = self._held(before.index)
            self.windows[-1] = joined_windows(before, window)
            self._waiting[before.index] = joined_distributions(held, kept)
            return
        self.windows.append(replace(window, closed=True, parameter_change=self._stretches.ended()))
        self._waiting[window.index] = kept
        if len(self.windows) == MOST_PARTS:
            self._join()
        if sum(part.units for held in self._waiting.values() for part in held.values()) > _WAITING_UNITS:
            self.write()

    def write(self) -> None:
        """Write the windows that wait."""
        for index in sorted(self._waiting):
            self._recording.write_window(self.windows[index - self._first.index], self._sited(self._waiting.pop(index)))
            self._written = max(self._written, index + 1)

    def write_open(self, window: Window, distributions: Distributions) -> None:
        """Write what the open window holds so far."""
        self.write()
        self._recording.write_window(window, distributions)
        self._written = max(self._written, window.index + 1)

    def _join(self) -> None:
        """Join every two neighbours.

        Where there are files, each is replaced by that of the two windows in whose place it is, in order: whenever the
        process is killed, the files that a new one does not hold are still there.
        """
        old, written = self.windows, self._written > self._first.index
        changes = self._stretches.joined()
        self.windows = []
        for place in range(len(old) // 2):
            first, following = old[2 * place : 2 * place + 2]
            index = self._first.index + place
            both = replace(joined_windows(first, following), index=index, name=str(index))
            distributions = joined_distributions(self._held(first.index), self._held(following.index))
            self._waiting.pop(first.index, None)
            self._waiting.pop(following.index, None)
            self.windows.append(replace(both, parameter_change=changes[place]))
            if written:
                self._recording.write_window(self.windows[-1], self._sited(distributions))
            else:
                self._waiting[index] = distributions
        self.length *= 2
        if written:
            self._written = self._first.index + len(self.windows)
            self._recording.delete_windows(self._written)

    def _held(self, index: int) -> dict[tuple[str, str], Distribution]:
        if index in self._waiting:
            return self._waiting[index]
        return read_distributions(self._recording.window_file(index))

    def _named(self, distributions: Distributions) -> dict[tuple[str, str], Distribution]:
        self._sites |= {site.name: site for _, site in distributions}
        return {(phase, site.name): part for (phase, site), part in distributions.items()}

    def _sited(self, distributions: dict[tuple[str, str], Distribution]) -> Distributions:
        return {(phase, self._sites[name]): part for (phase, name), part in distributions.items()}
