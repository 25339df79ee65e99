"""Exchange of blocks: what two windows would show if nothing but noise told them apart."""

from itertools import product

import numpy as np
import pytest

from icshift.blocks import SLICES, Blocks, no_blocks
from icshift.noise.exchange import (
    BALANCED,
    FEWEST,
    PATTERNS,
    alike,
    differences,
    matched,
    noise,
    patterns,
)
from tests.blocks import blocks_of, normal_blocks


def test_all_patterns_are_there_once_where_they_are_few():
    for blocks in range(2, 10):
        signs = patterns(blocks)
        expected = {(1.0, *rest) for rest in product([1.0, -1.0], repeat=blocks - 1)}
        assert len(signs) == len(expected)
        assert {tuple(row) for row in signs} == expected
        assert (signs[0] == 1).all()


@pytest.mark.parametrize("blocks", [10, 12, 16])
def test_of_many_patterns_so_many_are_tried_each_as_likely_as_any(blocks):
    signs = patterns(blocks)
    assert signs.shape == (PATTERNS, blocks)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert (signs[0] == 1).all()
    assert np.abs(signs[1:].mean(0)).max() < 4 / np.sqrt(PATTERNS)
    np.testing.assert_array_equal(patterns.__wrapped__(blocks), signs)


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        (32, 32, 16),
        (100, 100, 13),
        (40, 12, 6),
        (12, 40, 6),
        (6, 6, 6),
        (11, 11, 11),
        (12, 12, 6),
        (16, 16, 8),
        (17, 17, 9),
    ],
)
def test_blocks_are_matched_by_their_place(a, b, count):
    pair = matched(normal_blocks(a, seed=1), normal_blocks(b, seed=2))
    assert [len(each) for each in pair] == [count, count]
    assert [each.steps.sum() for each in pair] == [a, b]


@pytest.mark.parametrize("few", [None, no_blocks(3), normal_blocks(FEWEST - 1), normal_blocks(1)])
def test_too_few_blocks_cannot_be_exchanged(few):
    enough = normal_blocks(30)
    assert matched(few, enough) is None
    assert matched(enough, few) is None


def test_differences_add_up_to_that_of_the_windows():
    a, b = normal_blocks(32, seed=1), normal_blocks(32, seed=2, shift=0.5)
    apart = differences(a, b)
    assert apart.slices.shape == (16, 3, SLICES)
    means = [np.average(each.slices, axis=1, weights=each.sampled[0]) for each in (a, b)]
    np.testing.assert_allclose(apart.slices.sum(0), means[1] - means[0], rtol=1e-6)
    shares = [each.zeros.sum(1) / each.sampled.sum(1) for each in (a, b)]
    np.testing.assert_allclose(apart.zeros.sum(0), shares[1] - shares[0], atol=1e-12)
    np.testing.assert_allclose(apart.weights.sum(), 1)
    assert apart.known.all()


def test_differences_of_the_other_window_have_the_other_sign():
    a, b = normal_blocks(32, seed=1), normal_blocks(32, seed=2)
    np.testing.assert_allclose(differences(a, b).slices, -differences(b, a).slices)


def test_the_same_window_differs_nowhere():
    a = normal_blocks(32)
    apart = differences(a, a)
    assert not apart.slices.any()
    assert not apart.zeros.any()
    assert not noise(apart).displacement.any()


def test_rounding_is_no_difference():
    a = normal_blocks(32, shift=1000.0)
    b = Blocks(a.slices * np.float32(1 + 2e-7), a.sampled, a.zeros, a.steps)
    assert (a.slices != b.slices).any()
    assert not differences(a, b).slices.any()
    assert not differences(a, b).means.any()


def test_means_that_are_one_but_for_rounding_are_no_difference_though_their_slices_are():
    """As batch norm makes them, of steps of more and of fewer examples."""
    a, b = (normal_blocks(32, seed=seed, dtype=np.float64) for seed in (1, 2))
    a, b = (Blocks(x.slices - x.slices.mean(2, keepdims=True) + 1e-9, x.sampled, x.zeros, x.steps) for x in (a, b))
    assert differences(a, b).slices.any()
    assert not differences(a, b).means.any()


def test_differences_have_the_scale_of_the_values_and_no_place():
    a, b = (normal_blocks(32, seed=seed, dtype=np.float64) for seed in (1, 2))
    moved = [Blocks(7 + 3 * each.slices, each.sampled, each.zeros, each.steps) for each in (a, b)]
    np.testing.assert_allclose(differences(*moved).slices, 3 * differences(a, b).slices, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        noise(differences(*moved)).displacement, 3 * noise(differences(a, b)).displacement, rtol=1e-9, atol=1e-12
    )


def test_blocks_that_one_window_lacks_are_left_out():
    a, b = normal_blocks(16, seed=1), normal_blocks(16, seed=2)
    sampled = a.sampled.copy()
    sampled[1, :10] = 0
    slices = np.where(sampled[:, :, None] > 0, a.slices, np.nan)
    apart = differences(Blocks(slices, sampled, np.minimum(a.zeros, sampled), a.steps), b)
    assert np.isfinite(apart.slices).all()
    assert not apart.slices[:10, 1].any()
    assert apart.slices[10:, 1].all()
    np.testing.assert_array_equal(apart.known, [True, sampled.shape[1] - 10 >= FEWEST, True])
    apart = differences(
        Blocks(slices[:, 5:], sampled[:, 5:], sampled[:, 5:] * 0, a.steps[5:]), b.take(np.arange(3)).joined(11)
    )
    np.testing.assert_array_equal(apart.known, [True, True, True])


def test_a_unit_seen_in_few_blocks_is_not_known():
    a = normal_blocks(16)
    sampled = a.sampled.copy()
    sampled[2, FEWEST - 1 :] = 0
    apart = differences(Blocks(a.slices, sampled, a.zeros, a.steps), a)
    np.testing.assert_array_equal(apart.known, [True, True, False])


def test_noise_is_that_of_sampling():
    """Root mean square over draws: the standard error of the difference of two windows, by units and slices."""
    random = np.random.default_rng(0)
    a, b = (blocks_of(random.normal(size=(400, 64, 32))) for _ in range(2))
    displacement = noise(differences(a, b)).displacement
    assert len(displacement) == BALANCED
    spread = np.sqrt(np.mean(displacement.mean(2) ** 2))
    assert spread == pytest.approx(np.sqrt(2 / (64 * 32)), rel=0.05)


def test_a_shift_of_all_blocks_is_no_noise():
    a, b = (normal_blocks(16, seed=seed, dtype=np.float64) for seed in (1, 2))
    shifted = Blocks(b.slices + 5, b.sampled, b.zeros, b.steps)
    for steps in (slice(None), slice(0, 9)):
        x, y, z = (
            Blocks(e.slices[:, steps], e.sampled[:, steps], e.zeros[:, steps], e.steps[steps]) for e in (a, b, shifted)
        )
        np.testing.assert_allclose(
            noise(differences(x, z)).displacement, noise(differences(x, y)).displacement, rtol=1e-6, atol=1e-9
        )


def test_a_shorter_last_block_weighs_less():
    a, b = normal_blocks(36, seed=1), normal_blocks(36, seed=2)
    assert a.steps.tolist() == [4] * 9
    a, b = normal_blocks(34, seed=1), normal_blocks(34, seed=2)
    weights = differences(a, b).weights
    np.testing.assert_allclose(weights[-1], weights[0] / 2)


def test_blocks_of_about_as_many_values_are_alike():
    assert alike(normal_blocks(32), normal_blocks(32))
    assert not alike(normal_blocks(32), normal_blocks(320).joined(16))
    assert not alike(normal_blocks(320).joined(16), normal_blocks(32))


def test_the_distance_that_noise_moves_is_the_mean_over_slices():
    for steps in (12, 32, 100):
        drawn = noise(differences(*matched(normal_blocks(steps, seed=1), normal_blocks(steps, seed=2))))
        np.testing.assert_allclose(drawn.distance, np.abs(drawn.displacement).mean(2), rtol=1e-12)
        assert drawn.distance.shape == drawn.zeros.shape
