"""What metrics show by noise alone: draws that are as large as the metric between two windows in truth."""

import numpy as np
import pytest

from icshift.analysis import noise_of_metrics
from icshift.analysis.distances import effective_std
from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS
from icshift.blocks import SLICES
from icshift.noise.exchange import Differences, Noise, differences, matched, noise
from tests.recorded import distribution
from tests.zoo.distributions import draw

UNITS = 5


def noise_of(displacement, zeros):
    """Noise that moves slices [draws, units, slices] and zeros [draws, units] so far: a block a draw."""
    apart = Differences(
        displacement, displacement.mean(2), zeros, np.ones(len(zeros)), np.ones(UNITS, bool), np.zeros(UNITS, bool)
    )
    return Noise(apart, np.eye(len(zeros)))


def drawn(seed=0, draws=7):
    random = np.random.default_rng(seed)
    return noise_of(random.normal(size=(draws, UNITS, SLICES)), random.normal(size=(draws, UNITS)))


@pytest.fixture(scope="module")
def windows():
    return [distribution(draw("normal", 1024, UNITS, seed) * 3, steps=32) for seed in (1, 2)]


def test_w1_is_how_far_slices_move(windows):
    one = drawn()
    expected = [[sum(abs(x) for x in unit) / SLICES for unit in each] for each in one.displacement]
    np.testing.assert_allclose(noise_of_metrics.w1(one, *windows), expected)
    np.testing.assert_allclose(noise_of_metrics.w1_sd(one, *windows), expected / effective_std(*windows))


def test_the_mean_is_that_of_the_slices(windows):
    one = drawn()
    expected = [[abs(sum(unit)) / SLICES for unit in each] for each in one.displacement]
    np.testing.assert_allclose(noise_of_metrics.w2_location(one, *windows), expected)
    np.testing.assert_allclose(noise_of_metrics.mean_shift_sd(one, *windows), expected / effective_std(*windows))
    np.testing.assert_array_equal(noise_of_metrics.zero_share(one, *windows), np.abs(one.zeros))


def test_a_shift_of_all_slices_is_the_same_for_w1_and_the_mean(windows):
    shift = noise_of(np.full((3, UNITS, SLICES), -0.25), np.zeros((3, UNITS)))
    np.testing.assert_allclose(noise_of_metrics.w1(shift, *windows), 0.25)
    np.testing.assert_allclose(noise_of_metrics.w2_location(shift, *windows), 0.25)


def test_no_noise_shows_nothing(windows):
    none = noise_of(np.zeros((3, UNITS, SLICES)), np.zeros((3, UNITS)))
    for metric in METRICS.values():
        if metric.of_noise:
            assert not metric.of_noise(none, *windows).any(), metric.name
        elif not metric.by_example:
            assert not noise_of_metrics.resampled(metric.function, none, *windows).any(), metric.name


@pytest.mark.some(5)
@pytest.mark.covering(1)
@pytest.mark.parametrize("name", [metric.name for metric in METRICS.values() if not metric.by_example])
@pytest.mark.parametrize("animal", ["normal", "relu", "bimodal"])
def test_floors_are_as_large_as_metrics_between_windows_in_which_nothing_moved(name, animal):
    """Within a factor of 1.6, the root mean square over 4 pairs of windows and their units."""
    metric = METRICS[name]
    pairs = [
        [distribution(draw(animal, 768, UNITS, 2 * seed + side), steps=24) for side in (0, 1)] for seed in range(20, 24)
    ]
    shown = np.sqrt(np.mean([metric.function(*pair) ** 2 for pair in pairs]))
    floors = np.sqrt(np.mean([floor(metric, *pair) ** 2 for pair in pairs]))
    if animal != "relu" and name == "zero_share":
        assert shown == floors == 0
    else:
        assert floors == pytest.approx(shown, rel=0.6)
        assert shown == pytest.approx(floors, rel=0.6)


@pytest.mark.parametrize("name", ["w2", "ks", "js", "energy", "log_sd_ratio"])
def test_more_noise_shows_more(name, windows):
    metric = METRICS[name]
    apart = noise(differences(*matched(*(window.blocks for window in windows))))
    twice = noise_of(2 * apart.displacement, apart.zeros)
    less, more = (
        np.sqrt(np.mean(noise_of_metrics.resampled(metric.function, each, *windows) ** 2)) for each in (apart, twice)
    )
    assert 1.4 * less < more < 2.8 * less


def test_every_draw_is_the_same_every_time(windows):
    apart = noise(differences(*matched(*(window.blocks for window in windows))))
    ks = METRICS["ks"].function
    first = noise_of_metrics.resampled(ks, apart, *windows)
    np.testing.assert_array_equal(noise_of_metrics.resampled(ks, apart, *windows), first)
    assert len(np.unique(first)) > 10


@pytest.mark.parametrize("name", [metric.name for metric in METRICS.values() if not metric.by_example])
@pytest.mark.filterwarnings("error")
def test_constants_have_no_noise_and_no_warning_is_shown(name):
    """Their blocks differ by 1, and exchanges of them by the rounding of that."""
    metric = METRICS[name]
    pair = [distribution(np.full((UNITS, 192), value), steps=12) for value in (3.0, 4.0)]
    assert not np.nan_to_num(floor(metric, *pair)).any()
