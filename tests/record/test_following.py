"""A copy goes on in the run of the model before it."""

import copy

import torch
from torch import nn

import icshift
from icshift.record.following import follow


def test_a_copy_is_recorded_in_place_of_the_model(tmp_path):
    model = nn.Linear(2, 1)
    learner = copy.deepcopy(model)
    with icshift.Recorder(model, tmp_path / "run") as recorder:
        for one in (model, learner):
            if one is learner:
                follow(recorder, learner)
            optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
            one(torch.ones(4, 2)).sum().backward()
            optimizer.step()
        model(torch.ones(4, 2))
    assert not model._forward_hooks
    run = icshift.open(tmp_path / "run")
    assert run.manifest["steps"] == 2
    assert set(run.windows()["count"]) == {8}
