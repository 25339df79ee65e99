"""Trainings that began alike, and those that did not, as somebody meets them who compares two runs."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from icshift.analysis.ancestry import share_an_ancestor
from icshift.api import open as opened
from icshift.errors import SelectionError
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))


def train(path: Path, model: nn.Module, rate: float = 0.1) -> StoredRun:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with Recorder(model, path, probe=X) as recorder:
        for _ in range(2):
            for x in X.split(10):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
            recorder.epoch()
    return StoredRun(path)


def test_two_learning_rates_from_the_same_weights_are_compared_unit_by_unit(tmp_path: Path) -> None:
    run, other = train(tmp_path / "run", network(1), 0.01), train(tmp_path / "other", network(1), 0.5)
    drifts = opened(run.path).drift(reference=f"run:{other.path}", phase="probe")
    assert drifts["value"].max() > 0
    assert share_an_ancestor(run, train(tmp_path / "copied", copy.deepcopy(network(1))))


def test_networks_of_two_seeds_are_not(tmp_path: Path) -> None:
    run, other = train(tmp_path / "run", network(1)), train(tmp_path / "other", network(2))
    with pytest.raises(SelectionError, match="not known to share"):
        opened(run.path).drift(reference=f"run:{other.path}")
    assert len(opened(run.path).drift(reference=f"paired-run:{other.path}"))
    assert len(opened(run.path).unordered(other.path))


def test_a_training_that_goes_on_is_known_by_its_first_weights(tmp_path: Path) -> None:
    model = network(1)
    before = train(tmp_path / "before", model)
    after = train(tmp_path / "after", model)
    assert before.manifest["initial_weights"] != after.manifest["initial_weights"]
    assert share_an_ancestor(before, after)
    assert share_an_ancestor(after, before)


@pytest.mark.parametrize("lazy", [True, False])
def test_weights_that_are_not_there_yet_are_not_known(lazy: bool, tmp_path: Path) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(3) if lazy else nn.Linear(6, 3))

    with Recorder(model := model(), tmp_path / "run") as recorder:
        model(X)
        recorder.step()
    assert (StoredRun(tmp_path / "run").manifest["initial_weights"] is None) is lazy
