"""What the experiments measure: against POT, and that a broken instrument is found out."""

import numpy as np
import ot
import pytest
import torch

from icshift.analysis import metrics
from icshift.selfcheck import deep_linear, formulas, sigmoid, statistics
from icshift.selfcheck.check import Setting, figure, power
from icshift.selfcheck.digits import digits
from icshift.selfcheck.runner import choose, run

random = np.random.default_rng(0)


def gaussian(units):
    factor = random.normal(size=(units, units))
    return random.normal(size=units), factor @ factor.T + 0.1 * np.eye(units)


@pytest.mark.parametrize("units", [1, 3, 12])
def test_the_general_formula_is_pots(units):
    a, b = gaussian(units), gaussian(units)
    expected = ot.gaussian.bures_wasserstein_distance(a[0], b[0], a[1], b[1])
    assert np.sqrt(formulas._bures(a, b)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_ours_of_diagonal_ones_is_pots(seed):
    own = np.random.default_rng(seed)
    a, b = (formulas._moments(own, 6) for _ in range(2))
    expected = ot.gaussian.bures_wasserstein_distance(a[0], b[0], np.diag(a[1] ** 2), np.diag(b[1] ** 2))
    assert formulas._gaussian_w2(a, b, own) == pytest.approx(expected, rel=1e-6)
    white = (b[0] - a[0]) / a[1], np.diag((b[1] / a[1]) ** 2)
    expected = ot.gaussian.bures_wasserstein_distance(np.zeros(6), white[0], np.eye(6), white[1])
    assert formulas.source_normalised(a, b) == pytest.approx(expected / np.sqrt(6), rel=1e-6)


def only(name, seed=0):
    (result,) = run(choose([name]), Setting(seed, quick=True), before=lambda _: None)
    return result.finding


def test_a_w1_that_is_twice_too_large_is_found_out(monkeypatch):
    right = metrics.METRICS["w1"]
    wrong = metrics.Metric("w1", "activation", "twice as large", lambda a, b: 2 * right.function(a, b))
    monkeypatch.setattr(formulas, "NULL_UNITS", 2000)
    monkeypatch.setitem(metrics.METRICS, "w1", wrong)
    assert not only("estimators").passed


def test_a_w2_that_leaves_out_the_scale_is_found_out(monkeypatch):
    nothing = metrics.Metric("w2_scale", "activation", "nothing", lambda a, _: np.zeros(a.units))
    monkeypatch.setitem(metrics.METRICS, "w2_scale", nothing)
    assert not only("gaussians").passed


def test_a_w_normalised_by_the_target_is_found_out(monkeypatch):
    right = formulas.source_normalised
    monkeypatch.setattr(formulas, "source_normalised", lambda a, b: right(b, a))
    assert not only("gaussians").passed


def test_a_hessian_of_other_inputs_is_found_out(monkeypatch):
    right = formulas._inputs
    monkeypatch.setattr(formulas, "_inputs", lambda mean, sd, correlation: right(mean, (1, sd[1] ** 0.99), correlation))
    assert not only("conditioning").passed


def test_inputs_have_exactly_their_moments():
    inputs = formulas._inputs((5, 5), (1, 10), 0.9)
    np.testing.assert_allclose(inputs.mean(0), [5, 5])
    np.testing.assert_allclose(np.cov(inputs.T, bias=True), [[1, 9], [9, 100]])


def test_noise_follows_every_batch_norm():
    names = [name for name, _ in sigmoid.noisy(sigmoid.network(batch_norm=True)).named_children()]
    assert names[:4] == ["fc1", "norm1", "noise1", "sigmoid1"]
    assert sum(name.startswith("noise") for name in names) == 3


def test_a_descent_is_gradient_descent_and_measures_layer_17():
    """The loss without measurements is bit for bit that with them."""
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


def test_corruptions_are_what_they_are_called():
    images = digits().test_images
    noise = torch.ones_like(images)
    assert torch.equal(statistics._corrupted(images, "contrast", 0.5, noise), 0.5 * images)
    assert torch.equal(statistics._corrupted(images, "brightness", 0.5, noise), images + 0.5)
    assert torch.equal(statistics._corrupted(images, "noise", 0.5, 2 * noise), images + 1)


def test_everything_random_follows_from_the_seed():
    found = [only("precise", seed).numbers for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_figures_are_short():
    assert [figure(value) for value in (0.01234, 12.34, 1234.5, 0.0)] == ["0.0123", "12.3", "1,234", "0"]
    assert [power(value) for value in (1e-6, 2.2e-15)] == ["1e-6", "2e-15"]
