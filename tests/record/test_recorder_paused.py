"""A pause of a recording: what goes on within, and what comes after."""

import shutil

import pytest
import torch
from torch import nn

import icshift

X = torch.ones(6, 3)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())


def step(model, optimizer):
    model(X).square().sum().backward()
    optimizer.step()


def test_the_probe_of_a_window_that_ends_in_a_pause_is_recorded(tmp_path):
    optimizer = torch.optim.SGD((model := network()).parameters(), lr=0.1)
    with icshift.Recorder(model, tmp_path / "run", probe=icshift.Probe(X[:2], train_mode=True)) as recorder:
        for _ in range(2):
            step(model, optimizer)
            with recorder.paused():
                model(X)
                recorder.epoch()
                assert not model[0]._forward_hooks
    counts = icshift.open(tmp_path / "run").windows().groupby(["phase", "window"])["count"].unique()
    assert {key: list(count) for key, count in counts.items()} == {
        (phase, window): [6 if phase == "train" else 2]
        for phase in ("probe", "probe-train", "train")
        for window in (1, 2)
    }


def test_a_measurement_in_a_pause_adds_nothing(tmp_path):
    optimizer = torch.optim.SGD((model := network()).parameters(), lr=0.1)
    with icshift.Recorder(model, tmp_path / "run") as recorder:
        step(model, optimizer)
        with recorder.paused():
            icshift.hessian(icshift.Objective(model, lambda: model(X).square().sum()), top=1)
            icshift.gradient_shift(icshift.Objective(model, lambda: model(X).square().sum()), optimizer)
    assert recorder.steps == 1
    assert (icshift.open(tmp_path / "run").windows()["count"] == 6).all()


@pytest.mark.filterwarnings("ignore:icshift stopped recording")
def test_a_recording_that_failed_in_a_pause_does_not_go_on(tmp_path):
    optimizer = torch.optim.SGD((model := network()).parameters(), lr=0.1)
    with icshift.Recorder(model, path := tmp_path / "run") as recorder:
        step(model, optimizer)
        with recorder.paused():
            shutil.rmtree(path)
            path.write_text("somebody else's")
            recorder.epoch()
        assert not model[0]._forward_hooks
        step(model, optimizer)
    assert recorder.steps == 1
    assert path.read_text() == "somebody else's"
