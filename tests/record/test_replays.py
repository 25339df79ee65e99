"""A probe is replayed once where a window ends, however often it is asked for."""

import torch
from torch import nn

from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun


def test_a_window_has_one_replay(tmp_path):
    model, inputs = nn.Linear(4, 3), torch.randn(10, 4)
    with Recorder(model, tmp_path / "run", window=2, probe=Probe(inputs)) as recorder:
        for _ in range(4):
            model(torch.randn(5, 4))
            recorder.step()
        recorder.epoch()
    run = StoredRun(tmp_path / "run")
    assert [run.distribution("probe", "(model)", window).count[0] for window in (1, 2)] == [10, 10]


def test_provisional_windows_have_one_each_once_they_are_long_enough(tmp_path):
    model, inputs = nn.Linear(4, 3), torch.randn(10, 4)
    with Recorder(model, tmp_path / "run", window="auto", probe=inputs) as recorder:
        for _ in range(100):
            model(torch.randn(5, 4))
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert len(run.window_list) == 13
    assert all(run.distribution("probe", "(model)", window.index).count[0] == 10 for window in run.window_list)
