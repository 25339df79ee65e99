"""Every judging function fails on what it should not find: networks swapped, values off, nothing measured."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.gradients.gradient_shift import LayerShift
from icshift.gradients.smoothness import Smoothness
from icshift.selfcheck import deep_linear, formulas, landscape, sigmoid, statistics
from icshift.selfcheck.formulas import Compared
from icshift.selfcheck.statistics import Exposure

NAN = float("nan")


def training(*, median_range, path, accuracies):
    return sigmoid.Training(0.1, 5000, median_range, path, (1.0, 1.4), tuple(accuracies))


def rising(first_good):
    """Accuracies of 100 snapshots: 0.1, and 0.93 from so many on."""
    return [0.1] * first_good + [0.93] * (100 - first_good)


PLAIN = training(median_range=0.8, path=2.5, accuracies=rising(58))
NORMALISED = training(median_range=0.2, path=0.9, accuracies=rising(1))
NOISY = training(median_range=1.1, path=11.0, accuracies=rising(1))


def test_percentiles():
    judge = sigmoid.judge_percentiles
    assert judge(PLAIN, NORMALISED).passed
    assert not judge(NORMALISED, PLAIN).passed
    assert not judge(PLAIN, PLAIN).passed
    assert not judge(PLAIN, replace(NORMALISED, median_range=0.41)).passed
    assert not judge(PLAIN, replace(NORMALISED, path=1.7)).passed
    assert not judge(PLAIN, replace(NORMALISED, path=NAN)).passed
    assert not judge(replace(PLAIN, median_range=NAN), NORMALISED).passed


def test_learning():
    judge = sigmoid.judge_learning
    assert judge(PLAIN, NORMALISED).passed
    assert not judge(NORMALISED, PLAIN).passed
    assert not judge(NORMALISED, NORMALISED).passed
    assert judge(replace(PLAIN, accuracies=tuple(rising(100))), NORMALISED).passed
    assert not judge(
        replace(PLAIN, accuracies=tuple(rising(100))), replace(PLAIN, accuracies=tuple(rising(100)))
    ).passed
    assert not judge(PLAIN, replace(NORMALISED, accuracies=tuple(rising(20)))).passed
    assert not judge(PLAIN, replace(NORMALISED, accuracies=(0.1,) * 5 + (0.93,) * 4 + (NAN,) * 91)).passed


def test_noise():
    judge = sigmoid.judge_noise
    assert judge(NORMALISED, NOISY).passed
    assert not judge(NOISY, NORMALISED).passed
    assert not judge(NORMALISED, replace(NOISY, path=4.0)).passed
    assert not judge(NORMALISED, replace(NOISY, accuracies=(*rising(1)[:-5], *[0.88] * 5))).passed
    assert not judge(NORMALISED, replace(NOISY, path=NAN)).passed


def test_steps_to_good_and_accuracies_are_of_the_right_snapshots():
    assert PLAIN.steps_to_good == 59 * 50
    assert NORMALISED.early == 0.93
    assert replace(PLAIN, accuracies=tuple(np.linspace(0, 0.99, 100))).early == pytest.approx(0.09)
    assert replace(PLAIN, accuracies=tuple(np.linspace(0, 0.99, 100))).late == pytest.approx(0.97)


def descent(*, loss, l2, cosine, beta=2.0):
    shift = LayerShift("fc17", 100, l2, cosine, 1.0, 1.0)
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
    assert not judge(plain, (descent(loss=2e4, l2=800, cosine=-0.2),)).passed
    assert not judge(plain, (descent(loss=2e4, l2=2e4, cosine=0.7),)).passed
    assert not judge((descent(loss=5e4, l2=30, cosine=0.7),), normalised).passed
    assert not judge(plain, (descent(loss=2e4, l2=2e4, cosine=NAN),)).passed


def test_smoothness():
    def judged(beta):
        return deep_linear.judge_smoothness((descent(loss=1.0, l2=1.0, cosine=1.0, beta=beta),)).passed

    assert judged(1.97)
    assert not any(map(judged, (0.003, 1.8, 2.2, 2e7, NAN)))
    assert not deep_linear.judge_smoothness(()).passed


def test_landscape():
    def networks(loss_range, change, accuracy):
        around = Smoothness(0.1, 1.0, 1.0, 0.5, 0.5 + loss_range, 0.0, change, 1.0, 1.0, ())
        return landscape.Training(200, accuracy, (around,) * 3)

    plain, normalised = networks(1.5, 8.0, 0.9), networks(0.06, 1.0, 0.93)
    assert landscape.judge(plain, normalised).passed
    assert not landscape.judge(normalised, plain).passed
    assert not landscape.judge(plain, networks(0.4, 1.0, 0.93)).passed
    assert not landscape.judge(plain, networks(0.06, 2.1, 0.93)).passed
    assert not landscape.judge(networks(1.5, 8.0, 0.3), normalised).passed
    assert not landscape.judge(plain, networks(NAN, 1.0, 0.93)).passed


def test_precise():
    def judged(early_running, early, late_running, late):
        return statistics.judge_precise([[(early_running, early), (late_running, late)]] * 3, 200).passed

    assert judged(0.3, 0.65, 0.94, 0.945)
    assert not judged(0.65, 0.3, 0.94, 0.945)
    assert not judged(0.6, 0.65, 0.94, 0.945)
    assert not judged(0.3, 0.65, 0.94, 0.90)
    assert not judged(0.3, NAN, 0.94, 0.945)


def exposures(source=0.5, adapted=0.95, distances=(0.3, 0.6, 1.1)):
    return {
        name: [Exposure(s, source, adapted, d) for s, d in zip(severities, distances, strict=True)]
        for name, severities in statistics.SEVERITIES.items()
    }


def test_adaptation():
    judge = statistics.judge_adaptation
    assert judge(0.95, exposures()).passed
    assert not judge(0.95, exposures(source=0.95, adapted=0.5)).passed
    assert not judge(0.95, exposures(source=0.92)).passed
    assert not judge(0.95, exposures(adapted=0.9)).passed
    assert not judge(0.95, exposures(distances=(0.3, 1.1, 0.6))).passed
    assert not judge(0.95, exposures(distances=(0.3, 0.6, NAN))).passed
    assert not judge(0.95, {**exposures(), "noise": exposures(distances=(0.6, 0.5, 0.7))["noise"]}).passed


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
