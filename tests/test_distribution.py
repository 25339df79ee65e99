"""What a distribution keeps, and the laws of merging it."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.distribution import (
    EXACT,
    EXAMPLES,
    QUANTILES,
    Sample,
    empty,
    from_sample,
    ordered,
    reduce,
    summarise,
)
from tests import laws
from tests.recorded import distribution, of_zoo, probe
from tests.zoo.distributions import FINITE, ZOO, draw, scale

SIZES = (1, 7, EXACT, EXACT + 1, 6000)
DTYPES = (np.float32, np.float64)


def parts_of(values, cuts, dtype=np.float32):
    return [distribution(part, dtype=dtype) for part in np.split(values, cuts, axis=1) if part.shape[1]]


@pytest.mark.some(50)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ZOO)
def test_stands_for_its_values(name, n, dtype):
    laws.assert_stands_for(of_zoo(name, n, dtype=dtype), draw(name, n))


@pytest.mark.parametrize("name", FINITE)
def test_few_values_are_kept_as_they_are(name):
    kept = of_zoo(name, EXACT)
    assert kept.exact
    np.testing.assert_array_equal(kept.values, np.sort(draw(name, EXACT)))


@pytest.mark.parametrize("name", ["normal", "student_t3"])
def test_many_values_become_slices_with_a_stated_error(name):
    kept = of_zoo(name, EXACT + 1)
    assert not kept.exact
    assert kept.values.shape == (3, QUANTILES)
    assert (kept.w1_error > 0).all()


def test_bound_of_a_large_window_is_small():
    kept = of_zoo("normal", 20_000)
    assert (kept.w1_error < 0.035 * kept.std).all()
    assert kept.rank_error < 0.015


def test_ties_survive_reduction_in_float64():
    values = np.repeat([[-0.9, 0.1, 1.1]], 2000, axis=1)
    laws.assert_stands_for(distribution(values, dtype=np.float64), values)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_rank_bound_holds_among_many_nonfinite_values(share):
    values = np.where(np.random.default_rng(3).random((3, 20_000)) < share, np.nan, draw("normal", 20_000))
    laws.assert_stands_for(distribution(values), values)


def test_unit_that_diverged_leaves_the_others_exact():
    kept = of_zoo("one_unit_diverged", 300)
    np.testing.assert_array_equal(kept.w1_error[1:], 0)


@pytest.mark.parametrize("magnitude", [1e-15, 1e15, 1e25])
def test_moments_keep_scale(magnitude):
    values = (magnitude * draw("normal", 4000)).astype(np.float32).astype(float)
    laws.assert_stands_for(distribution(values), values)


@pytest.mark.some(16)
@pytest.mark.parametrize("n", [1, 300, 6000])
@pytest.mark.parametrize("name", ZOO)
def test_empty_is_the_identity_of_merge(name, n):
    laws.identity_of_merge(of_zoo(name, n))


@pytest.mark.parametrize("name", ["normal", "with_nan"])
@pytest.mark.parametrize("field", ["count", "nonfinite", "sampled"])
def test_counts_are_whole_numbers(name, field):
    assert getattr(of_zoo(name, 300), field).dtype == getattr(empty(3), field).dtype == np.int64


def test_empty_with_empty_is_empty():
    laws.assert_identical(empty(4).merge(empty(4)), empty(4))


@pytest.mark.some(6)
@pytest.mark.parametrize("name", ZOO)
def test_merge_leaves_its_inputs_unchanged(name):
    laws.inputs_of_merge_unchanged(of_zoo(name, 300), of_zoo(name, 6000))


@pytest.mark.some(6)
@pytest.mark.covering(1)
@pytest.mark.parametrize(
    ("n", "cuts"), [(5, (1, 1, 4)), (400, (1, 150, 153)), (1000, (300, 600)), (6000, (1, 700, 701, 5000))]
)
@pytest.mark.parametrize("name", ZOO)
def test_any_order_of_merge(name, n, cuts):
    values = draw(name, n)
    laws.any_order_of_merge(parts_of(values, cuts), values, np.random.default_rng(1))


@pytest.mark.some(20)
@pytest.mark.parametrize(("n", "cuts"), [(2, (1,)), (500, (100, 101)), (513, (1,)), (6000, (1000, 4000))])
@pytest.mark.parametrize("name", ZOO)
def test_split_is_whole(name, n, cuts):
    laws.split_is_whole(parts_of(draw(name, n), cuts), of_zoo(name, n))


def test_merge_of_one_value_with_one_value():
    merged = distribution(np.array([[3.0]])).merge(distribution(np.array([[101.0]])))
    assert (merged.count[0], merged.mean[0], merged.std[0]) == (2, 52.0, 49.0)
    assert merged.values[0].tolist() == [3, 101]


def test_merge_of_other_units_raises():
    with pytest.raises(ValueError, match="3 units with 4"):
        of_zoo("normal", 7, units=3).merge(of_zoo("normal", 7, units=4))


def test_blocks_of_the_same_steps_merge_block_by_block():
    first, second = draw("normal", 800), draw("shifted", 1600)
    merged = distribution(first, steps=8).merge(distribution(second, steps=8)).blocks
    assert merged.steps.tolist() == [1] * 8
    assert merged.sampled[0].tolist() == [300] * 8
    means = [
        np.concatenate(pair, axis=1).mean(1) for pair in zip(*(np.split(v, 8, 1) for v in (first, second)), strict=True)
    ]
    np.testing.assert_allclose(merged.slices.mean(2).T, means, rtol=1e-5, atol=1e-6)


def test_probe_has_no_blocks_and_no_merge_gives_it_some():
    probe, stream = distribution(draw("normal", 300), blocks=False), of_zoo("normal", 300)
    assert probe.blocks is None
    assert probe.merge(stream).blocks is None
    assert stream.merge(probe).blocks is None


def test_examples_are_kept_where_one_side_alone_has_them():
    kept, without = probe(draw("with_nan", 300)), of_zoo("normal", 300)
    laws.identity_of_merge(kept)
    laws.inputs_of_merge_unchanged(kept, without)
    for merged in (kept.merge(without), without.merge(kept)):
        np.testing.assert_array_equal(merged.examples, draw("with_nan", 300)[:, :EXAMPLES])
    assert kept.merge(kept).examples is None
    assert without.merge(without).examples is None


def test_take_takes_examples_of_the_units():
    whole = probe(draw("normal", 300))
    np.testing.assert_array_equal(whole.take(np.array([2, 0])).examples, whole.examples[[2, 0]])


@pytest.mark.some(14)
@pytest.mark.parametrize("n", [1, 6, 300])
@pytest.mark.parametrize("name", FINITE)
def test_quantiles_lie_on_the_line_between_mid_ranks(name, n):
    kept = of_zoo(name, n)
    probabilities = (0.0, 0.001, 0.05, 0.5, 0.77, 1.0)
    expected = np.quantile(kept.values.astype(float), probabilities, axis=1, method="hazen").T
    np.testing.assert_allclose(kept.quantile(probabilities), expected, rtol=1e-9, atol=1e-12 * scale(expected))


@pytest.mark.parametrize("name", FINITE)
def test_quantiles_of_a_large_window_are_off_by_its_rank_error(name):
    kept, raw = of_zoo(name, 20_000), draw(name, 20_000)
    probabilities = np.array([0.05, 0.3, 0.5, 0.77, 0.99, 0.9995])
    low, high = (
        np.quantile(raw, np.clip(probabilities + off, 0, 1), axis=1, method=method).T
        for off, method in ((-kept.rank_error, "lower"), (kept.rank_error, "higher"))
    )
    found = kept.quantile(probabilities)
    assert (found >= low).all()
    assert (found <= high).all()
    np.testing.assert_array_equal(kept.quantile([0, 1]), np.stack([raw.min(1), raw.max(1)], axis=1))


@pytest.mark.parametrize("name", ["student_t3", "lognormal"])
def test_far_quantiles_of_heavy_tails_are_as_near(name):
    probabilities = [0.001, 0.01, 0.99, 0.999, 0.9999]
    found, raw = of_zoo(name, 20_000).quantile(probabilities), np.quantile(draw(name, 20_000), probabilities, axis=1).T
    np.testing.assert_allclose(found, raw, rtol=0.1)


@pytest.mark.some(8)
@pytest.mark.parametrize("n", [1, 7, 512, 2000])
@pytest.mark.parametrize("name", ZOO)
def test_quantiles_of_some_units_are_those_of_the_units_taken(name, n):
    kept, units, probabilities = of_zoo(name, n, units=5), np.array([3, 0, 3]), [0.001, 0.05, 0.5, 0.9]
    found = kept.quantile(probabilities, units)
    np.testing.assert_array_equal(found, kept.take(units).quantile(probabilities))
    np.testing.assert_allclose(found, kept.quantile(probabilities)[units], rtol=1e-6)


def test_take_is_indexing():
    whole = of_zoo("with_nan", 300)
    taken = whole.take(np.array([2, 0]))
    laws.assert_identical(taken.take(np.array([1])), whole.take(np.array([0])))
    np.testing.assert_array_equal(taken.values, whole.values[[2, 0]])
    np.testing.assert_array_equal(taken.blocks.slices, whole.blocks.slices[[2, 0]])
    assert replace(whole, blocks=None).take(np.array([1])).blocks is None


@pytest.mark.some(40)
@pytest.mark.parametrize("slices", [1, 5, 128])
@pytest.mark.parametrize("n", [1, 4, 700])
@pytest.mark.parametrize("name", ZOO)
def test_reduce_keeps_means_and_knows_its_error(name, n, slices):
    points = draw(name, n)
    points = np.where(np.isfinite(points), points, np.nan)
    weights = np.where(np.isnan(points), 0.0, 4.0 ** np.random.default_rng(2).integers(0, 4, points.shape))
    values, error = reduce(*ordered(points, weights), slices)
    assert values.shape == (len(points), slices)
    for unit in range(len(points)):
        kept = weights[unit] > 0
        if not kept.any():
            assert np.isnan(values[unit]).all()
            assert error[unit] == 0
            continue
        raw, weight, size = points[unit, kept], weights[unit, kept], scale(points[unit])
        assert (np.diff(values[unit]) >= 0).all()
        np.testing.assert_allclose(values[unit].mean(), np.average(raw, weights=weight), rtol=1e-9, atol=1e-12 * size)
        truth = laws.w1_of(values[unit], raw, None, weight)
        np.testing.assert_allclose(error[unit], truth, rtol=1e-9, atol=1e-12 * size)


@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e6])
def test_reduce_of_many_units_is_that_of_each(magnitude):
    points = np.sort(np.concatenate([magnitude * draw("clipped", 90, units=2), draw("lognormal", 90, units=2000)]))
    points = np.concatenate([points, magnitude * points[:2]])
    weights = np.ones_like(points)
    values, error = reduce(points, weights, 16)
    for unit in (0, 1, 2, 1000, -2, -1):
        alone = reduce(points[[unit]], weights[[unit]], 16)
        np.testing.assert_allclose(values[[unit]], alone[0], rtol=1e-9, atol=1e-11 * scale(points[unit]))
        np.testing.assert_allclose(error[[unit]], alone[1], rtol=1e-9, atol=1e-11 * scale(points[unit]))


def test_reduce_leaves_its_input_unchanged():
    points, weights = np.sort(draw("normal", 90)), np.ones((3, 90))
    before = points.copy(), weights.copy()
    reduce(points, weights, 16)
    np.testing.assert_array_equal(points, before[0])
    np.testing.assert_array_equal(weights, before[1])


def test_reduce_takes_means_of_slices():
    values, error = reduce(np.array([[0.0, 1.0, 2.0, 6.0]]), np.ones((1, 4)), 2)
    assert values.tolist() == [[0.5, 4.0]]
    assert error.tolist() == [1.25]


def test_reduce_splits_a_weight_between_slices():
    values, error = reduce(np.array([[0.0, 3.0]]), np.array([[1.0, 2.0]]), 2)
    assert values.tolist() == [[1.0, 3.0]]
    np.testing.assert_allclose(error, 2 / 3)


def test_summarise_keeps_equal_weights_only():
    points = np.array([[2.0, 0.0, 1.0]])
    values, error, rank = summarise(*ordered(points, np.ones((1, 3))), np.float32)
    assert (values.tolist(), error.tolist(), rank) == ([[0, 1, 2]], [0], 0)
    values, _, rank = summarise(*ordered(points, np.array([[1.0, 4.0, 1.0]])), np.float32)
    assert (values.shape, rank) == ((1, QUANTILES), 1 / QUANTILES)
    np.testing.assert_allclose(values.mean(), 0.5, rtol=1e-6)


def test_sample_as_a_distribution():
    sample = Sample(np.array([[-1.0, 0, 0, 3], [2, 2, 2, 2]], np.float32), np.array([40, 40]))
    whole = from_sample(sample)
    assert whole.mean.tolist() == [0.5, 2]
    assert whole.std.tolist() == [1.5, 0]
    assert (whole.min.tolist(), whole.max.tolist()) == ([-1, 2], [3, 2])
    assert whole.zero_share.tolist() == [0.5, 0]
    assert whole.sampled.tolist() == whole.count.tolist() == [40, 40]


def test_quantiles_of_no_values_are_unknown():
    empty = from_sample(Sample(np.empty((3, 0)), np.zeros(3, int)))
    assert np.isnan(empty.quantile([0.1, 0.5])).all()
    assert empty.quantile([0.1, 0.5]).shape == (3, 2)
