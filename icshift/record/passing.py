"""Steps of which nothing is recorded, as they pass: they must cost next to nothing.

In a step that a budget leaves out, hooks are lifted from all modules but those whose calls are forwards. How many such
steps follow with nothing else to do is found out beforehand; what hears one of their forwards, or their end, counts it
and is done. Whatever is not ordinary goes the long way, on which the hooks come back: an evaluation, a forward under a
label, the end of a window, the last step before one that is recorded.
"""

from __future__ import annotations

from abc import ABC
from typing import Literal

from icshift.hooks.examples import Examples
from icshift.hooks.observer import Observer
from icshift.hooks.watcher import Watcher
from icshift.record.clock import Clock
from icshift.record.faults import Faults
from icshift.record.forwards import Forward, Forwards
from icshift.record.journal import Journal
from icshift.record.thinning import Thinning
from icshift.record.windows import Windows
from icshift.runs.phases import TRAIN

_MOST = 64
"""Steps that pass before it is looked again whether there is anything to do."""

_TIMED = 8
"""Of so many steps that pass one is timed, for all of them: its forwards, and its end."""


class Passing(ABC):
    """The part of a recorder that lets steps pass; all that it asks is the recorder's."""

    forwards: Forwards
    _clock: Clock
    _examples: Examples
    _faults: Faults
    _journal: Journal
    _observer: Observer
    _thinning: Thinning
    _watcher: Watcher
    _windows: Windows
    _passing = 0
    """Steps, that under way the first, at whose forwards there is nothing to do, nor at the end of any but the last."""
    _going_on = 0
    """Steps, that under way the first, that are recorded and are as those before: see `steady.py`."""
    _passed = 0
    """How many steps passed in all: by it those are chosen that are timed."""
    _window: int | Literal["auto"] | None = None

    @property
    def window(self) -> int | Literal["auto"] | None:
        """Steps that end a window, "auto", or None: only `epoch` ends one. A number may be changed while recording."""
        return self._window

    @window.setter
    def window(self, length: int | Literal["auto"] | None) -> None:
        self._window = length
        self._nothing_passes()

    def _leaves_out(self, forward: Forward) -> bool:
        return self._faults.waiting or (forward.stepping and self._thinning.leaves_out)

    def _left_out(self, first: int, last: int) -> int:
        """Returns of how many steps, from the first to the last, nothing was recorded for either reason."""
        gaps = self._faults.spans(first, last)
        both = sum(self._thinning.left_out(*gap) for gap in gaps)
        missing = self._thinning.left_out(first, last) + self._faults.left_out(first, last) - both
        return min(missing, max(last - first + 1, 0))

    def _nothing_passes(self) -> None:
        """What comes next goes the long way: how many steps pass was found out for a window that is another now."""
        self._passing = self._going_on = 0

    def _let_pass(self) -> None:
        """A step has ended: find out how many of those to come pass, and lift the hooks where it is worth it.

        They stay on where steps followed no forward: parts of the model that are called by themselves are heard by
        these hooks alone.
        """
        self._passing = 0
        if not self._thinning.lasts or self._clock.unheard:
            self._watcher.attachment.wake()
        elif self._examples.unknown(TRAIN):  # The first forward that is left out in a window makes it so.
            step = self._clock.steps
            ends = self._windows.left(step, self.window) if self._observer.holding else _MOST
            self._passing = min(self._thinning.left, ends, _MOST)
            self._watcher.sleep()

    def _tell_passed(self, steps: int) -> None:
        """Tell which of the steps that ended passed, so many having ended in all."""
        self._passing = 0
        self._thinning.passed(steps - self._thinning.steps)

    def _forward_passes(self) -> bool:
        """The model is called in training, with gradients: note it, if that is all there is to do. Returns whether."""
        if not self._passing or self.forwards.labelled_now:
            return False
        if self._passed % _TIMED:
            return self._notes_forward()
        with self._watcher.stopwatch.times(_TIMED):
            return self._notes_forward()

    def _step_passes(self) -> bool:
        """An optimizer stepped: end the step if that is all there is to do, and return whether."""
        attachment = self._watcher.attachment
        if self._passing < 2 or not self.forwards.trained or not attachment.asleep or not attachment.attached:
            return False
        if self._passed % _TIMED:
            return self._passes()
        with self._watcher.stopwatch.times(_TIMED):
            return not self._journal.due() and self._passes()

    def _notes_forward(self) -> bool:
        self.forwards.trained = True
        self._observer.begin_step()
        return True

    def _passes(self) -> bool:
        if not self._clock.passes():
            return False
        self._passing -= 1
        self._passed += 1
        self.forwards.trained = False
        self._observer.pass_step()
        return True
