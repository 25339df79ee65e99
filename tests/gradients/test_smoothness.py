"""Smoothness along the gradient against closed forms and against autograd on copies."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icshift.errors import MeasurementError
from icshift.gradients.objective import Objective
from icshift.gradients.smoothness import STEPS, Smoothness, smoothness


class Vector(nn.Module):
    def __init__(self, *values: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(values, dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.x


def test_a_quadratic_has_its_closed_form() -> None:
    """L = x'Hx/2: L(x - a g) = L - a g'g + a^2 g'Hg/2 and beta = |Hg|/|g|, wherever along the line."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((5, 5))
    hessian, start = root @ root.T, rng.standard_normal(5)
    model = Vector(*start)
    found = smoothness(Objective(model, lambda: model() @ torch.from_numpy(hessian) @ model() / 2), 0.03)

    g = hessian @ start
    along = np.array(STEPS) * 0.03
    losses = start @ hessian @ start / 2 - along * (g @ g) + along**2 * (g @ hessian @ g) / 2
    distances = along * np.linalg.norm(hessian @ g)
    assert [point.step for point in found.points] == list(STEPS) == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    np.testing.assert_allclose([point.loss for point in found.points], losses, rtol=1e-12)
    np.testing.assert_allclose([point.distance for point in found.points], distances, rtol=1e-12)
    expected = (start @ g / 2, np.linalg.norm(g), losses.min(), losses.max(), distances.min(), distances.max())
    measured = (
        *(found.loss, found.gradient_norm, found.loss_min, found.loss_max),
        *(found.predictiveness_min, found.predictiveness_max),
    )
    np.testing.assert_allclose(measured, expected, rtol=1e-12)
    assert found.beta_rate == pytest.approx(0.03 * np.linalg.norm(hessian @ g) / np.linalg.norm(g), rel=1e-12)
    assert found.rate == 0.03


def test_beta_names_the_step_that_attained_it() -> None:
    """The shortest for |x|^3/3, whose curvature falls towards 0; the longest for x^4/4, when it overshoots."""
    model = Vector(1.0)
    cubic = smoothness(Objective(model, lambda: model().abs().pow(3).sum() / 3), 0.1, steps=[1, 3, 2])
    assert cubic.beta_step == 1
    assert cubic.beta_rate == pytest.approx(1 - 0.9**2)
    quartic = smoothness(Objective(model, lambda: (model() - 0.9).pow(4).sum() / 4), 1000, steps=[1, 3, 2])
    assert quartic.beta_step == 3
    assert quartic.beta_rate == pytest.approx(abs((0.1 - 3 * 1000 * 0.1**3) ** 3 / 0.1**3 - 1) / 3)


def test_a_small_net_equals_autograd_on_copies() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.4), nn.Linear(8, 3), nn.Linear(3, 3)
    )
    model[5].requires_grad_(False)
    inputs, classes = torch.randn(20, 4), torch.arange(20) % 3
    drawn = torch.get_rng_state()

    def loss(net: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(net(inputs), classes)

    def gradient(net: nn.Module) -> tuple[float, np.ndarray]:
        torch.set_rng_state(drawn)
        net.zero_grad()
        value = loss(net)
        value.backward()
        grads = [p.grad.double().numpy().ravel() for p in net.parameters() if p.requires_grad]
        return float(value.detach()), np.concatenate(grads)

    value, g = gradient(copy.deepcopy(model))
    points = []
    for step in (0.5, 2.0, 4.0):
        twin = copy.deepcopy(model)
        gradient(twin)
        torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=step * 0.7).step()
        points.append(gradient(twin))
    torch.set_rng_state(drawn)
    before = copy.deepcopy(model.state_dict())
    found = smoothness(Objective(model, lambda: loss(model)), 0.7, steps=(0.5, 2.0, 4.0))

    length = np.linalg.norm(g)
    distances = [np.linalg.norm(there - g) for _, there in points]
    assert found.loss == pytest.approx(value, rel=1e-6)
    assert found.gradient_norm == pytest.approx(length, rel=1e-6)
    np.testing.assert_allclose([p.loss for p in found.points], [loss for loss, _ in points], rtol=1e-5)
    np.testing.assert_allclose([p.distance for p in found.points], distances, rtol=1e-5)
    ratios = [d / (step * length) for step, d in zip((0.5, 2.0, 4.0), distances, strict=True)]
    assert found.beta_rate == pytest.approx(max(ratios), rel=1e-5)
    assert found.beta_step == (0.5, 2.0, 4.0)[int(np.argmax(ratios))]
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def spread(found: Smoothness) -> list[float]:
    return [found.loss_min, found.loss_max, found.predictiveness_min, found.predictiveness_max, found.beta_rate]


def test_nan_on_the_way_makes_the_ranges_nan_and_is_located() -> None:
    """The root of a negative number, from the third point on."""
    model = Vector(1.0)
    found = smoothness(Objective(model, lambda: model().sqrt().sum()), 1.0, steps=[0.5, 1, 2.5, 3])
    assert np.isnan(spread(found)).all()
    assert [math.isfinite(point.loss) for point in found.points] == [True, True, False, False]
    assert found.beta_step == 2.5


def test_infinity_on_the_way_makes_the_far_end_infinite() -> None:
    model = Vector(-1.0)
    found = smoothness(Objective(model, lambda: (model().square().exp()).sum()), 10.0, steps=[0.1, 1])
    first = found.points[0]
    assert math.isfinite(first.loss)
    assert found.loss_max == math.inf
    assert found.loss_min == first.loss
    assert found.predictiveness_max == found.beta_rate == math.inf
    assert found.beta_step == 1


def test_where_the_gradient_is_zero_or_not_finite_there_is_no_beta() -> None:
    model = Vector(0.0, 0.0)
    flat = smoothness(Objective(model, lambda: model().square().sum() + 3), 0.1)
    assert math.isnan(flat.beta_rate)
    assert math.isnan(flat.beta_step)
    assert (flat.loss_min, flat.loss_max, flat.predictiveness_max, flat.gradient_norm) == (3, 3, 0, 0)
    steep = smoothness(Objective(model, lambda: model().sqrt().sum()), 0.1)
    assert steep.gradient_norm == math.inf
    assert math.isnan(steep.beta_rate)
    assert math.isnan(steep.beta_step)


@pytest.mark.parametrize("rate", [0, -0.1, math.nan, math.inf])
def test_a_rate_that_is_not_positive(rate: float) -> None:
    model = Vector(1.0)
    with pytest.raises(MeasurementError, match=rf"rate is {float(rate)}: expected a number above 0"):
        smoothness(Objective(model, lambda: model().sum()), rate)


@pytest.mark.parametrize("steps", [[], [1, 0], [-1], [math.nan]])
def test_steps_that_are_not_positive(steps: list[float]) -> None:
    model = Vector(1.0)
    with pytest.raises(MeasurementError, match=r"steps is \[.*\]: expected numbers above 0"):
        smoothness(Objective(model, lambda: model().sum()), 0.1, steps=steps)
