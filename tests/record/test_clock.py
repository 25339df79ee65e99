"""Which steps of optimizers count, with forwards that are heard and without."""

import pytest
import torch
from torch import nn

from icshift.record.clock import Clock


@pytest.fixture
def model():
    return nn.Sequential(*[nn.Linear(2, 2) for _ in range(12)])


def backward(part, *, to_none=True):
    part.zero_grad(set_to_none=to_none)
    sum(parameter.square().sum() for parameter in part.parameters()).backward()


@pytest.mark.parametrize("to_none", [True, False])
def test_of_several_steps_on_the_same_gradients_the_first_ends_the_step(model, to_none):
    clock = Clock(model)
    for heard in (True, True, False, False, True):
        backward(model, to_none=to_none)
        assert clock.ends(heard=heard)
        assert not clock.ends(heard=False)
        assert not clock.ends(heard=False)
    assert (clock.steps, clock.unheard) == (5, 2)


def test_layers_that_learn_one_by_one_step_one_by_one(model):
    clock = Clock(model)
    for layer in [*model, *model]:
        backward(layer)
        assert clock.ends(heard=False)
    assert (clock.steps, clock.unheard) == (24, 24)
    assert clock.ends(heard=True)
    model.zero_grad()
    backward(model[3])
    assert clock.ends(heard=False)


def test_a_step_without_gradients_is_none_unless_a_forward_was(model):
    clock = Clock(model)
    assert [clock.ends(heard=heard) for heard in (False, True, False, True)] == [False, True, False, True]
    assert (clock.steps, clock.unheard) == (2, 0)


def test_gradients_may_be_made_by_hand(model):
    clock = Clock(model)
    for _ in range(2):
        with torch.inference_mode():
            gradient = torch.ones(2, 2)
        model[0].weight.grad = gradient
        assert clock.ends(heard=False)
    assert clock.unheard == 2
