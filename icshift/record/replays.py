"""Replaying the probe while a model is being recorded: once where a window ends, in every phase that was asked for."""

from __future__ import annotations

from contextlib import ExitStack

from torch import nn

from icshift.hooks.batch_norm import held_in_eval
from icshift.hooks.observer import Observer
from icshift.hooks.watcher import Watcher
from icshift.notice import notice
from icshift.record.forwards import Forwards
from icshift.record.probe import Probe, rehearse, replays, send
from icshift.runs.phases import PROBE_RUNNING


class Replays:
    """Sends a probe, if there is one, through a model, heard by its watcher alone; `observer` keeps what it shows.

    A probe that fails in the middle of a training is given up, with a notice.
    """

    def __init__(
        self, model: nn.Module, probe: Probe | None, observer: Observer, watcher: Watcher, forwards: Forwards
    ) -> None:
        self._model = model
        self._probe = probe
        self._observer = observer
        self._watcher = watcher
        self._forwards = forwards
        self._frozen: frozenset[nn.Module] = frozenset()
        self._done = False

    def follow(self, model: nn.Module) -> None:
        """Send the probe through another model from now on."""
        self._model = model

    def note_frozen(self) -> None:
        """Note which layers the training keeps in eval mode: they normalise by running averages in a probe too."""
        if self._model.training:
            self._frozen = held_in_eval(self._model)

    def rehearse(self) -> None:
        """Raise `RecordingError` if the probe does not pass through the model."""
        if self._probe is not None:
            rehearse(self._model, self._probe, self._frozen)

    def new_window(self) -> None:
        """Forget that the probe was replayed: a new window, or part of one, begins."""
        self._done = False

    def replay(self) -> None:
        """Send the probe, unless it was sent in this window already."""
        if self._probe is None or self._done:
            return
        self._done = True
        self._observer.restart_probe(self._probe.forwards)
        try:
            with ExitStack() as stack:
                if not self._watcher.attachment.attached:  # The window ends in a pause: its probe belongs to it.
                    stack.enter_context(self._watcher.listening())
                self._send(self._probe)
        except Exception as error:  # noqa: BLE001  The training goes on, without the probe.
            self._probe = None
            notice(f"icshift stopped replaying the probe: {error}")

    def _send(self, probe: Probe) -> None:
        for phase, mode in replays(self._model, probe, self._frozen):
            if phase == PROBE_RUNNING:
                self._observer.restart_probe(probe.forwards)  # The same places as in `probe`, to compare with.
            with mode, self._watcher.hearing(), self._forwards.labelled(phase):
                send(self._model, probe)
