"""Going on with a copy of a model in the run of the model itself."""

from __future__ import annotations

from torch import nn

from icshift.record.recorder import Recorder


def follow(recorder: Recorder, model: nn.Module) -> None:
    """Record, from now on, another model of the same modules in place of the one before, which is let go.

    The window that is open goes on. The change of parameters over it counts from the new model's.
    """
    with recorder.stopwatch:
        recorder.model = model
        for part in recorder.parts:
            part.follow(model)
