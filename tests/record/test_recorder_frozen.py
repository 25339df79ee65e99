"""What did not move is not called moved, and what moved is found: with a real recorder."""

import numpy as np
import pytest
import torch
from torch import nn

import icshift


def conv_network():
    return nn.Sequential(nn.Conv2d(1, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 36, 40))


def dense_network():
    return nn.Sequential(nn.Linear(64, 120), nn.Sigmoid(), nn.Linear(120, 80), nn.ReLU(), nn.Linear(80, 60))


@pytest.mark.some(1)
@pytest.mark.parametrize("build", [dense_network, conv_network])
def test_frozen_network_on_shuffled_data_has_not_moved(build, tmp_path):
    moved = np.concatenate([moved_of_frozen(build, seed, tmp_path / str(seed)) for seed in range(4)])
    assert len(moved) > 1000
    assert moved.mean() <= 0.05


def moved_of_frozen(build, seed, path):
    """Whether each unit of a frozen network was called moved, in every window and against both kinds of reference."""
    torch.manual_seed(seed)
    model = build()
    inputs = torch.randn(3000, 64) if build is dense_network else torch.randn(600, 1, 8, 8)
    with icshift.Recorder(model, path) as recorder:
        for _ in range(4):
            for batch in torch.randperm(len(inputs)).split(50):
                model(inputs[batch])
                recorder.step()
            recorder.epoch()
    run = icshift.open(path)
    return np.concatenate([run.drift(reference=reference)["moved"] for reference in ("previous", "first")])


@pytest.mark.some(1)
@pytest.mark.parametrize("seed", range(3))
def test_fresh_data_has_not_moved_either(seed, tmp_path):
    torch.manual_seed(seed)
    model = dense_network()
    with icshift.Recorder(model, tmp_path / "run") as recorder:
        for _ in range(4):
            for _ in range(40):
                model(torch.randn(60, 64))
                recorder.step()
            recorder.epoch()
    assert icshift.open(tmp_path / "run").drift()["moved"].mean() <= 0.05


@pytest.mark.parametrize("seed", range(3))
def test_one_unit_shifted_by_a_fifth_of_its_sd_is_found(seed, tmp_path):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 100))
    with icshift.Recorder(model, tmp_path / "run") as recorder:
        for window in range(2):
            for _ in range(100):
                model(torch.randn(50, 64))
                recorder.step()
            recorder.epoch()
            if window == 0:
                sd = icshift.Run(tmp_path / "run").windows().query("unit == 7")["sd"].item()
                with torch.no_grad():
                    model[0].bias[7] += 0.2 * sd
    drift = icshift.open(tmp_path / "run").drift()
    assert drift["n"].unique().tolist() == [5000]
    assert drift.set_index("unit")["moved"][7]
    assert drift["moved"].sum() <= 6
    assert drift.set_index("unit")["value"][7] == pytest.approx(0.2, abs=0.06)
    assert np.median(drift["value"]) < 0.05
