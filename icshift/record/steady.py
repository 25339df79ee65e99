"""Steps that are recorded and are as those before: there is nothing to decide at their forwards, nor at their ends.

How many such steps follow is found out at the end of one that went the long way: no window ends with them, nothing is
measured, left out or written. Of a small network, deciding that anew for each of them takes longer than all that is
recorded of it. Whatever is not ordinary goes the long way, as every `_MOST`-th step does in any case.
"""

from __future__ import annotations

import os

from torch import Tensor, nn

from icshift.hooks.passage import Beginning
from icshift.record.forwards import TRAINED, Forward
from icshift.record.gradients import Gradients
from icshift.record.passing import Passing
from icshift.record.troubles import Troubles
from icshift.runs.phases import TRAIN

_MOST = 128
"""Steps until one goes the long way, at most. Every 32nd took a twentieth of a small network's step."""

_ROWS = 1 << 20
"""Rows of the step series, some 50 MB, that may come until it is looked whether they should be written."""


class Steady(Passing):
    """The part of a recorder that takes in steps the short way; all that it asks is the recorder's."""

    _clocked: bool
    _gradients: Gradients
    _process: int
    _troubles: Troubles

    def _let_go_on(self, *, heard: bool) -> None:
        """A step has ended: find out how many of those to come are as it was.

        None of these is the last of a window, nor the first. Of those that are left out, how many pass.
        """
        self._let_pass()
        free = heard and not (self._thinning.limited or self._gradients.waits or self._clock.unheard)
        left = self._windows.left(self._clock.steps, self.window) if free else 0
        most = min(_MOST, _ROWS // max(self._observer.units_held(), 1))
        self._going_on = max(min(left, most) - 1, 0)

    def _goes_on(self) -> bool:
        """Whether a forward in training may be as those before."""
        return self._going_on > 0 and not self._faults.waiting and not self.forwards.labelled_now

    def _began_again(self, part: nn.Module, given: Tensor) -> Forward | None:
        """The model is called in training, with gradients: returns the forward, if all that is to be done is done."""
        if not self._examples.take_again(TRAIN, part, given):
            return None
        self.forwards.trains(part)
        return TRAINED

    def _begins_again(self, given: Tensor) -> Beginning | None:
        """Returns what there is to know of a forward with this tensor, of which `_began_again` did all that was to be
        done."""
        counts = self._examples.counts(TRAIN, given)
        signs = self._faults, "waiting", False, self.forwards, "_label", None
        return None if counts is None else Beginning(signs, self, self.forwards, TRAINED, counts)

    def _ends_again(self) -> bool:
        """An optimizer stepped: end the step if it is as those before, and return whether."""
        attachment = self._watcher.attachment
        if not self.forwards.trained or not attachment.fresh or os.getpid() != self._process:
            return False
        if self._faults.waiting or self._faults.over or self._journal.late():
            return False
        with self._watcher.guard, self._watcher.stopwatch:
            if not self._clock.passes():
                return False
            self._going_on -= 1
            try:
                self._observer.tick(self._clock.steps - 1, stepping=True)
            except Exception as error:  # noqa: BLE001  It must not reach the training.
                self._troubles.met(error)
            self.forwards.next_step()
            self._clocked = True
        return True
