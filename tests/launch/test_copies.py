"""Copies that take one another's place are one run; others are runs of their own."""

import copy
from pathlib import Path

import torch
from torch import nn

import icshift
from icshift.launch.launcher import Launcher, Settings


def fit(model, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(4, 2)).square().sum().backward()
        optimizer.step()


def test_learners_of_many_tasks_are_one_run(tmp_path):
    launcher = Launcher(Settings(Path(tmp_path), window=10))
    with launcher.recording():
        model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        for _ in range(30):
            learner = copy.deepcopy(model)
            fit(learner, 5)
    assert list(launcher.recorders) == ["learner"]
    assert launcher.problems == []
    assert launcher.copies.counts() == {"learner": 30}
    assert launcher.models.scans == 0
    run = icshift.open(tmp_path / "learner")
    assert run.manifest["steps"] == 150
    counts = run.windows().query("phase == 'train'").groupby("window")["count"].unique()
    assert [found.tolist() for found in counts] == [[40]] * 15


def test_an_ensemble_of_copies_is_as_many_runs(tmp_path):
    launcher = Launcher(Settings(Path(tmp_path), window=10))
    with launcher.recording():
        base = nn.Linear(2, 1)
        for member in [copy.deepcopy(base) for _ in range(3)]:
            fit(member, 5)
    assert len(launcher.recorders) == 3
