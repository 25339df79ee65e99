"""A model that something runs through is left as it was: modes, attributes, buffers, parameters, random states."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from icshift.model.undisturbed import kept, lent, lists_kept, undisturbed


class Restless(nn.Module):
    """Changes in every forward whatever a module can change of itself."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout()
        self.penalties = []
        self.calls = 0
        self.register_buffer("grows", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.latest = x
        self.penalties.append(float(x.sum()))
        self.grows.resize_(self.calls + 1).fill_(self.calls)
        return self.drop(self.norm(self.fc(x)))


def state(model):
    values = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    return values, modes, model.calls, hasattr(model, "latest")


def assert_same(after, before):
    assert after[1:] == before[1:]
    assert all(torch.equal(value, before[0][name]) for name, value in after[0].items())


def draws():
    return random.random(), float(np.random.random()), float(torch.rand(1))


@pytest.mark.parametrize("block", [undisturbed, kept, lent])
@pytest.mark.parametrize("error", [None, KeyError])
def test_a_forward_within_leaves_the_model_as_it_was(block, error):
    model = Restless()
    model.norm.eval()
    before = state(model)
    try:
        with block(model):
            model.train()(torch.randn(4, 3))
            model.eval()(torch.randn(4, 3))
            assert model.calls == 2
            if error:
                raise error
    except KeyError:
        assert error
    assert_same(state(model), before)


def test_random_states_are_as_if_nothing_had_been_drawn():
    model = Restless()
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    expected = draws()
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    with undisturbed(model):
        draws()
        model(torch.randn(4, 3))
    assert draws() == expected


def test_nothing_within_records_gradients():
    model = Restless()
    with undisturbed(model):
        assert not model(torch.randn(4, 3)).requires_grad
    assert model(torch.randn(4, 3)).requires_grad


def test_a_graph_that_waits_for_its_backward_still_can():
    model = Restless()
    loss = model(torch.randn(4, 3)).square().sum()
    with undisturbed(model):
        model(torch.randn(4, 3))
    loss.backward()
    assert model.fc.weight.grad is not None


def test_buffers_stay_the_same_tensors():
    model = Restless()
    buffer, address = model.norm.running_mean, model.norm.running_mean.data_ptr()
    with undisturbed(model):
        model(torch.randn(4, 3))
    assert model.norm.running_mean is buffer
    assert buffer.data_ptr() == address


def test_models_that_are_not_initialised_yet_are_left_alone():
    model = nn.Sequential(nn.LazyBatchNorm1d(), nn.LazyLinear(2))
    with undisturbed(model):
        model.eval()
    assert model.training
    assert nn.parameter.is_lazy(model[1].weight)


def test_lists_get_their_items_back_and_stay_the_same_lists():
    model = Restless()
    model.penalties.append("before")
    held = model.penalties
    with lists_kept(model):
        model(torch.randn(4, 3))
        assert len(held) == 2
    assert model.penalties is held
    assert held == ["before"]


def test_a_model_that_is_lent_gets_its_weights_and_precision_back():
    model = Restless()
    before, weight = state(model), model.fc.weight
    with lent(model):
        model.double()
        model.fc.weight.add_(1)
        assert model.fc.weight.dtype == torch.float64
    assert_same(state(model), before)
    assert model.fc.weight is weight
    assert weight.dtype == torch.float32
