"""A recorder that the events of a trainer start and end, and that ends by itself where the last event never comes."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icshift.errors import RecordingError
from icshift.model.names import unwrapped
from icshift.record.logged import is_number
from icshift.record.recorder import Recorder
from icshift.record.windows import AUTO

CUT_SHORT = RecordingError("an end that the trainer did not tell")
"""Given to the recorder in place of an exception that the trainer kept to itself: after one, no probe is replayed."""


class Session:
    """Records a model from `start` to `end`; `next_window` ends a window and begins another.

    A session that is dropped, or alive when the process ends, ends by itself. Only `start` raises: a recorder's
    options are checked before the training, and nothing that fails later ends the training.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     session = Session(Path(folder) / "run", {})
    ...     model = torch.nn.Linear(2, 1)
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     session.start(model)
    ...     model(torch.ones(4, 2)).sum().backward()
    ...     optimizer.step()
    ...     session.end()
    ...     sorted(file.name for file in (Path(folder) / "run").iterdir())
    ['run.json', 'steps', 'windows']
    """

    def __init__(self, path: str | Path, options: Mapping[str, Any]) -> None:
        self._path = Path(path).absolute()  # The training may go to another directory.
        self._options = options
        self._recorder: Recorder | None = None

    @property
    def recording(self) -> bool:
        """Whether a training has started and not ended."""
        return self._recorder is not None

    def start(self, model: Any, steps: int = 0) -> None:
        """Begins to record a model. Of a model that is recorded already, a new window begins.

        `steps` are those that the trainer has behind it, for the option `resume`. Raises what `Recorder` raises for its
        options and its path.
        """
        if self._recorder is not None and self._recorder.model is unwrapped(model):
            self.next_window()
            return
        self.end(CUT_SHORT)
        options = {"window": AUTO, **self._options}
        if options.get("resume") is True:
            options["resume"] = steps
        recorder = Recorder(model, self._path, **options)
        recorder.start()
        self._recorder = recorder
        self._finalizer = weakref.finalize(self, recorder.close, CUT_SHORT)

    def next_window(self) -> None:
        """Ends the window, unless the option `window` gives its number of steps; does nothing before `start`."""
        if self._recorder is not None and not isinstance(self._recorder.window, int):
            self._recorder.epoch()

    def log(self, values: Mapping[str, Any]) -> None:
        """Keeps those of a trainer's values that are numbers; does nothing before `start` and after `end`."""
        if self._recorder is not None:
            numbers = {str(name): value for name, value in values.items() if is_number(value)}
            self._recorder.log(**numbers)

    def end(self, error: BaseException | None = None) -> None:
        """Finishes the recording, with the exception that ended the training if one did. A second call does nothing."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            self._finalizer.detach()
            recorder.close(error)
