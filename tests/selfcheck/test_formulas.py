"""Closed forms are those of POT, a broken instrument is found out, and the checks fail where they should."""

import numpy as np
import ot
import pytest

from icshift.analysis import metrics
from icshift.selfcheck import formulas
from icshift.selfcheck.check import Compared, Setting
from icshift.selfcheck.runner import checks_named, run

NAN = float("nan")

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


def passes(name):
    (result,) = run(checks_named([name]), Setting(quick=True), before=lambda _: None)
    return result.finding.passed


def test_a_w1_that_is_twice_too_large_is_found_out(monkeypatch):
    right = metrics.METRICS["w1"]
    wrong = metrics.Metric("w1", "activation", "twice as large", lambda a, b: 2 * right.function(a, b))
    monkeypatch.setattr(formulas, "NULL_UNITS", 2000)
    monkeypatch.setitem(metrics.METRICS, "w1", wrong)
    assert not passes("estimators")


def test_a_w2_that_leaves_out_the_scale_is_found_out(monkeypatch):
    nothing = metrics.Metric("w2_scale", "activation", "nothing", lambda a, _: np.zeros(a.units))
    monkeypatch.setitem(metrics.METRICS, "w2_scale", nothing)
    assert not passes("gaussians")


def test_a_w_normalised_by_the_target_is_found_out(monkeypatch):
    right = formulas.source_normalised
    monkeypatch.setattr(formulas, "source_normalised", lambda a, b: right(b, a))
    assert not passes("gaussians")


def test_a_hessian_of_other_inputs_is_found_out(monkeypatch):
    right = formulas._inputs
    monkeypatch.setattr(formulas, "_inputs", lambda mean, sd, correlation: right(mean, (1, sd[1] ** 0.99), correlation))
    assert not passes("conditioning")


def test_inputs_have_exactly_their_moments():
    inputs = formulas._inputs((5, 5), (1, 10), 0.9)
    np.testing.assert_allclose(inputs.mean(0), [5, 5])
    np.testing.assert_allclose(np.cov(inputs.T, bias=True), [[1, 9], [9, 100]])


def test_conditioning():
    right = {"a": Compared(100.0, 100), "b": Compared(1.0, 1)}
    assert formulas.judge_conditioning(right).passed
    assert not formulas.judge_conditioning({**right, "c": Compared(10.0, 100)}).passed
    assert not formulas.judge_conditioning({**right, "c": Compared(19.01, 19)}).passed
    assert not formulas.judge_conditioning({**right, "c": Compared(NAN, 19)}).passed


def test_estimators():
    closed, null = {"W1": Compared(1.001, 1.0)}, Compared(1.278, formulas.NULL)
    judge = formulas.judge_estimators
    assert judge(closed, null, 1e-15).passed
    assert not judge({**closed, "W2": Compared(4.0, 2.0)}, null, 1e-15).passed
    assert not judge({**closed, "W2": Compared(NAN, 2.0)}, null, 1e-15).passed
    assert not judge(closed, Compared(1.24, formulas.NULL), 1e-15).passed
    assert not judge(closed, null, 1e-5).passed
    assert not judge(closed, null, NAN).passed


def test_gaussians():
    assert formulas.judge_gaussians(1e-15, 1e-15).passed
    assert not formulas.judge_gaussians(1e-5, 1e-15).passed
    assert not formulas.judge_gaussians(1e-15, 1e-5).passed
    assert not formulas.judge_gaussians(NAN, 1e-15).passed
