"""What a recording is asked for: refused where it cannot be recorded, and kept as it was said."""

import pytest
import torch
from torch import nn

from icshift.errors import RecordingError
from icshift.model.sites import Sites
from icshift.record.probe import Probe
from icshift.record.settings import asked_for, refuse_settings


@pytest.mark.parametrize("samples", [0, 1, -3, 2.5, "some", None, float("nan")])
def test_samples_are_a_number_of_values_or_all(samples):
    with pytest.raises(RecordingError, match=r'samples must be "all" or at least 2 values'):
        refuse_settings(samples, None)


@pytest.mark.parametrize("window", [0, -1, 1.5, "epoch"])
def test_a_window_has_steps(window):
    with pytest.raises(RecordingError, match="window must be at least 1 step"):
        refuse_settings(64, window)


def test_they_are_kept_as_they_were_said():
    model, probe = nn.Linear(3, 2), Probe(torch.ones(5, 3))
    plain = asked_for(model, "all", "auto", Sites(), None, None)
    assert plain == {
        "samples": "all", "window_steps": None, "max_units": 1024, "max_total_units": 65_536, "max_step_units": 64,
        "probe_examples": 0, "probe_fingerprint": None,
        "probe_statistics": None, "seed": plain["seed"],
    }  # fmt: skip
    probed = asked_for(nn.Sequential(model, nn.BatchNorm1d(2)), 64, 7, Sites(max_units=9), probe, 0.03)
    assert (probed["window_steps"], probed["max_units"], probed["probe_examples"]) == (7, 9, 5)
    assert probed["probe_fingerprint"] == probe.fingerprint
    assert probed["overhead_budget"] == 0.03
    assert probed["probe_statistics"] == "own inputs"
