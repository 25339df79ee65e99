"""What a recording is asked for: refused where it cannot be recorded, and kept as it was said."""

import pytest
import torch
from torch import nn

from icshift.errors import RecordingError
from icshift.model.sites import Sites
from icshift.record.probe import Probe
from icshift.record.settings import as_samples, as_window, asked_for


@pytest.mark.parametrize("samples", [0, 1, -3, 2.5, "some", None, float("nan"), True])
def test_samples_are_a_number_of_values_or_all(samples):
    with pytest.raises(RecordingError, match=r'samples is .*: expected a whole number from 2, or "all"'):
        as_samples(samples)


@pytest.mark.parametrize("window", [0, -1, 1.5, "epoch", True])
def test_a_window_has_steps(window):
    with pytest.raises(RecordingError, match=r'window is .*: expected a whole number from 1, or "auto", or None'):
        as_window(window)


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
