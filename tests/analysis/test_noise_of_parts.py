"""Noise from parts of two data sets: that it is as large as it says, whatever the sizes, clusters and metrics."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from icshift.analysis.metrics import METRICS
from icshift.analysis.noise_of_parts import Noise, noise, simes
from icshift.distribution import SAMPLE_QUANTILES, Sample, from_sample, ordered, slice_means
from icshift.noise.movement import discoveries
from tests.covering import often
from tests.zoo.distributions import draw

UNITS = 80
METRIC = METRICS["w1_sd"]


def parts(values, count=16):
    """Values [units, n] dealt to parts, reduced as the replayer reduces them."""
    dealt = []
    for part in np.array_split(values, count, axis=1):
        sorted_part = np.sort(part, axis=1)
        if part.shape[1] > SAMPLE_QUANTILES:
            sorted_part = slice_means(*ordered(sorted_part, np.ones(part.shape[1])), SAMPLE_QUANTILES)
        dealt.append(Sample(sorted_part, np.full(len(values), part.shape[1])))
    return dealt


def found(reference, data, metric=METRIC, count=16):
    return noise(metric, parts(reference, count), parts(data, count), len(reference))


@pytest.mark.covering(1)
@pytest.mark.parametrize(("n", "m"), [(400, 400), (3000, 200), (64, 2000), (40, 40)])
@pytest.mark.parametrize("shape", ["normal", "relu", "bimodal"])
def test_the_floor_is_what_two_samples_show(n, m, shape):
    shown = [METRIC.function(*map(whole, (draw(shape, n, UNITS, s), draw(shape, m, UNITS, s + 50)))) for s in range(6)]
    floors = [found(draw(shape, n, UNITS, s), draw(shape, m, UNITS, s + 50)).floor for s in range(6)]
    assert np.median(floors) == pytest.approx(np.sqrt(np.mean(np.square(shown))), rel=0.1)


def whole(values):
    return from_sample(Sample(np.sort(values, axis=1), np.full(len(values), values.shape[1])))


@pytest.mark.some(2)
@pytest.mark.parametrize("metric", ["w1", "ks", "psi", "mean_shift_sd", "zero_share"])
def test_every_metric_has_its_noise(metric):
    one = METRICS[metric]
    shape = "relu" if metric == "zero_share" else "normal"
    pairs = [(draw(shape, 480, UNITS, s), draw(shape, 960, UNITS, s + 50)) for s in range(6)]
    shown = [np.abs(one.function(*map(whole, pair))) for pair in pairs]
    floors = [found(*pair, one).floor for pair in pairs]
    assert np.median(floors) == pytest.approx(np.sqrt(np.mean(np.square(shown))), rel=0.15)


def clustered(random, examples, size, spread=1.0):
    """Examples of `size` values that are much alike, as the positions of one image."""
    own = random.normal(0, spread, (UNITS, examples, 1))
    return (own + random.normal(0, 0.3, (UNITS, examples, size))).reshape(UNITS, -1)


def test_values_of_one_example_count_as_one():
    random = np.random.default_rng(0)
    pairs = [(clustered(random, 160, 20), clustered(random, 320, 20)) for _ in range(4)]
    shown = [METRIC.function(*map(whole, pair)) for pair in pairs]
    floors = [found(*pair).floor for pair in pairs]
    assert np.median(floors) == pytest.approx(np.sqrt(np.mean(np.square(shown))), rel=0.15)
    assert np.median(floors) > 3 * 1.288 * np.sqrt(1 / 3200 + 1 / 6400)


def test_noise_is_of_both_data_sets():
    """One data set of few examples with many values each, one of many: its noise is that of the few."""
    random = np.random.default_rng(1)
    pairs = [(clustered(random, 32, 100), clustered(random, 3200, 1)) for _ in range(6)]
    shown = [METRIC.function(*map(whole, pair)) for pair in pairs]
    floors = [found(*pair).floor for pair in pairs]
    assert np.median(floors) == pytest.approx(np.sqrt(np.mean(np.square(shown))), rel=0.2)


@pytest.mark.some(1)
@pytest.mark.parametrize("n", [60, 400, 4000])
def test_noise_alone_is_seldom_a_discovery(n):
    runs = often(15, 30) if n < 1000 else 15
    p, moved = [], []
    for seed in range(runs):
        random = np.random.default_rng(seed)
        weights = random.normal(size=(UNITS, 3))
        pair = [weights @ random.normal(size=(3, n)) + 0.3 * random.normal(size=(UNITS, n)) for _ in range(2)]
        one = found(*pair).p_values
        p.append(simes(one))
        moved.append(discoveries(one).mean())
    assert np.mean(np.array(p) < 0.05 / 8) <= 0.1
    assert np.mean(np.array(p) < 0.05) <= 0.2
    assert np.median(moved) == 0
    assert np.mean(moved) < 0.05


def test_what_moved_is_found():
    random = np.random.default_rng(3)
    reference, data = random.normal(size=(2, UNITS, 400))
    data[:10] += 0.6
    p = found(reference, data).p_values
    assert simes(p) < 1e-6
    moved = discoveries(p)
    assert moved[:10].all()
    assert moved[10:].mean() < 0.05


def test_simes_is_its_formula():
    p = np.array([0.2, 0.01, np.nan, 0.03])
    assert simes(p) == pytest.approx(min(0.01 * 3 / 1, 0.03 * 3 / 2, 0.2))
    assert np.isnan(simes(np.full(3, np.nan)))


def test_the_values_are_those_of_scipy():
    reference, data = draw("normal", 400, 5, 0), draw("shifted", 300, 5, 1)
    expected = [wasserstein_distance(a, b) for a, b in zip(reference, data, strict=True)]
    np.testing.assert_allclose(found(reference, data, METRICS["w1"]).values, expected, rtol=1e-6)


def test_one_data_set_of_one_example_is_judged_by_the_other():
    random = np.random.default_rng(4)
    reference, data = random.normal(size=(UNITS, 400)), random.normal(size=(UNITS, 1))
    one = noise(METRIC, parts(reference), parts(data, 1), UNITS)
    shown = METRIC.function(whole(reference), whole(data))
    assert len(one.draws) == 15
    assert np.median(one.floor) == pytest.approx(np.sqrt(np.mean(shown**2)), rel=0.35)


def test_without_two_examples_nothing_is_known():
    one = noise(METRIC, parts(np.zeros((3, 1)), 1), parts(np.ones((3, 1)), 1), 3)
    assert np.isnan(one.floor).all()
    assert np.isnan(one.p_values).all()
    assert np.isnan(noise(METRIC, [], parts(np.ones((3, 9))), 3).p_values).all()


def test_constants_that_differ_are_no_noise():
    same, other = np.zeros((4, 64)), np.zeros((4, 64))
    other[1:] = 1.0
    assert found(same, other).p_values.tolist() == [1, 0, 0, 0]
    assert found(same, same).p_values.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("count", [2, 3, 5, 7, 12, 16])
def test_any_number_of_parts_gives_noise(count):
    random = np.random.default_rng(5)
    one = found(*random.normal(size=(2, UNITS, 20 * count)), count=count)
    splits = (1 << count.bit_length() - 1) - 1
    assert one.draws.shape == (2 * splits, UNITS)
    assert np.median(one.floor) == pytest.approx(1.288 * np.sqrt(2 / (20 * count)), rel=0.35)


def test_every_unit_has_its_own_noise():
    """Half of the units give much the same for all positions of an example, the others do not."""
    random = np.random.default_rng(6)

    def drawn(examples):
        values = random.normal(size=(UNITS, examples, 20))
        values[::2] = clustered(random, examples, 20).reshape(UNITS, examples, 20)[::2]
        return values.reshape(UNITS, -1)

    pairs = [(drawn(160), drawn(160)) for _ in range(6)]
    shown = np.sqrt(np.mean([METRIC.function(*map(whole, pair)) ** 2 for pair in pairs], axis=0))
    floors = np.median([found(*pair).floor for pair in pairs], axis=0)
    for units in (slice(0, None, 2), slice(1, None, 2)):
        assert np.median(floors[units]) == pytest.approx(np.sqrt(np.mean(shown[units] ** 2)), rel=0.25)
    assert np.median(floors[::2]) > 2.5 * np.median(floors[1::2])


def test_a_units_noise_is_that_of_its_draws_and_of_four_of_the_sites_typical_one():
    draws = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 4.0], [0.0, 1.0, 2.0]])
    own, typical = np.array([0.0, 3.0, 24.0]), 1.0
    floor = Noise(np.zeros(3), draws).floor
    np.testing.assert_allclose(floor, np.sqrt((own + 4 * typical) / (3 + 4)))


def test_a_unit_whose_draws_happen_to_be_small_is_not_called_moved_for_that():
    random = np.random.default_rng(9)
    draws = np.abs(random.normal(size=(3, 60)))
    draws[:, 0] = 1e-6
    values = np.ones(60)
    assert Noise(values, draws).p_values[0] > 0.01
