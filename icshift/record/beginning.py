"""How a recording begins on disk: at a new path, in place of a run, or going on with one after a preempted training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icshift.errors import RecordingError
from icshift.given import truth, truth_or_whole
from icshift.hooks.observer import Observer
from icshift.model.parameters import Parameters
from icshift.notice import notice
from icshift.record.clock import Clock
from icshift.record.faults import Faults
from icshift.record.journal import Journal
from icshift.record.thinning import Thinning
from icshift.runs.owner import barely_begun, refuse_occupied
from icshift.runs.resuming import Past, cut_window, joined_state, past_of, refuse_other, steps_of
from icshift.runs.writer import Recording


@dataclass(frozen=True)
class Begun:
    """A recording that goes on with what is there of its `past`, if any, after so many steps."""

    recording: Recording
    past: Past | None = None
    steps: int = 0

    @property
    def provided(self) -> int:
        """How long provisional windows are at first: as those were, 0 where windows had ends of their own."""
        if self.past is None or not self.past.windows:
            return 1
        lengths = [window.steps for window in self.past.windows if window.provisional]
        # The last one is shorter where the training was interrupted in it.
        return max(lengths) if self.past.windows[-1].provisional else 0

    def restore(self, clock: Clock, observer: Observer, journal: Journal, thinning: Thinning, faults: Faults) -> None:
        """Put all that counts and draws in the state in which the last window ended."""
        if self.past is None:
            return
        clock.steps = self.steps
        clock.unheard = min(self.past.manifest.get("unheard_steps", 0), self.steps)
        journal.go_on_after(self._last, self.steps)
        observer.draw_on(self.past.state.get("sampling"))
        thinning.go_on_after(self.past.windows, self.steps, self.past.manifest)
        if self.past.covered < self.steps:
            faults.missed(self.past.covered, self.steps - 1, "they were trained by a process that was stopped")

    @property
    def _last(self) -> int:
        """The number of the last window that is over: equal windows that a killed process did not write count."""
        assert self.past is not None
        length = self.past.manifest["settings"].get("window_steps")
        lost = (self.steps - self.past.covered) // length if length else 0
        return lost + (self.past.windows[-1].index if self.past.windows else 0)

    def state(self, entries: dict[str, Any]) -> dict[str, Any]:
        """Returns entries of the manifest with those of the past."""
        return entries if self.past is None else joined_state(self.past, entries)


@dataclass(frozen=True)
class Asked:
    """Where a process is to record, and what it does with a run that is there.

    `resume` is whether to go on with it; a number says after how many steps, where its parameters do not tell. Raises
    `RecordingError` for what is neither.
    """

    path: Path
    force: bool
    resume: bool | int
    rank: int
    ranks: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "force", truth("force", self.force))
        object.__setattr__(self, "resume", truth_or_whole("resume", self.resume, 0))

    def refuse(self) -> None:
        """Raise `RunError` where the path is taken, and `RecordingError` for both of what excludes each other."""
        if self._resumes and self.force:
            raise RecordingError("resume goes on with a run, and force replaces it: take one of them")
        if not self._resumes or not self._is_there:
            refuse_occupied(self.path, force=self._replaces, rank=self.rank, ranks=self.ranks)

    def begin(self, manifest: dict[str, Any], parameters: Parameters) -> Begun:
        """Returns the recording, which writes while the training goes on.

        Raises what `refuse` does, and where what is there cannot be gone on with.
        """
        begun = self._begun(manifest, parameters)
        begun.recording.write_behind()
        return begun

    def _begun(self, manifest: dict[str, Any], parameters: Parameters) -> Begun:
        where = {"rank": self.rank, "ranks": self.ranks}
        past = past_of(self.path, self.rank) if self._resumes else None
        if past is None:
            return Begun(Recording(self.path, manifest, force=self._replaces, **where))
        refuse_other(past, manifest, self.ranks)
        told = None if self.resume is True else int(self.resume)
        steps = steps_of(past, parameters.mark(), manifest, told)
        _tell(past, steps, told)
        return Begun(Recording.resumed(past, manifest, steps, **where), past.until(steps), steps)

    @property
    def _resumes(self) -> bool:
        return self.resume is not False

    @property
    def _replaces(self) -> bool:
        """Whether what is there is deleted: with `resume` what a process left that was killed as it began."""
        try:
            return self.force or (self._resumes and barely_begun(self.path, self.rank))
        except OSError:
            return False

    @property
    def _is_there(self) -> bool:
        try:
            return past_of(self.path, self.rank) is not None
        except OSError:
            return False


def _tell(past: Past, steps: int, told: int | None) -> None:
    """Say where a training that is resumed is not recorded as it may expect."""
    if told is not None and told != steps:
        notice(
            f"icshift: {told:,} steps are said to be behind this training, its parameters are those after {steps:,} "
            f"of {past.path}: the recording goes on after {steps:,}",
            stacklevel=6,
        )
    if (cut := cut_window(past, steps)) is not None:
        notice(
            f"icshift: window {cut.name} of {past.path} ended after {cut.last_step + 1:,} steps, where the training "
            "was interrupted: what was under way goes on as the next window",
            stacklevel=6,
        )
