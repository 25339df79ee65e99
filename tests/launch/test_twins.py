"""Models of the same layers are recorded once."""

import pytest
import torch
from torch import nn

import icshift
from icshift.launch.launcher import Launcher, Settings
from icshift.launch.twins import called_through_another
from icshift.record.recorder import Recorder


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc2(self.fc1(x).relu())


@pytest.mark.parametrize("called", ["traced", "model"])
def test_of_a_model_and_its_trace_the_one_that_is_called_is_recorded(tmp_path, called):
    launcher = Launcher(Settings(tmp_path / "runs"))
    with launcher.recording():
        model = Net()
        traced = torch.fx.symbolic_trace(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            {"traced": traced, "model": model}[called](torch.ones(5, 4)).sum().backward()
            optimizer.step()
    other = {"traced": "model", "model": "traced"}[called]
    assert launcher.problems == [f"{other} has the layers of {called}, which alone was called"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == list(launcher.recorders) == [called]
    assert icshift.open(tmp_path / "runs" / called).manifest["steps"] == 3


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("called", "expected"), [("one", {}), ("other", {"one": "other"}), ("one other", {}), ("", {})]
)
def test_models_that_are_both_called_or_share_only_some_layers_are_two(tmp_path, called, expected):
    shared, own = nn.Linear(2, 2), nn.Linear(2, 2)
    models = {"one": nn.Sequential(shared), "other": nn.Sequential(shared, own)}
    recorders = {name: Recorder(model, tmp_path / name) for name, model in models.items()}
    with recorders["one"], recorders["other"]:
        shared(torch.ones(3, 2))
        own(torch.ones(3, 2))
        for name in called.split():
            models[name](torch.ones(3, 2))
    assert called_through_another(recorders) == expected
