"""Compiled models and their trainings, what the compiler counts of them, and when two runs of them are the same."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests import laws
from tests.oracles.hooks import ledger

LOGGERS = ("torch", "torch._dynamo", "torch._functorch", "torch._inductor")


class Heard(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        # This one is told of every optimizer that is compiled.
        if not record.getMessage().startswith("Profiler record function"):
            self.messages.append(record.getMessage())


def graphs():
    return counters["stats"]["unique_graphs"]


def breaks():
    return sum(counters["graph_break"].values())


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x):
        return x + self.up(self.norm(x))


class Network(nn.Module):
    """It uses its block twice, and its activation three times."""

    def __init__(self, block=None):
        super().__init__()
        self.stem, self.norm, self.act = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()
        self.block, self.head = block or Block(), nn.Linear(8, 4)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        x = self.act(self.block(x))
        return self.head(self.act(self.block(x)))


class Small(nn.Module):
    """For what does not need more: a graph of it is made in a fifth of the time."""

    def __init__(self):
        super().__init__()
        self.stem, self.act, self.head = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.act(self.stem(x)))


def network(build=Network):
    torch.manual_seed(3)
    return build()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def batch(rows=12):
    return torch.randn(rows, 6)


def learn(call, optimizer, steps=3, rows=12):
    for _ in range(steps):
        optimizer.zero_grad()
        call(batch(rows)).square().mean().backward()
        optimizer.step()


def whole_training(model, call, recorder=None):
    """Steps, evaluations between them, the end of a window, and a last batch that is smaller; gives its losses."""
    optimizer, random = sgd(model), torch.Generator().manual_seed(5)
    losses = []
    for step in range(8):
        optimizer.zero_grad()
        loss = call(torch.randn(5 if step == 7 else 12, 6, generator=random)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 3 == 1:
            model.eval()
            with torch.no_grad():
                call(torch.randn(9, 6, generator=random))
            model.train()
        if step == 3 and recorder:
            recorder.epoch("first half")
    return losses


def recording(path, compiled=lambda model: model, build=Network, **options):
    model = network(build)
    with Recorder(model, path, **{"sites": "*", "samples": "all", **options}) as recorder:
        losses = whole_training(model, compiled(model), recorder)
    return StoredRun(path), losses, model


def assert_same(found, expected, tolerance=0.0):
    """Two runs hold the same, or (with a tolerance) nearly the same numbers."""
    for site, other in zip(found.sites, expected.sites, strict=True):
        assert (site.name, site.type, site.axis, site.units) == (other.name, other.type, other.axis, other.units)
    for window, other in zip(found.window_list, expected.window_list, strict=True):
        change = pytest.approx(other.parameter_change, rel=1e-5)
        assert window == replace(other, parameter_change=change, inputs=window.inputs)
        # Of the arguments of a compiled forward nothing is known, or what is known without.
        assert all(seen in (None, other.seen(phase)) for phase, seen in window.inputs.items())
    assert found.phases == expected.phases
    assert ledger(found) == ledger(expected)
    pd.testing.assert_frame_equal(
        found.steps(), expected.steps(), check_exact=not tolerance, rtol=tolerance, atol=tolerance
    )
    for window in expected.window_list:
        for phase in expected.phases:
            for site in expected.sites:
                one, other = (run.distribution(phase, site.name, window.index) for run in (found, expected))
                assert (one is None) == (other is None)
                if one is None:
                    continue
                if tolerance:
                    assert one.count.tolist() == other.count.tolist()
                    assert one.sampled.tolist() == other.sampled.tolist()
                    for name in ("mean", "std", "min", "max", "values"):
                        ours, theirs = getattr(one, name), getattr(other, name)
                        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=site.name)
                else:
                    laws.assert_identical(one, other)
