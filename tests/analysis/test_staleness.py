"""Distances of running statistics from those of data: against closed forms, and the noise of them."""

import numpy as np
import pytest

from icshift.analysis.staleness import UNKNOWN, from_running, source_normalised, staleness

random = np.random.default_rng(0)
MEAN, SD = random.normal(size=30), random.uniform(0.5, 2, 30)


def halves(values):
    """Moments of odd and even rows of values [n, units]."""
    return [(half.mean(0), half.var(0), len(half)) for half in (values[0::2], values[1::2])]


def test_a_shift_counts_in_sd_of_the_source():
    assert source_normalised((MEAN, SD), (MEAN + 0.7 * SD, SD)) == pytest.approx(0.7)
    assert source_normalised((MEAN, SD), (MEAN, 1.5 * SD)) == pytest.approx(0.5)
    assert source_normalised((MEAN, SD), (MEAN - 0.3 * SD, 0.6 * SD)) == pytest.approx(0.5)
    assert source_normalised((MEAN, SD), (MEAN, SD)) == 0


def test_it_is_the_general_formula_for_diagonal_covariances():
    """W~^2 = (mu_t-mu_s)' S_s^-1 (mu_t-mu_s) + D + Tr(S_s^-1 S_t) - 2 Tr((S_s^-1 S_t)^1/2) (Schneider et al. 2020)."""
    other, spread = random.normal(size=30), random.uniform(0.5, 2, 30)
    source, target = np.diag(SD**2), np.diag(spread**2)
    ratio = np.linalg.inv(source) @ target
    square = (
        (other - MEAN) @ np.linalg.inv(source) @ (other - MEAN) + 30 + np.trace(ratio) - 2 * np.trace(np.sqrt(ratio))
    )
    assert source_normalised((MEAN, SD), (other, spread)) == pytest.approx(np.sqrt(square / 30))


def test_data_are_compared_with_the_running_statistics_eps_included():
    values = random.normal(size=(500, 30)) * SD + MEAN
    running = (MEAN + 0.2, SD**2, 9)
    found = from_running(running, halves(values), 0.25)
    expected = source_normalised(
        (running[0], np.sqrt(running[1] + 0.25)), (values.mean(0), np.sqrt(values.var(0) + 0.25))
    )
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert (found.n, found.units) == (500, 30)


def test_staleness_is_in_sd_of_the_precise_statistics():
    values = random.normal(size=(500, 30)) * SD + MEAN
    running = (np.zeros(30), np.ones(30), 9)
    expected = source_normalised((values.mean(0), values.std(0)), (running[0], np.sqrt(running[1])))
    assert staleness(running, halves(values), 0.0).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [64, 401, 3000])
def test_the_floor_is_what_sampling_alone_shows(n):
    running = (MEAN, SD**2, 9)
    drawn = [random.normal(size=(n, 30)) * SD + MEAN for _ in range(30)]
    found = [from_running(running, halves(values), 0.0) for values in drawn]
    shown = np.sqrt(np.mean([one.value**2 for one in found]))
    assert np.sqrt(np.mean([one.floor**2 for one in found])) == pytest.approx(shown, rel=0.1)
    assert shown == pytest.approx(np.sqrt(1.5 / n), rel=0.1)


def test_units_that_the_source_keeps_constant_are_left_out():
    values = random.normal(size=(200, 30)) * SD + MEAN
    running = MEAN.copy(), SD**2, 9
    running[1][4] = 1e-12
    found = from_running(running, halves(values), 1e-12)
    assert found.units == 29
    assert found.value < 0.5


def test_what_cannot_be_known_is_said():
    whole = [(MEAN, SD**2, 40)]
    assert from_running((MEAN, SD**2, 1), [], 0.0) is UNKNOWN
    assert staleness((MEAN, SD**2, 1), [], 0.0) is UNKNOWN
    one = from_running((MEAN, SD**2, 1), whole, 0.0)
    assert one.value == 0
    assert np.isnan(one.floor)
