"""The checks on the sigmoid network fail where they should, and its noise follows every batch norm."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.selfcheck import sigmoid

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


def test_noise_follows_every_batch_norm():
    names = [name for name, _ in sigmoid.noisy(sigmoid.network(batch_norm=True)).named_children()]
    assert names[:4] == ["fc1", "norm1", "noise1", "sigmoid1"]
    assert sum(name.startswith("noise") for name in names) == 3
