"""What many processes recorded together, put together in one pass: as one process would have recorded it."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from icshift import kernel_choice
from icshift.blocks import SLICES, Blocks
from icshift.distribution import EXACT, QUANTILES, Distribution, empty
from icshift.runs import pooling
from icshift.runs.held import repeated
from icshift.runs.pooling import pooled
from icshift.tails import TAIL
from tests.recorded import distribution, probe
from tests.zoo.distributions import draw

COUNTS = {
    "few": [30] * 5,
    "together more than are kept": [100] * 7,
    "equal": [1024] * 16,
    "unequal": [700, 3000, 64, 1, 555, 1300, 2048],
    "mostly one": [20_000, 10, 10],
    "not a multiple": [37] * 29,
}
ROUNDING = 1 + 1e-6


@pytest.fixture(autouse=True)
def kernel(each_kernel):
    return each_kernel


def parts_of(kind, counts, units=4, dtype=np.float32):
    values = draw(kind, sum(counts), units, 3)
    return values, [
        distribution(part, steps=8, dtype=dtype) for part in np.split(values, np.cumsum(counts)[:-1], axis=1)
    ]


def away(kept, values):
    """The Wasserstein-1 distance of the kept values from all values, unit by unit."""
    values = values.astype(kept.values.dtype).astype(float)
    return np.array(
        [wasserstein_distance(one, own[np.isfinite(own)]) for one, own in zip(kept.values, values, strict=True)]
    )


@pytest.mark.some(10)
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("kind", ["normal", "relu", "student_t3", "constant", "tiny"])
def test_all_together_are_as_one_process(kind, counts):
    values, parts = parts_of(kind, counts)
    together = pooled(parts)
    one = distribution(values, steps=8)
    scale = np.abs(values).max()
    for name in ("count", "nonfinite", "sampled", "min", "max"):
        np.testing.assert_array_equal(getattr(together, name), getattr(one, name))
    for name in ("mean", "std", "zero_share"):
        np.testing.assert_allclose(getattr(together, name), getattr(one, name), rtol=1e-5, atol=1e-7 * scale)
    assert (away(together, values) <= together.w1_error * ROUNDING + 1e-7 * scale).all()
    if sum(counts) <= EXACT:
        np.testing.assert_array_equal(together.values, one.values)
        assert (together.w1_error == 0).all()
    assert together.values.shape == one.values.shape
    assert (np.diff(together.values, axis=1) >= 0).all()
    if together.tails is not None:
        np.testing.assert_array_equal(together.tails, one.tails)
    blocks = together.blocks
    means = (blocks.slices.mean(2) * blocks.sampled).sum(1) / blocks.sampled.sum(1)
    np.testing.assert_allclose(means, together.mean, rtol=1e-4, atol=1e-6 * scale)
    assert together.blocks.sampled.sum() == one.blocks.sampled.sum()


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_stated_errors_are_those_of_the_parts_and_of_one_cut(counts):
    _, parts = parts_of("normal", counts, units=32)
    together, pairs = pooled(parts), reduce(Distribution.merge, parts)
    share = np.array(counts) / sum(counts)
    own = sum(part.rank_error * of for part, of in zip(parts, share, strict=True))
    assert together.rank_error == pytest.approx(own + (0 if sum(counts) <= EXACT else 1 / QUANTILES))
    assert together.rank_error <= pairs.rank_error
    assert (together.w1_error <= pairs.w1_error * ROUNDING).all()


def test_any_order_gives_the_same():
    _, parts = parts_of("student_t3", COUNTS["unequal"])
    first, second = pooled(parts), pooled(parts[::-1])
    np.testing.assert_allclose(first.values, second.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.w1_error, second.w1_error, rtol=1e-6)


def test_what_is_missing_is_left_out():
    values = np.array(draw("normal", 1200, 4))
    values[1, 350:800], values[2, :], values[3, 5] = np.nan, np.inf, np.nan
    parts = [distribution(part, steps=8) for part in np.split(values, [400, 700], axis=1)]
    together = pooled([empty(4), *parts])
    assert together.sampled.tolist() == np.isfinite(values).sum(1).tolist()
    assert together.nonfinite.tolist() == (~np.isfinite(values)).sum(1).tolist()
    assert np.isnan(together.mean[2])
    assert np.isnan(together.values[2]).all()
    known = [0, 1, 3]
    np.testing.assert_allclose(together.mean[known], np.nanmean(values[known], axis=1), rtol=1e-5, atol=1e-6)
    assert (away(together.take(np.array(known)), values[known]) <= together.w1_error[known] * ROUNDING + 1e-6).all()


def test_numbers_of_double_precision():
    values, parts = parts_of("normal", COUNTS["unequal"], dtype=np.float64)
    together = pooled(parts)
    assert together.values.dtype == np.float64
    assert (away(together, values) <= together.w1_error * ROUNDING).all()


def test_examples_and_blocks_of_a_probe():
    values = np.random.default_rng(1).normal(size=(3, 40))
    shown = probe(values)
    others = [replace(probe(values), examples=None) for _ in range(3)]
    together = pooled([others[0], shown, *others[1:]])
    np.testing.assert_array_equal(together.examples, shown.examples)
    assert together.blocks is None
    assert pooled([shown, shown, others[0]]).examples is None


def test_inputs_stay_as_they_are():
    _, parts = parts_of("normal", COUNTS["equal"])
    before = [part.values.copy() for part in parts]
    pooled(parts)
    for part, values in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part.values, values)


def test_other_units_are_refused():
    with pytest.raises(ValueError, match="not the same site"):
        pooled([empty(3), empty(4), empty(3)])


@pytest.mark.parametrize("each", [1, 3, 8, 37, 64])
def test_slices_are_means_of_neighbours_and_the_error_is_how_far_they_are(each):
    points = np.sort(draw("student_t3", each * QUANTILES, 5).astype(np.float32), axis=1)
    points[1] = 1e-30 * points[1]
    points[2] = 0.1  # Of which the mean is no other by rounding.
    kept, error = pooling._even(points, np.float32)
    slices = points.reshape(5, QUANTILES, each).astype(float)
    np.testing.assert_allclose(kept, slices.mean(2), rtol=1e-6)
    np.testing.assert_allclose(error, np.abs(slices - slices.mean(2, keepdims=True)).mean((1, 2)), rtol=1e-6, atol=1e-9)
    assert (kept >= slices[:, :, 0]).all()
    assert (kept <= slices[:, :, -1]).all()


@pytest.mark.parametrize("shared", [False, True])
def test_blocks_are_added_by_what_they_stand_for(shared):
    random, units, count = np.random.default_rng(0), 300, 3
    parts = []
    for part in range(4):
        slices = np.sort(random.normal(size=(units, count, SLICES)).astype(np.float32), axis=2)
        sampled, zeros = random.integers(1, 90, (2, 1 if shared else units, count))
        if part == 1:
            sampled[:, 1] = 0
            slices[:, 1] = np.nan
        sampled, zeros = (repeated(one[0], units) if shared else one for one in (sampled, zeros))
        parts.append(Blocks(slices, sampled, zeros, random.integers(1, 5, count)))
    found = pooling._blocks(parts)
    expected = reduce(Blocks.merge, parts)
    for name in ("sampled", "zeros", "steps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.slices, expected.slices, rtol=1e-5, atol=1e-6)


def test_ends_are_the_lowest_and_the_highest_of_all():
    values = np.array(draw("student_t3", 7 * 400, 6), np.float32)
    values[1] = np.round(values[1])  # Many of them the same.
    values[2] = np.sort(values[2])  # Those of later parts are all higher,
    values[3] = np.sort(values[3])[::-1]  # and lower.
    values[4, 900] = np.nan
    together = pooled([distribution(part, steps=8) for part in np.split(values, 7, axis=1)])
    ordered = np.sort(values, axis=1)
    known = [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(together.tails[known, :TAIL], ordered[known, :TAIL])
    np.testing.assert_array_equal(together.tails[known, TAIL:], ordered[known, -TAIL:])
    parts = [replace(together, tails=together.tails.copy()) for _ in range(3)]
    parts[1].tails[0, TAIL:] = np.nan
    found = pooled(parts)
    assert np.isnan(found.tails[0, TAIL:]).all()
    assert np.isfinite(found.tails[0, :TAIL]).all()
    assert (found.tails[5, :3] == together.tails[5, 0]).all()


def test_the_compiled_kernel_refuses_what_does_not_fit():
    if kernel_choice.compiled is None:
        pytest.skip("the native kernel was not built")
    cut, add = kernel_choice.compiled.cut_even, kernel_choice.compiled.add_blocks
    points, means, error = np.zeros((2, 6), np.float32), np.zeros((2, 3), np.float32), np.zeros(2)
    with pytest.raises(ValueError, match="6 points in 4 equal slices"):
        cut(points, 2, 6, 4, means, error)
    with pytest.raises(ValueError, match="bytes"):
        cut(points, 3, 6, 3, means, error)
    with pytest.raises(ValueError, match="bytes"):
        kernel_choice.compiled.merge_ends(np.zeros((2, TAIL), np.float32), 2, np.zeros((2, 2 * TAIL), np.float32))
    slices, sampled, sums = np.zeros((2, 1, SLICES), np.float32), np.ones((2, 1), np.int64), np.zeros((2, 1, SLICES))
    with pytest.raises(ValueError, match="1 blocks, of which 2 of each unit"):
        add(slices, sampled, 2, 1, 2, sums)
    with pytest.raises(ValueError, match="bytes"):
        add(slices, sampled, 3, 1, 0, sums)
