"""What a recorder does where something goes wrong: the training goes on, and the run says what it lacks.

Where nothing can be written, as on a full disk, steps are left out until that has passed, and the window that could not
be written is kept so long. Whatever else goes wrong ends the recording. Either is said in one warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from icshift.errors import RecordingError
from icshift.hooks.observer import Observer
from icshift.hooks.watcher import Watcher
from icshift.notice import notice
from icshift.record.clock import Clock
from icshift.record.faults import Faults, interruption, may_pass
from icshift.record.journal import Journal
from icshift.record.logged import Logged
from icshift.record.windows import Windows
from icshift.runs.format import FINAL_WEIGHTS
from icshift.runs.writer import Recording


class Troubles:
    """The troubles of one recording, at a path, of what an observer holds and a training logs."""

    def __init__(self, path: Path, observer: Observer, logged: Logged) -> None:
        self.faults = Faults()
        self._path = path
        self._observer = observer
        self._logged = logged
        self._closing = False

    def begin(
        self,
        recording: Recording,
        journal: Journal,
        windows: Windows,
        watcher: Watcher,
        clock: Clock,
        state: Callable[[], dict[str, Any]],
    ) -> None:
        """A recording begins; `state` returns the entries of the manifest that change."""
        self._recording, self._journal, self._windows, self._watcher = recording, journal, windows, watcher
        self._clock, self._state = clock, state

    @contextmanager
    def safely(self) -> Iterator[None]:
        """A block that counts as time spent recording; an error within interrupts the recording, or ends it, alone."""
        with self._watcher.guard, self._watcher.stopwatch:
            try:
                yield
            except Exception as error:  # noqa: BLE001
                self.met(error)

    def met(self, error: Exception) -> None:
        """Interrupt the recording, or end it, for an error."""
        if may_pass(error) and not self.faults.over:
            self.faults.begin(error, self._steps, passes=True)
            self._tell(error)
        else:
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """Record nothing any more, for what is wrong does not pass."""
        # The optimizer's hooks stay: this may run in one of them, and none can go while they are being called.
        self.faults.begin(error, self._steps, passes=False)
        self._logged.close()
        self._watcher.stop()
        self._observer.new_window()
        self._tell(error)

    def window_ends(self, name: str | None = None) -> None:
        """A window ends while nothing can be written: see whether it can be again."""
        self._windows.pass_by(self._steps, name)
        self.go_on()

    def go_on(self) -> None:
        """Record from this step on, if what was in the way has passed; raises if it has not."""
        self._recording.update(self._state())
        self._windows.go_on_from(self._steps)
        self.faults.passed(self._steps)

    def end_last(self, *, replay_probe: bool) -> None:
        """End the last window, as far as it can be written."""
        self._closing = True
        if self.faults.waiting:
            self._windows.pass_by(self._steps, None)
            self._windows.settle()
            self._journal.settle()
            if not self.faults.missing(self._steps):
                self.faults.passed(self._steps)
        elif not self.faults.over:
            self._windows.close_last(self._steps, replay_probe=replay_probe)

    def write_end(self, error: BaseException | None) -> None:
        """Write how the recording ended; `error` ended the training. One that could not go on is not finished."""
        with self.safely():
            entries = self._state() | {FINAL_WEIGHTS: self._windows.parameters.fingerprint()}
            if self.faults.reason:
                self._recording.tell(entries)
            else:
                self._recording.finish(entries | {"interrupted": interruption(error, self._steps, self._windows.cut)})

    def saw_nothing(self, why: str, *, strict: bool) -> None:
        """Warn that nothing was recorded or, where that is `strict`, raise `RecordingError`."""
        why = self.faults.reason or why or "no forward went through the model since it was resumed"
        nothing = RecordingError(f"nothing was recorded in {self._path}: {why}")
        if strict:
            raise nothing
        if not self.faults.told:
            notice(f"icshift: {nothing}", stacklevel=5)

    @property
    def _steps(self) -> int:
        return self._clock.steps

    def _tell(self, error: Exception) -> None:
        """Say once that nothing is recorded now, and in the run too, if there is room."""
        if not self.faults.told:
            self.faults.told = True
            goes_on = "; it goes on once that has passed" if self.faults.waiting and not self._closing else ""
            notice(f"icshift stopped recording to {self._path}: {error}{goes_on}", stacklevel=6)
        with suppress(Exception):
            self._recording.tell(self.faults.entries())
