"""Listening to calls while there is an optimizer that does not know what it trains."""

import gc

import pytest
import torch
from torch import nn

from icshift.launch.unbuilt import Unbuilt


class Optimizer:
    """Anything that can be referred to weakly."""


@pytest.fixture
def called():
    return []


@pytest.fixture
def unbuilt(called):
    listening = Unbuilt(lambda module, _: called.append(module))
    yield listening
    listening.close()


def test_calls_are_told_until_every_optimizer_is_built(unbuilt, called):
    layer, one, other = nn.Linear(2, 1), Optimizer(), Optimizer()
    layer(torch.ones(1, 2))
    unbuilt.add(one)
    unbuilt.add(other)
    layer(torch.ones(1, 2))
    unbuilt.built(one)
    layer(torch.ones(1, 2))
    assert called == [layer, layer]
    unbuilt.built(other)
    layer(torch.ones(1, 2))
    assert called == [layer, layer]


def test_an_optimizer_that_is_gone_is_waited_for_no_more(unbuilt, called):
    unbuilt.add(Optimizer())
    gc.collect()
    nn.Linear(2, 1)(torch.ones(1, 2))
    assert called == []
