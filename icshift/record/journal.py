"""When a recorder writes: windows as they close, and in between what would be lost with the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from icshift.distribution import Distribution
from icshift.model.parameters import Stretches
from icshift.record.provisional import Provisional
from icshift.runs.format import LOGGED, Seen, Site, Window
from icshift.runs.provisional import joined_distributions, joined_windows
from icshift.runs.window_file import read_distributions
from icshift.runs.writer import Recording

FLUSH_SECONDS = 10.0
"""Step rows are written at least so often while recording."""

_SNAPSHOT_SHARE = 0.02
"""The open window is written with them, unless that held the training up for more than this share of the time since the
last time."""

_UNIT_SECONDS = 4e-4
"""What a unit of a window holds the training up, until a window of this recording was written: on a slow machine."""


@dataclass(frozen=True)
class Open:
    """Functions that return what is known of the open window so far.

    `units` is how many it holds, in all phases; `distributions` by phase and site; `inputs`: which examples each phase
    saw; `part` and `part_inputs` are the same of the open one of its provisional windows. `logged`: rows of the series
    `LOGGED` that came since the last call; `left_out`: of how many steps nothing was recorded, from one to another;
    `sites`: how many were seen so far; `state`: what whoever resumes the training after it needs.
    """

    units: Callable[[], int]
    distributions: Callable[[], dict[tuple[str, Site], Distribution]]
    inputs: Callable[[], dict[str, Seen | None]]
    part: Callable[[], dict[tuple[str, Site], Distribution]]
    part_inputs: Callable[[], dict[str, Seen | None]]
    logged: Callable[[], list[dict[str, Any]]]
    left_out: Callable[[int, int], int] = lambda _, __: 0
    sites: Callable[[], int] = lambda: 0
    state: Callable[[], dict[str, Any]] = dict


@dataclass(frozen=True)
class Ended:
    """A window that ended and is to be written; with a `kind`, it and all before it that have none are one.

    `provisional` says that it is in place of provisional windows, whose files go.
    """

    window: Window
    kind: str | None
    provisional: bool


class Journal:
    """Keeps the number, name and first step of the open window, and writes it with `recording`.

    `seen` is what that window holds, `state` returns the entries of the manifest that change. Every method that writes
    raises `OSError` where nothing can be written, and `RunError` where the path is gone; of what is written while
    the training goes on, the next one that waits for it.
    """

    def __init__(
        self,
        recording: Recording,
        seen: Open,
        state: Callable[[], dict[str, Any]],
    ) -> None:
        self._recording = recording
        self._seen = seen
        self._state = state
        self.window = Window(index=1, name="1", first_step=0, last_step=-1, closed=False)
        self.provisional: Provisional | None = None
        """The windows in place of the open one, as long as nobody says how long it is."""
        self._closed: list[Window] = []
        """Those that ended and are of no kind of their own."""
        self._flushed = self._snapshot = time.perf_counter()
        self._unit_seconds = _UNIT_SECONDS
        self._announced = 0
        """How many sites the manifest names."""

    @property
    def ended(self) -> int:
        """How many windows have ended."""
        return self.window.index - 1 + (len(self.provisional.windows) if self.provisional else 0)

    @property
    def written(self) -> tuple[int, float]:
        """What changes where a window ends or anything is written."""
        return self.ended, self._flushed

    def provide(self, stretches: Stretches, length: int = 1) -> None:
        """Begin with provisional windows, of so many steps, in place of the open one, which has just begun."""
        self.provisional = Provisional(self._recording, self.window, stretches)
        self.provisional.length = length

    def close_provisional(self, step: int) -> None:
        """End the open one of the provisional windows, before `step`."""
        assert self.provisional is not None
        ended = self._told(self.provisional.open(step), self._seen.part_inputs())
        self.provisional.close(ended, self._seen.part(), self._seen.state())

    def join_provisional(self) -> None:
        """Join provisional windows where there are many, and write them where they should not stay in memory."""
        if self.provisional is not None:
            self._relieve(self.provisional)
            self.provisional.join()
            self._relieve(self.provisional)

    def _relieve(self, provisional: Provisional) -> None:
        if provisional.large:
            self.flush()
            provisional.forget()

    def end(self, name: str | None, step: int, parameter_change: float | None, *, kind: str | None = None) -> Ended:
        """End the open window before `step`, and begin the next one; returns what `write` is to write.

        `name` is by default the window's number; `parameter_change` is that of the model over the window, or None.
        With a `kind`, this window and all before it that have none are one, and it and its phases are named after it,
        so that no other is compared with it.
        """
        closed = replace(
            self.window,
            name=name or self.window.name,
            last_step=step - 1,
            closed=True,
            parameter_change=parameter_change,
        )
        ended = Ended(self._told(closed, self._seen.inputs()), kind, self.provisional is not None)
        self._recording.states[closed.index] = self._seen.state()
        self.provisional = None
        self.pass_by(step)
        return ended

    def pass_by(self, step: int) -> None:
        """Go on with the next window, from this step on."""
        following = self.window.index + 1
        self.window = Window(following, str(following), step, step - 1, closed=False)

    def go_on_after(self, index: int, step: int) -> None:
        """Begin with the window after that of this number, before so many steps: a training is resumed."""
        self.window = Window(index + 1, str(index + 1), step, step - 1, closed=False)

    def begin_at(self, step: int) -> None:
        """The open window begins with this step."""
        self.window = replace(self.window, first_step=step, last_step=step - 1)

    def write(self, ended: Ended) -> None:
        """Write a window that ended; it may be tried again where that raises, as long as it is in the accumulators.

        Its steps are written before it: a training may be resumed from the end of any window that is there. Only one
        window is in memory beside the open one: that before is on disk then.
        """
        self.wait()
        self._announce()
        began = time.perf_counter()
        distributions = self._seen.distributions()
        self._learn(began, self._seen.units())
        self._write_series()
        if ended.kind is None:
            self._recording.write_window(ended.window, distributions)
        else:
            self._write_kind(ended.kind, ended.window, distributions)
        if ended.provisional:
            # What they hold is in the file that was just written.
            self._recording.delete_windows(ended.window.index + 1)
        if ended.kind is None:
            self._closed.append(ended.window)
        self._snapshot = time.perf_counter()

    def due(self) -> bool:
        """Whether `flush_if_due` would write."""
        return self.late() or self._recording.full

    def late(self) -> bool:
        """Whether the last flush is so long ago that another is due."""
        return time.perf_counter() - self._flushed >= FLUSH_SECONDS

    def flush_if_due(self, step: int) -> None:
        """Every `FLUSH_SECONDS`, write what waits and, where that costs little, the open window as far as it goes."""
        if not self.due():
            return
        self.wait()
        now = time.perf_counter()
        units = self._seen.units()
        if units * self._unit_seconds <= _SNAPSHOT_SHARE * (now - self._snapshot):
            self._write_open(step)
            self._learn(now, units)
            self._snapshot = time.perf_counter()
        self.flush()

    def settle(self) -> None:
        """Write all that waits, and wait until it is on disk."""
        self.flush()
        self.wait()

    def wait(self) -> None:
        """Wait until all is on disk that was to be written."""
        self._recording.settle()

    def _learn(self, began: float, units: int) -> None:
        """Note how long a window of so many units held the training up, since `began`."""
        self._unit_seconds = (time.perf_counter() - began) / max(units, 1)

    def flush(self) -> None:
        """Write all that waits: windows, the rows of all series, and the manifest."""
        if self.provisional is not None:
            self._announce()
        self._write_series()
        if self.provisional is not None:
            self.provisional.write()
        self._recording.update(self._state())
        self._flushed = time.perf_counter()

    def _write_series(self) -> None:
        if rows := self._seen.logged():
            self._recording.append_measured(LOGGED, rows)
        self._recording.flush()

    def _announce(self) -> None:
        """Write the manifest before a window of sites that it does not name yet, which could not be read without."""
        if (sites := self._seen.sites()) != self._announced:
            self._recording.update(self._state())
            self._announced = sites

    def _write_kind(self, kind: str, closed: Window, distributions: Mapping[tuple[str, Site], Distribution]) -> None:
        sites = {site.name: site for _, site in distributions}
        places = self._recording.places() if self._closed else {}
        parts = [read_distributions(places[window.index]) for window in self._closed]
        parts.append({(phase, site.name): part for (phase, site), part in distributions.items()})
        whole = reduce(joined_windows, [*self._closed, closed])
        named = replace(
            whole,
            name=f"{kind}-{whole.index}",
            parameter_change=0.0,
            inputs={f"{kind}-{phase}": seen for phase, seen in (whole.inputs or {}).items()},
        )
        self._recording.write_windows(
            named,
            {
                (f"{kind}-{phase}", sites[name]): part
                for (phase, name), part in reduce(joined_distributions, parts).items()
                if name in sites
            },
            closed.index,
        )
        self._closed.clear()

    def _told(self, window: Window, inputs: dict[str, Seen | None]) -> Window:
        """Returns the window with what its forwards saw, and how many of its steps were left out."""
        return replace(window, inputs=inputs, left_out=self._seen.left_out(window.first_step, window.last_step))

    def _write_open(self, step: int) -> None:
        self._announce()
        if self.provisional is None:
            window = self._told(replace(self.window, last_step=step - 1), self._seen.inputs())
            self._recording.write_window(window, self._seen.distributions())
        else:
            window = self._told(self.provisional.open(step), self._seen.part_inputs())
            part = self._seen.part()
            self._write_series()  # Those that ended are written too.
            self.provisional.write_open(window, part)
