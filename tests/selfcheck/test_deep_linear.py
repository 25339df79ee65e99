"""The deep linear network descends by gradients alone, and its checks fail where they should."""

import numpy as np
import pytest
import torch

from icshift.gradients.gradient_shift import LayerShift
from icshift.gradients.smoothness import Smoothness
from icshift.selfcheck import deep_linear

NAN = float("nan")


def descent(*, loss, l2, cosine, norm=1e4, beta=2.0):
    shift = LayerShift("fc17", 100, l2, cosine, norm, 1.0)
    around = Smoothness(1e-7, loss, 1.0, 0.0, 1.0, 0.0, 1.0, beta, 1.0, ())
    return deep_linear.Descent(loss, (shift,) * 4, (around,) * 4)


def test_gradient_shift():
    judge = deep_linear.judge_gradient_shift
    plain = (descent(loss=5e4, l2=30, cosine=0.999),)
    normalised = (descent(loss=2e4, l2=2e4, cosine=-0.2),)
    assert judge(plain, normalised).passed
    assert not judge(normalised, plain).passed
    assert not judge(plain, plain).passed
    assert not judge(plain, (descent(loss=6e4, l2=2e4, cosine=-0.2),)).passed
    assert not judge(plain, (descent(loss=2e4, l2=290, cosine=-0.2),)).passed
    assert not judge(plain, (descent(loss=2e4, l2=2e4, cosine=0.75),)).passed
    assert not judge((descent(loss=5e4, l2=30, cosine=0.7),), normalised).passed
    assert not judge(plain, (descent(loss=2e4, l2=2e4, cosine=NAN),)).passed
    assert not judge(plain, (descent(loss=2e4, l2=2e4, norm=3e6, cosine=-0.2),)).passed
    assert not judge(plain, (descent(loss=NAN, l2=2e4, cosine=-0.2),)).passed


def test_one_network_that_learns_no_faster_does_not_decide():
    plain = (descent(loss=5e4, l2=30, cosine=0.999),) * 4
    normalised = tuple(descent(loss=loss, l2=2e4, cosine=-0.2) for loss in (9e5, 2e4, 3e4, 4e4))
    assert deep_linear.judge_gradient_shift(plain, normalised).passed


def test_effective_beta():
    def judged(beta):
        return deep_linear.judge_smoothness((descent(loss=1.0, l2=1.0, cosine=1.0, beta=beta),)).passed

    assert judged(1.97)
    assert not any(map(judged, (0.003, 1.75, 2.45, 2e7, NAN)))
    assert not deep_linear.judge_smoothness(()).passed


def test_networks_on_their_way_to_the_plateau_do_not_count():
    on_its_way, there = (descent(loss=1.0, l2=1.0, cosine=1.0, beta=beta) for beta in (0.01, 2.0))
    assert deep_linear.judge_smoothness((on_its_way, there)).passed
    assert not deep_linear.judge_smoothness((on_its_way, on_its_way, there)).passed
    assert not deep_linear.judge_smoothness((on_its_way,)).passed


@pytest.mark.thorough
def test_a_descent_is_gradient_descent_and_measures_layer_17(monkeypatch):
    """The loss without measurements is bit for bit that with them."""
    monkeypatch.setattr(deep_linear, "PLATEAU", 30)
    found = deep_linear.descend(batch_norm=True, seed=3, steps=60)
    assert len(found.shifts) == 3
    assert {shift.layer for shift in found.shifts} == {"fc17"}
    assert len(found.smoothness) == 1
    torch.manual_seed(3)
    inputs, target = torch.randn(1000, 10), torch.randn(10, 10)
    model = deep_linear.network(batch_norm=True)
    losses = []
    for _ in range(60):
        loss = (model(inputs) - inputs @ target.T).square().sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        losses.append(loss.item())
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(deep_linear.RATE * gradient)
    assert found.loss == pytest.approx(np.mean(losses[-6:]), rel=1e-6)
