"""What a recorder measures with gradients is asked for while it records; what it finds is in `test_gradients.py`."""

import pytest
import torch
from torch import nn

import icshift
from icshift.errors import RecordingError


def test_nothing_is_measured_before_the_recording(tmp_path):
    model = nn.Linear(2, 1)
    recorder = icshift.Recorder(model, tmp_path / "run")
    for measure in (recorder.gradient_shift, recorder.smoothness):
        with pytest.raises(RecordingError, match="gradients are measured while recording"):
            measure(lambda: model(torch.ones(1, 2)).sum())
