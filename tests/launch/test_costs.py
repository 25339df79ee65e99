"""What is told is the whole: every part of it is counted, and none twice."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from icshift.hooks.stopwatch import Stopwatch
from icshift.launch.costs import Costs
from icshift.launch.launcher import Launcher, Settings

EPOCHS, BATCHES = 3, 4


def train(*, fails: bool = False) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(torch.randn(8, 3)), batch_size=8 // BATCHES)
    for epoch in range(EPOCHS):
        for (batch,) in loader:
            model(batch).sum().backward()
            optimizer.step()
            if fails and epoch == 1:
                raise RuntimeError("out of luck")


@pytest.fixture
def launched(tmp_path):
    launcher = Launcher(Settings(tmp_path))
    with launcher.recording():
        train()
    return launcher


def watches(costs: Costs) -> list[Stopwatch]:
    return [costs.once, costs.steps, *costs.recorders]


def told(costs: Costs) -> float:
    spent = costs.spent
    return spent.once + spent.training


def test_the_parts_sum_up_to_what_is_told(launched):
    costs = launched.costs
    seconds = sum(watch.seconds for watch in watches(costs))
    recorder = costs.recorders[0]
    assert told(costs) == pytest.approx(seconds + recorder.blocks * recorder.beside)
    costs.once.seconds += 2.0
    assert told(costs) == pytest.approx(2.0 + seconds + recorder.blocks * recorder.beside)


def test_every_call_of_ours_is_counted(launched):
    steps = EPOCHS * BATCHES
    # Two layers, the beginning and the end of a forward, and the step.
    assert launched.costs.recorders[0].blocks == steps * 5
    # Before and after a step; the beginning of a pass, its batches, and the end.
    assert launched.costs.steps.blocks == steps * 2 + EPOCHS * (BATCHES + 2)
    # The optimizer is made, and the recorder closed.
    assert launched.costs.once.blocks == 2


def test_all_is_told_of_a_training_that_fails(tmp_path):
    launcher = Launcher(Settings(tmp_path))
    with pytest.raises(RuntimeError, match="out of luck"), launcher.recording():
        train(fails=True)
    spent = launcher.costs.spent
    assert spent.whole
    assert min(spent.once, spent.training) > 0
    assert launcher.costs.recorders[0].blocks == (BATCHES + 1) * 5


def test_what_a_recorder_took_that_recorded_nothing_counts(tmp_path):
    launcher = Launcher(Settings(tmp_path))
    with launcher.recording():
        never_called = nn.Linear(2, 1)
        torch.optim.SGD(never_called.parameters(), lr=0.01)
    assert not launcher.recorders
    assert launcher.costs.recorders[0].seconds > 0


def test_closing_is_once_and_what_came_before_is_training():
    costs, recorder = Costs(), Stopwatch()
    costs.recorders.append(recorder)
    recorder.seconds, recorder.blocks, recorder.beside = 3.0, 10, 0.1
    assert costs.spent.training == 4.0
    costs.training_ends()
    recorder.seconds = 5.0
    assert (costs.spent.once, costs.spent.training) == (2.0, 4.0)


def test_what_is_not_known_is_not_all():
    costs, recorder = Costs(), Stopwatch()
    assert costs.spent.whole
    costs.recorders.append(recorder)
    assert not costs.spent.whole
