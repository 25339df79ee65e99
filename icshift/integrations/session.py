"""A recorder that a trainer's events enter and leave, and that is left even where the trainer says no goodbye."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icshift.errors import RecordingError
from icshift.model.names import unwrapped
from icshift.notice import notice
from icshift.record.recorder import Recorder

CUT_SHORT = RecordingError("the trainer did not say that the training ended")
"""Stands for an exception that nobody showed us; as after any, no probe is replayed."""


class Session:
    """Records from `start` to `end`, and until then a window between any two calls of `next_window`.

    A session that is dropped, or alive when the process ends, ends by itself. Only `start` raises: a recorder's
    options are checked before the training, and nothing that fails later ends it.
    """

    def __init__(self, path: str | Path, options: Mapping[str, Any]) -> None:
        self._path = path
        self._options = options
        self._recorder: Recorder | None = None

    @property
    def recording(self) -> bool:
        """Whether a training has started and not ended."""
        return self._recorder is not None

    def start(self, model: Any) -> None:
        """Attach to the model. A training that is begun again without having ended goes on in a new window."""
        if self._recorder is not None and self._recorder.model is unwrapped(model):
            self.next_window()
            return
        self.end(CUT_SHORT)
        recorder = Recorder(model, self._path, **self._options)
        recorder.__enter__()
        self._recorder = recorder
        self._finalizer = weakref.finalize(self, _leave, recorder, CUT_SHORT)

    def next_window(self) -> None:
        """End the window, unless the options let steps decide on windows."""
        if self._recorder is not None and not self._options.get("window"):
            self._recorder.epoch()

    def end(self, error: BaseException | None = None) -> None:
        """Detach and finish the recording; once is enough and more do nothing."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            self._finalizer.detach()
            _leave(recorder, error)


def _leave(recorder: Recorder, error: BaseException | None) -> None:
    try:
        recorder.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except RecordingError as nothing:
        notice(str(nothing), stacklevel=5)
